"""Batches: created with their jobs, sealed, cancelled, and finished once, with their callbacks."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from roost.domain.feed import EventType
from roost.domain.flow import COUNTERS, Counted, callbacks, join, later
from roost.domain.records import JobRow
from roost.engine import rows
from roost.engine.actions import sets
from roost.engine.batch import Effects
from roost.engine.calls import Acted, CancelBatch, CreateBatch, SealBatch
from roost.engine.driver import Transaction
from roost.engine.work import enqueues
from roost.engine.work.feed import tell
from roost.engine.work.texts import pack, unpack
from roost.errors import NotFound
from roost.wire.batches import Batch
from roost.wire.codec import encode

_row = msgspec.json.Decoder(JobRow)


def create(transaction: Transaction, action: CreateBatch, now: int) -> Acted:
    """Store a batch with its jobs, none where one is refused; an empty one that is sealed finishes at once."""
    effects = Effects()
    id: int = transaction.one("batch_insert", name=action.name, chain=int(action.chain), now=now)
    if action.callbacks:
        stored = [(event, msgspec.json.encode(join(row, id, member=False)).decode()) for event, row in action.callbacks]
        transaction.send("batch_callback_put", id=id, rows=pack(stored))
    answers = enqueues.insert(transaction, [join(row, id) for row in action.rows], now, effects)
    for place, answer in enumerate(answers):
        if answer.problem is not None:
            refusal = answer.problem.error()
            refusal.path = f"jobs[{place}].{refusal.path}"
            raise refusal
    tell(transaction, EventType.BATCH_CREATED, [], {"batch": id, "name": action.name, "chain": action.chain})
    if action.seal:
        transaction.send("batch_seal", id=id, now=now)
        finish(transaction, [id], now, effects)
    return _answer(transaction, id, effects, [answer.id for answer in answers])


def seal(transaction: Transaction, action: SealBatch, now: int) -> Acted:
    """No more jobs join; where none is pending, the batch finishes now. Sealing again changes nothing."""
    effects = Effects()
    _seal(transaction, action.id, now, effects)
    return _answer(transaction, action.id, effects)


def cancel(transaction: Transaction, action: CancelBatch, now: int) -> Acted:
    """Seal it, and cancel a set of its jobs that have not ended, those that run by asking them.

    The reply is the position to go on behind; ``more`` says whether to.
    """
    effects = Effects()
    if action.after < 0:
        _seal(transaction, action.id, now, effects)
    members = unpack(transaction.one("batch_open_members", id=action.id, after=action.after, limit=action.limit))
    sets.cancel(transaction, [job for job, _ in members], now, effects, actor=action.actor, note=action.note)
    after = members[-1][1] if members else action.after
    return Acted(str(after), effects, len(members), len(members) >= action.limit)


def finish(transaction: Transaction, ids: Iterable[int], now: int, effects: Effects) -> None:
    """Finish those of these batches that are sealed and wait for nobody, and enqueue their callbacks: once."""
    wanted = sorted(set(ids))
    if not wanted:
        return
    done = transaction.rows("batch_finish", ids=pack(wanted), now=now)
    if not done:
        return
    made: dict[int, list[str]] = {}
    ages: dict[int, int] = {}
    for id, total, created_at, *numbers in done:
        counts: dict[Counted, int] = dict(zip(COUNTERS, numbers, strict=True))
        made[id] = list(callbacks(counts, total))
        told: dict[str, object] = {"batch": id, "total": total}
        told.update(counts.items())
        tell(transaction, EventType.BATCH_FINISHED, [], told)
        ages[id] = max(0, now - created_at)
    called = [
        (id, event, later(_row.decode(text), ages[id]))
        for id, event, text in unpack(transaction.one("batch_callbacks", ids=pack(sorted(made))))
        if event in made[id]
    ]
    if called:
        answers = enqueues.insert(transaction, [row for _, _, row in called], now, effects)
        links = [(id, event, answer.id) for (id, event, _), answer in zip(called, answers, strict=True)]
        transaction.send("batch_called_back", rows=pack(links))


def prune(transaction: Transaction, before: int, limit: int = 1000) -> int:
    """Forget batches that finished before ``before`` and of whose jobs none is left; how many."""
    ids = unpack(transaction.one("batch_prune_candidates", before=before, limit=limit))
    if not ids:
        return 0
    text = pack(ids)
    transaction.send("batch_member_delete", ids=text)
    transaction.send("batch_callback_delete", ids=text)
    return transaction.run("batch_delete", ids=text)


def _seal(transaction: Transaction, id: int, now: int, effects: Effects) -> None:
    if transaction.run("batch_seal", id=id, now=now):
        tell(transaction, EventType.BATCH_SEALED, [], {"batch": id})
        finish(transaction, [id], now, effects)
    elif not transaction.rows("batch_rows", ids=pack([id])):
        raise NotFound(f"there is no batch {id}", path="id", help="roost batches list shows what there is")


def _answer(transaction: Transaction, id: int, effects: Effects, jobs: list[int] | None = None) -> Acted:
    batch: Batch = rows.batch(transaction.row("batch_rows", ids=pack([id])))
    batch.jobs = jobs or []
    return Acted(encode(batch).decode(), effects, 1)
