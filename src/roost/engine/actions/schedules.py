"""Schedules: stored, paused, deleted, and fired once however many nodes plan the same fire."""

from __future__ import annotations

import msgspec

from roost.domain import settle
from roost.domain.feed import EventType
from roost.domain.records import Flag
from roost.domain.states import TERMINAL, Event
from roost.engine import rows
from roost.engine.driver import Transaction
from roost.engine.protocol import (
    Acted,
    Backfill,
    DeleteSchedule,
    Effects,
    EnqueuedRow,
    Fire,
    FireSchedule,
    FireSchedules,
    PutSchedule,
    SetSchedulePaused,
)
from roost.engine.work import enqueues
from roost.engine.work.changes import note_due
from roost.engine.work.facts import facts_of
from roost.engine.work.feed import tell
from roost.engine.work.moves import Move, apply, record
from roost.engine.work.texts import pack, unpack
from roost.errors import NotFound
from roost.wire.codec import encode, timestamp
from roost.wire.jobs import Enqueued
from roost.wire.schedules import Backfilled


def put(transaction: Transaction, action: PutSchedule, now: int) -> Acted:
    """Create or replace a schedule; its next fire was computed from the new rule."""
    transaction.send(
        "schedule_put",
        name=action.name,
        rule=msgspec.json.encode(action.rule).decode(),
        job=action.job,
        paused=None if action.paused is None else int(action.paused),
        remove_after_last=int(action.remove_after_last),
        next_fire=action.next_fire,
        forget_queue=int(action.forget_queue),
        now=now,
    )
    record(transaction, [(None, "schedule_put", action.actor, {"schedule": action.name})], now)
    return _answer(transaction, action.name, Effects(schedules=True))


def _answer(transaction: Transaction, name: str, effects: Effects) -> Acted:
    return Acted(encode(rows.schedule(transaction.row("schedule_row", name=name))).decode(), effects, 1)


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no schedule {name!r}", path="name", help="roost schedules list shows what there is")


def pause(transaction: Transaction, action: SetSchedulePaused, now: int) -> Acted:
    """Stop or go on firing; the next fire stays what it is."""
    if not transaction.run("schedule_pause", name=action.name, paused=int(action.paused), now=now):
        raise _missing(action.name)
    type = "schedule_paused" if action.paused else "schedule_resumed"
    data: dict[str, object] = {"schedule": action.name}
    if action.error:
        data["error"] = action.error
    record(transaction, [(None, type, action.actor, data)], now)
    return _answer(transaction, action.name, Effects(schedules=True))


def delete(transaction: Transaction, action: DeleteSchedule, now: int) -> Acted:
    """Forget the rule; its jobs and runs stay."""
    if not transaction.run("schedule_delete", name=action.name):
        raise _missing(action.name)
    record(transaction, [(None, "schedule_deleted", action.actor, {"schedule": action.name})], now)
    return Acted("{}", Effects(schedules=True), 1)


def fire(transaction: Transaction, action: FireSchedule, now: int) -> Acted:
    """Create the jobs of a schedule's fires and advance it; count 0 where another node was first."""
    return _fire(transaction, action, now, Effects())


def _fire(transaction: Transaction, action: FireSchedule, now: int, effects: Effects) -> Acted:
    fired = [fire for fire in action.fires if fire.row is not None]
    run_now = action.expected is None and not (action.from_queue or action.was_queued)
    if run_now:
        if not transaction.one("schedule_exists", name=action.name):
            raise _missing(action.name)
    elif not transaction.run(
        "schedule_advance",
        name=action.name,
        expected=action.next_fire if action.from_queue else action.expected,
        was_queued=int(action.from_queue or action.was_queued),
        next_fire=action.next_fire,
        last_fire=max((fire.fire_at for fire in fired), default=None),
        queued=int(action.queued),
        made=len(fired),
    ):
        return Acted("{}", effects, 0)
    for replaced in fired:
        if replaced.cancel_job is not None:
            _replace(transaction, replaced.cancel_job, now, effects)
    answers = enqueues.insert(transaction, [fire.row for fire in fired if fire.row is not None], now, effects)
    if run_now and answers and (refused := answers[0].problem) is not None:
        raise refused.error()
    _found(transaction, fired, answers)
    _store_fires(transaction, action.name, action.fires, fired, [answer.id for answer in answers], now, effects)
    if answers:
        transaction.send("schedule_last_job", name=action.name, job=answers[-1].id)
    if action.watch_job is not None:
        transaction.send("job_flag", rows=pack([(action.watch_job, int(Flag.WATCHED))]))
    if action.remove:
        transaction.send("schedule_delete", name=action.name)
    reply = Enqueued(id=answers[0].id, duplicate=answers[0].duplicate) if answers else None
    return Acted(encode(reply).decode() if reply else "{}", effects, 1)


