"""Bulk operations: created, stepped, stopped. A set's work and the cursor that passes it are one transaction."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from roost.domain.bulk import ENDED, TAKEN, BulkAction, Work
from roost.domain.holds import asked
from roost.domain.placing import Place
from roost.domain.query import parse
from roost.domain.records import JobEdit
from roost.engine.actions import edits, holds, reopening, sets
from roost.engine.actions.sets import Refusals
from roost.engine.batch import Effects
from roost.engine.calls import Acted
from roost.engine.driver import Transaction
from roost.engine.searching import bulkrows
from roost.engine.searching.protocol import CreateBulk, PruneBulks, SetBulkState, StepBulk
from roost.engine.searching.walk import matching
from roost.engine.work.facts import facts_of
from roost.engine.work.moves import record
from roost.engine.work.texts import pack
from roost.errors import Conflict, NotFound, RoostError, SubjectChanged
from roost.wire.codec import encode

ERRORS_KEPT_MS = 30 * 86_400_000


def create(transaction: Transaction, action: CreateBulk, now: int) -> Acted:
    """Begin an operation on what is there now: jobs enqueued later are not meant."""
    last = transaction.one("index_last_job") if action.ids is None else max(action.ids, default=-1)
    work = _quoted(transaction, action) if action.work.action == "approve" else action.work
    id = transaction.one(
        "bulk_put",
        work=msgspec.json.encode(work).decode(),
        query=action.query,
        ids=None if action.ids is None else pack(sorted(set(action.ids), reverse=True)),
        actor=action.actor or None,
        cursor=last,
        total=action.total,
        exact=int(action.exact),
        now=now,
    )
    told: dict[str, object] = {"bulk": id, "action": action.work.action, "query": action.query, "jobs": action.total}
    record(transaction, [(None, "bulk_started", action.actor, told)], now)
    return _answer(transaction, id, Effects(chores=True))


def _quoted(transaction: Transaction, action: CreateBulk) -> Work:
    """The work of an approval, bound to what was shown; raises `SubjectChanged` where something else is asked."""
    open = holds.open_of(transaction, action.ids or [])
    if action.asked != asked(open):
        raise SubjectChanged(
            "something else is asked than what was shown",
            path="asked",
            help="look again: a dry run tells what is asked",
        )
    return msgspec.structs.replace(action.work, last_hold=max((hold.id for hold in open), default=0))


def step(transaction: Transaction, action: StepBulk, now: int) -> Acted:
    """Carry out one set and pass it; ``count`` is 0 where somebody else did, or the operation was stopped."""
    moved = transaction.run(
        "bulk_advance", id=action.id, expected=action.expected, cursor=action.cursor, next_at=action.next_at
    )
    effects = Effects()
    if not moved:
        return Acted("{}", effects)
    bulk = bulkrows.stored(transaction.row("bulk_row", id=action.id))
    # Locked first: what is true of a job when it is looked at is true when it is acted on.
    known = facts_of(transaction, action.ids)
    there = [id for id in action.ids if id in known]
    meant = there if bulk.ids is not None else [*_still(transaction, bulk.query, bulk.work.now, there)]
    refused: Refusals = {
        id: NotFound("it is not there any more") if id not in known else Conflict("it does not match any more")
        for id in {*action.ids} - {*meant}
    }
    taken = TAKEN[bulk.work.action]
    for id in meant:
        if known[id].state not in taken:
            refused[id] = Conflict(f"it is {known[id].state}")
    meant = [id for id in meant if id not in refused]
    if meant:
        refused |= _ACTIONS[bulk.work.action](transaction, meant, now, effects, bulk.work, bulk.actor or "")
    rows = [(id, _outcome(error), error.code, error.message[:500]) for id, error in sorted(refused.items())]
    if rows:
        transaction.send("bulk_result_put", id=action.id, rows=pack(rows))
    failed = sum(outcome == "failed" for _, outcome, _, _ in rows)
    transaction.send(
        "bulk_count", id=action.id, done=len(action.ids) - len(rows), skipped=len(rows) - failed, failed=failed
    )
    if action.cursor < 0:
        _end(transaction, action.id, "done", None, bulk.actor or "", now)
    return Acted("{}", effects, 1, action.cursor >= 0)


def _still(transaction: Transaction, query: str, moment: int, ids: list[int]) -> list[int]:
    found = matching(parse(query, moment), ids, transaction)
    return [id for id in ids if id in found]


def _outcome(error: RoostError) -> str:
    """A job that is not in a state for it, or no more, is skipped; anything else is a failure."""
    return "skipped" if type(error) in (Conflict, NotFound) else "failed"


def _end(transaction: Transaction, id: int, state: str, error: str | None, actor: str, now: int) -> None:
    if transaction.run("bulk_state", id=id, state=state, error=error, ended_at=now):
        bulk = bulkrows.stored(transaction.row("bulk_row", id=id))
        told: dict[str, object] = {
            "bulk": id, "action": bulk.work.action, "state": state,
            "done": bulk.done, "skipped": bulk.skipped, "failed": bulk.failed,
        }  # fmt: skip
        record(transaction, [(None, "bulk_ended", actor, told)], now)


def set_state(transaction: Transaction, action: SetBulkState, now: int) -> Acted:
    """Pause, go on, abort; what was done stays done. Asking for the state it has changes nothing."""
    found = transaction.rows("bulk_row", id=action.id)
    if not found:
        raise NotFound(f"there is no bulk operation {action.id}", path="id", help="roost bulk list shows what there is")
    bulk = bulkrows.stored(found[0])
    if bulk.state == action.state:
        return _answer(transaction, action.id, Effects())
    if bulk.state in ENDED:
        raise Conflict(f"the bulk operation is {bulk.state} already", path="id", help="start a new one")
    if action.state in ENDED:
        _end(transaction, action.id, action.state, action.error, action.actor, now)
    else:
        transaction.send("bulk_state", id=action.id, state=action.state, error=None, ended_at=None)
        name = "bulk_paused" if action.state == "paused" else "bulk_resumed"
        record(transaction, [(None, name, action.actor, {"bulk": action.id})], now)
    return _answer(transaction, action.id, Effects(chores=action.state == "running"))


def prune(transaction: Transaction, action: PruneBulks, now: int) -> Acted:
    """Forget operations that ended long ago, and groups of errors no job has any more."""
    transaction.send("bulk_prune_results", before=action.before)
    count = transaction.run("bulk_prune", before=action.before)
    count += transaction.run("error_group_prune", before=now - ERRORS_KEPT_MS)
    return Acted("{}", Effects(), count)


def _answer(transaction: Transaction, id: int, effects: Effects) -> Acted:
    return Acted(encode(bulkrows.told(transaction.row("bulk_row", id=id))).decode(), effects, 1)


# --- what is done to a set --------------------------------------------------------------------------------------------

Doing = Callable[[Transaction, list[int], int, Effects, Work, str], Refusals]


def _retry(transaction: Transaction, ids: list[int], now: int, effects: Effects, work: Work, actor: str) -> Refusals:
    edit = reopening.Edit(queue=work.queue)
    return reopening.reopen(transaction, ids, now, effects, edit=edit, actor=actor, note=work.note)


def _cancel(transaction: Transaction, ids: list[int], now: int, effects: Effects, work: Work, actor: str) -> Refusals:
    return sets.cancel(transaction, ids, now, effects, actor=actor, note=work.note)


def _delete(transaction: Transaction, ids: list[int], now: int, effects: Effects, work: Work, actor: str) -> Refusals:
    return sets.delete(transaction, ids, now, effects, actor=actor)


def _move(transaction: Transaction, ids: list[int], now: int, effects: Effects, work: Work, actor: str) -> Refusals:
    place = Place(queue=work.queue, priority=work.priority)
    return sets.move(transaction, ids, now, effects, place=place, actor=actor, note=work.note)


def _hold(transaction: Transaction, ids: list[int], now: int, effects: Effects, work: Work, actor: str) -> Refusals:
    return sets.hold(transaction, ids, now, effects, title=work.title, actor=actor, note=work.note)


def _approve(transaction: Transaction, ids: list[int], now: int, effects: Effects, work: Work, actor: str) -> Refusals:
    return holds.approve(transaction, ids, now, effects, actor=actor, note=work.note, last=work.last_hold)


def _tag(transaction: Transaction, ids: list[int], now: int, effects: Effects, work: Work, actor: str) -> Refusals:
    edit = JobEdit(tags=work.tags, untag=work.untag)
    return edits.edit(transaction, ids, now, edit=edit, actor=actor)


_ACTIONS: dict[BulkAction, Doing] = {
    "retry": _retry,
    "cancel": _cancel,
    "delete": _delete,
    "move": _move,
    "priority": _move,
    "hold": _hold,
    "approve": _approve,
    "tag": _tag,
}
