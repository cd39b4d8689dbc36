"""Cancel, reopen and delete."""

from __future__ import annotations

from roost.domain import holds, settle
from roost.domain.admission import input_hash, subject
from roost.domain.records import Flag, JobFacts
from roost.domain.states import Event, State
from roost.engine import rows
from roost.engine.driver import Retry, Transaction
from roost.engine.protocol import Acted, CancelJobs, DeleteJobs, Effects, ReopenJobs
from roost.engine.work.changes import note_due
from roost.engine.work.facts import facts_of
from roost.engine.work.moves import Move, apply, record
from roost.engine.work.texts import pack, unpack
from roost.errors import Conflict, NotFound, UniqueConflict
from roost.wire.codec import encode

TABLES = ("input", "result", "progress", "log", "attempt", "step", "hold", "event", "unique")
"""What is deleted with a job: the statement ``<name>_delete`` each."""


def facts_or_refuse(transaction: Transaction, id: int) -> JobFacts:
    """The job's facts; raises `NotFound`."""
    facts = facts_of(transaction, [id]).get(id)
    if facts is None:
        raise NotFound(f"there is no job {id}", path="id", help="roost jobs list shows what there is")
    return facts


def answer(transaction: Transaction, id: int, effects: Effects) -> Acted:
    """The job as it is now."""
    return Acted(encode(rows.summary(transaction.row("job_summary", id=id))).decode(), effects, 1)


def cancel(transaction: Transaction, action: CancelJobs, now: int) -> Acted:
    """Cancel at once what does not run; ask what runs. Cancelling a cancelled job again changes nothing."""
    facts = facts_or_refuse(transaction, action.id)
    effects = Effects()
    data: dict[str, object] = {"note": action.note} if action.note else {}
    if facts.state is State.CANCELLED or facts.flags & Flag.CANCEL_REQUESTED:
        return answer(transaction, action.id, effects)
    event = settle.cancel(facts)
    if event is None:
        transaction.run("job_flag", rows=pack([(facts.id, int(Flag.CANCEL_REQUESTED))]))
        record(transaction, [(facts.id, "cancel_requested", action.actor, data)], now)
    else:
        apply(transaction, [Move(facts, event, "requested")], now, effects)
        record(transaction, [(facts.id, "cancelled", action.actor, data)], now)
    return answer(transaction, action.id, effects)


def reopen(transaction: Transaction, action: ReopenJobs, now: int) -> Acted:
    """Start a terminal job again: failures from zero, attempts and history go on, earlier decisions count no more."""
    facts = facts_or_refuse(transaction, action.id)
    event = settle.reopen(facts)
    effects = Effects()
    data: dict[str, object] = {"from": facts.state, "reason": facts.reason}
    if action.note:
        data["note"] = action.note
    ids = pack([facts.id])
    if facts.options.unique_key is not None:
        _take_key_again(transaction, facts, facts.options.unique_key, now)
    if facts.state is State.SUCCEEDED:
        transaction.run("attempt_keep", id=facts.id)
    transaction.run("reopen_clear", id=facts.id)
    transaction.run("result_delete", ids=ids)
    transaction.run("hold_outdate", ids=ids)
    apply(transaction, [Move(facts, event, "approval" if event is Event.REOPEN_HELD else None, 0)], now, effects)
    if event is Event.REOPEN_HELD and facts.options.hold is not None:
        text = subject(facts.kind, transaction.row("job_whole", id=facts.id)[0])
        hold = holds.from_rule(facts.options.hold, text, now, "hold")
        transaction.run(
            "hold_put",
            rows=pack([(facts.id, hold.reason, hold.title, text, hold.subject_hash, hold.deadline, hold.on_expiry)]),
            now=now,
        )
        if hold.deadline is not None:
            note_due(effects, hold.deadline)
    record(transaction, [(facts.id, "reopened", action.actor, data)], now)
    return answer(transaction, action.id, effects)


def _take_key_again(transaction: Transaction, facts: JobFacts, key: str, now: int) -> None:
    """A reopened job needs its unique key back; raises `UniqueConflict` where another job lives by it."""
    held = unpack(transaction.one("unique_known", keys=pack([key]), now=now))
    _, holder, _, alive = held[0] if held else (key, 0, "", False)
    if alive and holder != facts.id:
        raise UniqueConflict(
            f"the unique key {key.partition(chr(10))[2]!r} belongs to job {holder} now",
            help=f"wait for job {holder}'s end",
        )
    text = transaction.row("job_whole", id=facts.id)[0]
    row = (key, facts.id, input_hash(facts.kind, text), holder, None)
    if transaction.run("unique_put", rows=pack([row]), now=now) != 1:
        raise Retry


def delete(transaction: Transaction, action: DeleteJobs, now: int) -> Acted:
    """Forget a job and all that belongs to it; a running one is refused."""
    facts = facts_or_refuse(transaction, action.id)
    if facts.state is State.RUNNING:
        raise Conflict("a running job is not deleted", path="id", help=f"cancel it first: roost jobs cancel {facts.id}")
    effects = Effects(ended=[facts.id], schedules=bool(facts.flags & Flag.WATCHED))
    forget(transaction, [facts.id])
    record(transaction, [(None, "job_deleted", "", {"id": facts.id, "kind": facts.kind, "queue": facts.queue})], now)
    return Acted("{}", effects, 1)


def forget(transaction: Transaction, ids: list[int]) -> int:
    """Delete jobs that do not run, with everything that is theirs; how many."""
    text = pack(ids)
    for table in TABLES:
        transaction.run(f"{table}_delete", ids=text)
    return transaction.run("job_delete", ids=text)
