"""Tracked work: an attempt somebody takes by hand, and tells the state of, fenced by the attempt's number."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from roost.domain import settle, tracked
from roost.domain.feed import EventType
from roost.domain.records import Flag
from roost.domain.states import Event, State, follow
from roost.engine import rows
from roost.engine.actions.jobs import answer, facts_or_refuse
from roost.engine.actions.sets import said
from roost.engine.batch import Effects
from roost.engine.calls import Acted, TakeJob, UpdateJob
from roost.engine.driver import Retry, Transaction
from roost.engine.work import chunks, limiting
from roost.engine.work.beats import put_progress
from roost.engine.work.feed import tell
from roost.engine.work.moves import record
from roost.engine.work.settles import write
from roost.errors import Conflict, LeaseLost
from roost.wire.codec import encode
from roost.wire.jobs import TakenJob


def take(transaction: Transaction, action: TakeJob, now: int) -> Acted:
    """Start an attempt of a ready job, whatever else is in its queue."""
    facts = facts_or_refuse(transaction, action.id)
    follow(facts.state, Event.CLAIM)
    if facts.flags & Flag.LIMITED or limiting.is_limited(transaction, facts.queue):
        raise Conflict(
            "the job counts against limits, which a claim keeps", path="id", help="let a worker claim it from its queue"
        )
    if transaction.one("queue_paused", name=facts.queue):
        raise Conflict(f"the queue {facts.queue} is paused", path="id", help=f"roost queues resume {facts.queue}")
    if facts.expires_at is not None and facts.expires_at <= now:
        raise Conflict("the job's time to start is over", path="id", help="clone it, or enqueue it again")
    fresh = msgspec.structs.replace(facts, started_at=None)
    until = tracked.lease_until(fresh, action.lease_ms, now)
    changed = transaction.run("take", id=facts.id, token=action.token, worker=action.worker, lease_until=until, now=now)
    if changed != 1:
        raise Retry
    tell(transaction, EventType.STARTED, [facts.id], {"worker": action.worker})
    summary = rows.summary(transaction.row("job_summary", id=facts.id))
    reply = TakenJob(job=summary, attempt=summary.attempt, token=action.token)
    return Acted(encode(reply).decode(), Effects(), 1)


def update(transaction: Transaction, action: UpdateJob, now: int, rng: Callable[[], float]) -> Acted:
    """Note what became of the attempt, or end it by the rules every attempt ends by; a stale number is refused."""
    facts = facts_or_refuse(transaction, action.id)
    if facts.state is not State.RUNNING or facts.attempt != action.attempt or not tracked.is_tracked(facts):
        where = "is not the one that runs" if facts.attempt != action.attempt else "is over, or has a worker"
        raise LeaseLost(
            f"attempt {action.attempt} of job {facts.id} {where}",
            path="attempt",
            help=f"roost jobs inspect {facts.id} shows where it is; take it again where it is ready",
        )
    effects = Effects()
    put_progress(transaction, [(facts.id, action.progress, action.saved)])
    chunks.put(transaction, {facts.id: action.chunks}, now)
    if action.note:
        record(transaction, [(facts.id, "note", action.actor, said(action.note))], now)
    if action.ending is not None:
        write(transaction, [(facts, action.ending, settle.decide(facts, action.ending, now, rng()))], now, effects)
    elif action.lease_ms is not None:
        until = tracked.lease_until(facts, action.lease_ms, now)
        transaction.send("lease_renew", id=facts.id, token=facts.token, lease_until=until)
    return answer(transaction, facts.id, effects)
