"""Pause, resume and edit queues; a queue is there as soon as somebody names it."""

from __future__ import annotations

import msgspec

from roost.domain import limits, order
from roost.domain.admission import PLAIN
from roost.engine.batch import Effects
from roost.engine.calls import Acted, RankJobs, SetQueuePaused, SetQueueRules
from roost.engine.driver import Transaction
from roost.engine.work import limiting, ordering
from roost.engine.work.moves import record


def pause(transaction: Transaction, action: SetQueuePaused, now: int) -> Acted:
    """Start no more of its jobs, or start them again; running ones go on."""
    transaction.send(
        "queue_pause",
        name=action.name,
        paused_at=now if action.paused else None,
        paused_by=(action.actor or None) if action.paused else None,
    )
    record(
        transaction,
        [(None, "queue_paused" if action.paused else "queue_resumed", action.actor, {"queue": action.name})],
        now,
    )
    effects = Effects()
    if not action.paused:
        ready = transaction.one("queue_ready", queue=action.name)
        if ready:
            effects.ready[action.name] = ready
        limiting.resumed(transaction, action.name, now, effects)
    return Acted("{}", effects, 1)


def rank(transaction: Transaction, action: RankJobs, now: int) -> Acted:
    """Rank the next jobs of a queue by its new order; ``more`` until all stand in it, ``count`` 0: it was done."""
    effects = Effects()
    more = ordering.rank_set(transaction, action.queue, action.seen, action.ids, now, effects)
    return Acted("{}", effects, 0 if more is None else 1, more is not False)


def edit(transaction: Transaction, action: SetQueueRules, now: int) -> Acted:
    """Set the rules jobs get that say nothing themselves; jobs that are stored keep theirs.

    The queue's order and its own limit are no job's: they hold for all of its jobs, a new order for a long line from
    its first set on.
    """
    effects = Effects(rules=True)
    before = ordering.rules_of(transaction, {action.name}).get(action.name, PLAIN)
    transaction.send("queue_rules", name=action.name, rules=msgspec.json.encode(action.rules).decode())
    allowed, allows = limits.of_queue(before), limits.of_queue(action.rules)
    ranked = order.same_order(before, action.rules)
    if not ranked:
        ordering.begin(transaction, action.name, now, effects)
    if allowed != allows:
        # Whoever claims without the new limit is waited for: what it starts counts.
        transaction.send("jobs_patience")
        transaction.send("jobs_lock")
        limiting.limit_queue(transaction, action.name, allows, now, effects)
    record(transaction, [(None, "queue_edited", action.actor, {"queue": action.name})], now)
    return Acted("{}", effects, 1)
