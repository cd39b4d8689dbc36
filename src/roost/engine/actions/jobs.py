"""One job at a time: every call is a set of one, answered with the job as it is then."""

from __future__ import annotations

from roost.domain.records import JobFacts
from roost.engine import rows
from roost.engine.actions import edits, reopening, sets
from roost.engine.batch import Effects
from roost.engine.calls import (
    Acted,
    CancelJobs,
    DeleteJobs,
    EditJobs,
    HoldJobs,
    MoveJobs,
    NoteJobs,
    ReopenJobs,
    RunJobs,
)
from roost.engine.driver import Transaction
from roost.engine.work.facts import facts_of
from roost.errors import NotFound
from roost.wire.codec import encode


def facts_or_refuse(transaction: Transaction, id: int) -> JobFacts:
    """The job's facts; raises `NotFound`."""
    facts = facts_of(transaction, [id]).get(id)
    if facts is None:
        raise NotFound(f"there is no job {id}", path="id", help="roost jobs list shows what there is")
    return facts


def answer(transaction: Transaction, id: int, effects: Effects) -> Acted:
    """The job as it is now."""
    return Acted(encode(rows.summary(transaction.row("job_summary", id=id))).decode(), effects, 1)


def _done(transaction: Transaction, id: int, refused: sets.Refusals, effects: Effects) -> Acted:
    if id in refused:
        raise refused[id]
    return answer(transaction, id, effects)


def cancel(transaction: Transaction, action: CancelJobs, now: int) -> Acted:
    """Cancel at once what no worker runs; ask what one runs."""
    effects = Effects()
    refused = sets.cancel(transaction, [action.id], now, effects, actor=action.actor, note=action.note)
    return _done(transaction, action.id, refused, effects)


def reopen(transaction: Transaction, action: ReopenJobs, now: int) -> Acted:
    """Start a terminal job again, maybe with another input or in another queue."""
    effects = Effects()
    edit = reopening.Edit(input=action.input, queue=action.queue, hold=action.hold)
    refused = reopening.reopen(transaction, [action.id], now, effects, edit=edit, actor=action.actor, note=action.note)
    return _done(transaction, action.id, refused, effects)


def delete(transaction: Transaction, action: DeleteJobs, now: int) -> Acted:
    """Forget a job and all that belongs to it; a running one is refused."""
    effects = Effects()
    refused = sets.delete(transaction, [action.id], now, effects, actor=action.actor)
    if refused:
        raise refused[action.id]
    return Acted("{}", effects, 1)


def move(transaction: Transaction, action: MoveJobs, now: int) -> Acted:
    """Another queue, priority or time for a job that has not started."""
    effects = Effects()
    refused = sets.move(
        transaction, [action.id], now, effects, place=action.place, actor=action.actor, note=action.note
    )
    return _done(transaction, action.id, refused, effects)


def run_now(transaction: Transaction, action: RunJobs, now: int) -> Acted:
    """Wait for no time any more."""
    effects = Effects()
    refused = sets.run_now(transaction, [action.id], now, effects, actor=action.actor, note=action.note)
    return _done(transaction, action.id, refused, effects)


def hold(transaction: Transaction, action: HoldJobs, now: int) -> Acted:
    """Hold a job that has not started until somebody approves."""
    effects = Effects()
    refused = sets.hold(
        transaction, [action.id], now, effects, title=action.title, actor=action.actor, note=action.note
    )
    return _done(transaction, action.id, refused, effects)


def edit(transaction: Transaction, action: EditJobs, now: int) -> Acted:
    """Change tags, owner or metadata."""
    refused = edits.edit(transaction, [action.id], now, edit=action.edit, actor=action.actor)
    return _done(transaction, action.id, refused, Effects())


def note(transaction: Transaction, action: NoteJobs, now: int) -> Acted:
    """Write a line into the job's history."""
    refused = edits.note(transaction, [action.id], now, text=action.text, actor=action.actor)
    return _done(transaction, action.id, refused, Effects())