def fire_all(transaction: Transaction, action: FireSchedules, now: int) -> Acted:
    """Fire many schedules; how many of them this node made."""
    effects = Effects()
    made = 0
    # By name, so that two nodes with the same schedules wait for each other one way.
    for each in sorted(action.fires, key=lambda fire: fire.name):
        made += _fire(transaction, each, now, effects).count
    return Acted("{}", effects, made)


def backfill(transaction: Transaction, action: Backfill, now: int) -> Acted:
    """Make the jobs of past instants that have none; the schedule itself is left as it is."""
    effects = Effects()
    if not transaction.one("schedule_exists", name=action.name):
        raise _missing(action.name)
    instants = [fire.fire_at for fire in action.fires]
    made = set(
        unpack(transaction.one("fires_made", schedule=action.name, first=min(instants), last=max(instants)))
        if instants
        else ()
    )
    fires = [fire for fire in action.fires if fire.fire_at not in made]
    answers = enqueues.insert(transaction, [fire.row for fire in fires if fire.row is not None], now, effects)
    _store_fires(transaction, action.name, fires, fires, [answer.id for answer in answers], now, effects)
    if fires:
        data: dict[str, object] = {"schedule": action.name, "jobs": len(fires)}
        record(transaction, [(None, "schedule_backfilled", action.actor, data)], now)
    reply = Backfilled(fires=[timestamp(fire.fire_at) for fire in fires], jobs=[answer.id for answer in answers])
    return Acted(encode(reply).decode(), effects, len(fires))


def _found(transaction: Transaction, fired: list[Fire], answers: list[EnqueuedRow]) -> None:
    """Fires whose unique key another job holds made none: that one is waited for in its place."""
    watched: list[int] = []
    for fire, answer in zip(fired, answers, strict=True):
        if answer.duplicate or answer.problem is not None:
            fire.outcome = "skipped"
            if fire.row is not None and fire.row.shape.flags & Flag.WATCHED:
                watched.append(answer.id)
    if watched:
        transaction.send("job_flag", rows=pack([(id, int(Flag.WATCHED)) for id in sorted(set(watched))]))


def _store_fires(
    transaction: Transaction,
    name: str,
    fires: list[Fire],
    fired: list[Fire],
    ids: list[int],
    now: int,
    effects: Effects,
) -> None:
    if not fires:
        return
    jobs = {id(fire): job for fire, job in zip(fired, ids, strict=True)}
    transaction.send(
        "fire_put",
        schedule=name,
        rows=pack([(fire.fire_at, fire.outcome, jobs.get(id(fire))) for fire in fires]),
        now=now,
    )
    for each in fires:
        job = jobs.get(id(each))
        told = {"schedule": name, "fire_at": each.fire_at, "outcome": each.outcome}
        tell(transaction, EventType.SCHEDULE_FIRED, [] if job is None else [job], told)
    alarms = [
        (fire.fire_at, jobs.get(id(fire)), expected, due_at) for fire in fires for expected, due_at in fire.alarms
    ]
    if alarms:
        transaction.send("alarm_put", schedule=name, rows=pack(alarms))
        note_due(effects, min(due_at for *_, due_at in alarms))


def _replace(transaction: Transaction, job: int, now: int, effects: Effects) -> None:
    """End the previous job for its successor: at once, or as soon as its handler notices."""
    facts = facts_of(transaction, [job]).get(job)
    if facts is None or facts.state in TERMINAL:
        return
    event = settle.cancel(facts)
    if event is Event.CANCEL:
        apply(transaction, [Move(facts, event, "overlap_replaced")], now, effects)
    else:
        transaction.send("job_flag", rows=pack([(job, int(Flag.CANCEL_REQUESTED))]))
    record(transaction, [(job, "overlap_replaced", "", {})], now)
