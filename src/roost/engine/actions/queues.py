"""Pause, resume and edit queues; a queue is there as soon as somebody names it."""

from __future__ import annotations

import msgspec

from roost.engine.driver import Transaction
from roost.engine.protocol import Acted, Effects, SetQueuePaused, SetQueueRules
from roost.engine.work.moves import record


def pause(transaction: Transaction, action: SetQueuePaused, now: int) -> Acted:
    """Start no more of its jobs, or start them again; running ones go on."""
    transaction.run(
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
    return Acted("{}", effects, 1)


def edit(transaction: Transaction, action: SetQueueRules, now: int) -> Acted:
    """Set the rules jobs get that say nothing themselves; jobs that are stored keep theirs."""
    transaction.run("queue_rules", name=action.name, rules=msgspec.json.encode(action.rules).decode())
    record(transaction, [(None, "queue_edited", action.actor, {"queue": action.name})], now)
    return Acted("{}", Effects(), 1)
