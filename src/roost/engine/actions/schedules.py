"""Schedules: stored, paused, deleted, and fired once however many nodes plan the same fire."""

from __future__ import annotations

import msgspec

from roost.domain import settle
from roost.domain.feed import EventType
from roost.domain.records import Flag
from roost.domain.states import TERMINAL, Event
from roost.engine import rows
from roost.engine.batch import Effects, EnqueuedRow
from roost.engine.calls import (
    Acted,
    Backfill,
    DeleteSchedule,
    Fire,
    FireSchedule,
    FireSchedules,
    PutSchedule,
    SetSchedulePaused,
)
from roost.engine.driver import Transaction
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
    effects = Effects()
    run_now = action.expected is None and not (action.from_queue or action.was_queued)
    if run_now:
        if not transaction.one("schedule_exists", name=action.name):
            raise _missing(action.name)
    elif not _advance(transaction, [action]):
        return Acted("{}", effects, 0)
    answers = _make(transaction, [action], now, effects)
    if run_now and answers and (refused := answers[0].problem) is not None:
        raise refused.error()
    reply = Enqueued(id=answers[0].id, duplicate=answers[0].duplicate) if answers else None
    return Acted(encode(reply).decode() if reply else "{}", effects, 1)


def fire_all(transaction: Transaction, action: FireSchedules, now: int) -> Acted:
    """Fire many schedules; how many of them this node made."""
    effects = Effects()
    made = _advance(transaction, action.fires)
    _make(transaction, made, now, effects)
    return Acted("{}", effects, len(made))


def _advance(transaction: Transaction, actions: list[FireSchedule]) -> list[FireSchedule]:
    """Those of ``actions`` whose expectation still holds; their schedules have moved on."""
    rows = [
        (
            action.name,
            action.next_fire if action.from_queue else action.expected,
            int(action.from_queue or action.was_queued),
            action.next_fire,
            max((fire.fire_at for fire in action.fires if fire.row is not None), default=None),
            int(action.queued),
            sum(fire.row is not None for fire in action.fires),
        )
        for action in actions
    ]
    # By name, so that two nodes with the same schedules wait for each other one way.
    advanced = {name for (name,) in transaction.rows("schedule_advance", rows=pack(sorted(rows, key=_name)))}
    return [action for action in actions if action.name in advanced]


def _name(row: tuple[object, ...]) -> str:
    return str(row[0])


def _make(transaction: Transaction, actions: list[FireSchedule], now: int, effects: Effects) -> list[EnqueuedRow]:
    """Create the jobs of these fires and write down what became of each; an answer for each job."""
    fired = [fire for action in actions for fire in action.fires if fire.row is not None]
    for replaced in fired:
        if replaced.cancel_job is not None:
            _replace(transaction, replaced.cancel_job, now, effects)
    answers = enqueues.insert(transaction, [fire.row for fire in fired if fire.row is not None], now, effects)
    _found(transaction, fired, answers)
    jobs = {id(fire): answer.id for fire, answer in zip(fired, answers, strict=True)}
    _store_fires(transaction, [(action.name, action.fires) for action in actions], jobs, now, effects)
    last = [
        (action.name, made[-1])
        for action in actions
        if (made := [jobs[id(fire)] for fire in action.fires if id(fire) in jobs])
    ]
    if last:
        transaction.send("schedule_last_job", rows=pack(sorted(last)))
    watched = sorted({action.watch_job for action in actions if action.watch_job is not None})
    if watched:
        transaction.send("job_flag", rows=pack([(job, int(Flag.WATCHED)) for job in watched]))
    for action in actions:
        if action.remove:
            transaction.send("schedule_delete", name=action.name)
    return answers


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
    jobs = {id(fire): answer.id for fire, answer in zip(fires, answers, strict=True)}
    _store_fires(transaction, [(action.name, fires)], jobs, now, effects)
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
    transaction: Transaction, made: list[tuple[str, list[Fire]]], jobs: dict[int, int], now: int, effects: Effects
) -> None:
    """Write down what became of the fires of each schedule; ``jobs`` by the fire's identity."""
    fires = [(name, fire, jobs.get(id(fire))) for name, own in made for fire in own]
    if not fires:
        return
    transaction.send(
        "fire_put", rows=pack([(name, fire.fire_at, fire.outcome, job) for name, fire, job in fires]), now=now
    )
    for name, fire, job in fires:
        told = {"schedule": name, "fire_at": fire.fire_at, "outcome": fire.outcome}
        tell(transaction, EventType.SCHEDULE_FIRED, [] if job is None else [job], told)
    alarms = [
        (name, fire.fire_at, job, expected, due_at) for name, fire, job in fires for expected, due_at in fire.alarms
    ]
    if alarms:
        transaction.send("alarm_put", rows=pack(alarms))
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
