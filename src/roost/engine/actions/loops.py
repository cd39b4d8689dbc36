"""What time does to jobs: due ones become ready, late ones expire, lost leases end, old ones are forgotten."""

from __future__ import annotations

from collections.abc import Callable

from roost.domain.feed import EventType
from roost.domain.records import Flag
from roost.domain.settle import Ending, decide
from roost.domain.states import Event, State
from roost.domain.tracked import is_tracked, timed_out
from roost.engine.actions import batches, holds
from roost.engine.actions.sets import end_tracked, forget
from roost.engine.batch import Effects
from roost.engine.calls import Acted, Promote, Prune, PruneFeed, PruneOld, Reap
from roost.engine.driver import Transaction
from roost.engine.work import limiting
from roost.engine.work.facts import facts_of
from roost.engine.work.feed import tell
from roost.engine.work.moves import Move, apply, record
from roost.engine.work.ordering import rank_again
from roost.engine.work.settles import write
from roost.engine.work.texts import pack, unpack

OVERDUE = Ending(
    kind="fail", timed_out=True, error='{"type":"TimeLimit","message":"the tracked attempt went beyond its time limit"}'
)
SIGNALS_MS = 6 * 86_400_000
"""How much longer signals are kept than operation ids and silent workers."""
LOST = Ending(kind="lost", error='{"type":"LeaseLost","message":"the worker was not heard of until its lease ran out"}')


def promote(transaction: Transaction, action: Promote, now: int) -> Acted:
    """Expiries and deadlines first: what is over must not start."""
    effects = Effects()
    touched = [
        _expire(transaction, action.limit, now, effects),
        _overdue(transaction, action.limit, now, effects),
        holds.expire(transaction, action.limit, now, effects),
        _alarms(transaction, action.limit, now),
        _due(transaction, action.limit, now, effects),
        limiting.due(transaction, action.limit, now, effects),
    ]
    return Acted("{}", effects, sum(touched), max(touched) >= action.limit)


def _due(transaction: Transaction, limit: int, now: int, effects: Effects) -> int:
    due = unpack(transaction.one("promote_candidates", now=now, limit=limit))
    if due:
        ids = [id for id, _, _ in due]
        transaction.send("promote", ids=pack(ids))
        tell(transaction, EventType.READY, ids)
        for _, queue, _ in due:
            effects.ready[queue] = effects.ready.get(queue, 0) + 1
        fair = [id for id, _, flags in due if flags & Flag.FAIR]
        if fair:
            rank_again(transaction, fair, now)
    return len(due)


def _expire(transaction: Transaction, limit: int, now: int, effects: Effects) -> int:
    ids = unpack(transaction.one("expire_candidates", now=now, limit=limit))
    if ids:
        facts = facts_of(transaction, ids).values()
        apply(transaction, [Move(job, Event.EXPIRE, "not_started_in_time") for job in facts], now, effects)
    return len(ids)


def _overdue(transaction: Transaction, limit: int, now: int, effects: Effects) -> int:
    ids = unpack(transaction.one("deadline_candidates", now=now, limit=limit))
    if not ids:
        return 0
    facts = list(facts_of(transaction, ids).values())
    running = [job.id for job in facts if job.state is State.RUNNING and not is_tracked(job)]
    end_tracked(transaction, [job for job in facts if job.state is State.RUNNING and is_tracked(job)], now, effects)
    if running:
        transaction.send("job_flag", rows=pack([(id, int(Flag.CANCEL_REQUESTED)) for id in running]))
    apply(
        transaction,
        [Move(job, Event.CANCEL, "duration_limit") for job in facts if job.state is not State.RUNNING],
        now,
        effects,
    )
    record(transaction, [(job.id, "deadline_passed", "", {}) for job in facts], now)
    return len(ids)


def _alarms(transaction: Transaction, limit: int, now: int) -> int:
    """Say which fires of schedules have not started, or not succeeded, by the time they should have."""
    due = unpack(transaction.one("alarms_due", now=now, limit=limit))
    if not due:
        return 0
    events: list[tuple[int | None, str, str, dict[str, object]]] = []
    for _, schedule, fire_at, job, expected, due_at, state, started_at, finished_at in due:
        if job is not None and state is None:
            # Deleted by somebody: what it did is not known, and was not missed.
            continue
        at = started_at if expected == "start" else finished_at if state == State.SUCCEEDED else None
        late = at is None or at > due_at
        if late or expected == "success":
            type = "schedule_late" if late else "schedule_on_time"
            data = {"schedule": schedule, "fire_at": fire_at, "expected": expected, "due_at": due_at, "state": state}
            events.append((job, type, "", data))
    record(transaction, events, now)
    transaction.send("alarm_delete", ids=pack([row[0] for row in due]))
    return len(due)


def reap(transaction: Transaction, action: Reap, now: int, rng: Callable[[], float]) -> Acted:
    """End the attempts whose leases ran out, by the same rules as every other end."""
    effects = Effects()
    ids = unpack(
        transaction.one("reap_candidates", before=action.before, granted_after=action.granted_after, limit=action.limit)
    )
    if ids:
        facts = facts_of(transaction, ids).values()
        ended = [(job, OVERDUE if timed_out(job, now) else LOST) for job in facts]
        write(transaction, [(job, ending, decide(job, ending, now, rng())) for job, ending in ended], now, effects)
    return Acted("{}", effects, len(ids), len(ids) >= action.limit)


def prune(transaction: Transaction, action: Prune) -> Acted:
    """Forget a small set of old terminal jobs."""
    ids = unpack(
        transaction.one(
            "prune_candidates", queue=action.queue, state=action.state, before=action.before, limit=action.limit
        )
    )
    count = forget(transaction, ids) if ids else 0
    if ids:
        tell(transaction, EventType.JOB_PRUNED, ids, {"queue": action.queue})
    return Acted("{}", Effects(), count, len(ids) >= action.limit)


def prune_feed(transaction: Transaction, action: PruneFeed) -> Acted:
    """Forget the oldest rows of the feed; who reads from before them is told."""
    transaction.send("feed_gone_prune", before=action.before)
    upto = transaction.one("feed_prune_to", before=action.before, limit=action.limit)
    if not upto:
        return Acted("{}", Effects())
    transaction.send("feed_raise_floor", upto=upto)
    count = transaction.run("feed_prune", upto=upto)
    return Acted("{}", Effects(), count, count >= action.limit)


def prune_old(transaction: Transaction, action: PruneOld) -> Acted:
    """Forget operation ids, workers and unique keys of long ago."""
    count = transaction.run("operation_prune", before=action.before)
    count += transaction.run("unique_prune", before=action.before)
    count += transaction.run("worker_prune", before=action.before)
    count += transaction.run("fair_prune", before=action.before)
    limiting.lock(transaction)
    count += transaction.run("limiter_prune", before=action.before)
    count += transaction.run("limiter_queue_prune")
    count += transaction.run("signal_prune", before=action.before - SIGNALS_MS)
    count += batches.prune(transaction, action.before)
    return Acted("{}", Effects(), count)
