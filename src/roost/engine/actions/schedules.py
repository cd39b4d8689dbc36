"""Schedules: stored, paused, deleted, and fired once however many nodes plan the same fire."""

from __future__ import annotations

import msgspec

from roost.domain import settle
from roost.domain.records import Flag
from roost.domain.states import TERMINAL, Event
from roost.engine import rows
from roost.engine.driver import Transaction
from roost.engine.protocol import Acted, DeleteSchedule, Effects, Fire, FireSchedule, PutSchedule, SetSchedulePaused
from roost.engine.work import enqueues
from roost.engine.work.facts import facts_of
from roost.engine.work.moves import Move, apply, record
from roost.engine.work.texts import pack
from roost.errors import NotFound
from roost.wire.codec import encode
from roost.wire.jobs import Enqueued


def put(transaction: Transaction, action: PutSchedule, now: int) -> Acted:
    """Create or replace a schedule; its next fire was computed from the new rule."""
    transaction.run(
        "schedule_put",
        name=action.name,
        rule=msgspec.json.encode(action.rule).decode(),
        job=action.job,
        paused=None if action.paused is None else int(action.paused),
        remove_after_last=int(action.remove_after_last),
        next_fire=action.next_fire,
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
    record(transaction, [(None, type, action.actor, {"schedule": action.name})], now)
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
    ):
        return Acted("{}", effects, 0)
    for replaced in fired:
        if replaced.cancel_job is not None:
            _replace(transaction, replaced.cancel_job, now, effects)
    answers = enqueues.insert(transaction, [fire.row for fire in fired if fire.row is not None], now, effects)
    _store_fires(transaction, action, fired, [answer.id for answer in answers], now)
    if answers:
        transaction.run("schedule_last_job", name=action.name, job=answers[-1].id)
    if action.watch_job is not None:
        transaction.run("job_flag", rows=pack([(action.watch_job, int(Flag.WATCHED))]))
    if action.remove:
        transaction.run("schedule_delete", name=action.name)
    reply = Enqueued(id=answers[0].id, duplicate=answers[0].duplicate) if answers else None
    return Acted(encode(reply).decode() if reply else "{}", effects, 1)


def _store_fires(transaction: Transaction, action: FireSchedule, fired: list[Fire], ids: list[int], now: int) -> None:
    jobs = {id(fire): job for fire, job in zip(fired, ids, strict=True)}
    if action.fires:
        transaction.run(
            "fire_put",
            schedule=action.name,
            rows=pack([(fire.fire_at, fire.outcome, jobs.get(id(fire))) for fire in action.fires]),
            now=now,
        )


def _replace(transaction: Transaction, job: int, now: int, effects: Effects) -> None:
    """End the previous job for its successor: at once, or as soon as its handler notices."""
    facts = facts_of(transaction, [job]).get(job)
    if facts is None or facts.state in TERMINAL:
        return
    event = settle.cancel(facts)
    if event is Event.CANCEL:
        apply(transaction, [Move(facts, event, "overlap_replaced")], now, effects)
    else:
        transaction.run("job_flag", rows=pack([(job, int(Flag.CANCEL_REQUESTED))]))
    record(transaction, [(job, "overlap_replaced", "", {})], now)
