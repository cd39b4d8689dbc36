"""Enqueues: unique keys are decided, ids given, and all new jobs of a batch go in with three statements."""

from __future__ import annotations

import msgspec

from roost.domain.records import JobRow, Shape, UniqueClaim
from roost.domain.states import State
from roost.engine.driver import Retry, Transaction
from roost.engine.protocol import Batch, Effects, EnqueuedRow, EnqueueWork
from roost.engine.work.operations import Known
from roost.engine.work.texts import pack, unpack
from roost.errors import UniqueConflict
from roost.wire.problems import Problem


def apply(transaction: Transaction, batch: Batch, known: Known, effects: Effects) -> list[list[EnqueuedRow] | Problem]:
    """The answers to a batch's enqueues, call for call."""
    answers: list[list[EnqueuedRow] | Problem] = []
    todo: list[tuple[EnqueueWork, list[EnqueuedRow]]] = []
    seen: dict[str, list[EnqueuedRow]] = {}
    for work in batch.enqueues:
        before = known.answer(work.operation)
        if isinstance(before, str):
            answers.append(msgspec.json.decode(before, type=list[EnqueuedRow]))
        elif before is not None:
            answers.append(before)
        elif work.operation and work.operation.id in seen:
            answers.append(seen[work.operation.id])
        else:
            answer: list[EnqueuedRow] = []
            answers.append(answer)
            todo.append((work, answer))
            if work.operation:
                seen[work.operation.id] = answer
    results = insert(transaction, [row for work, _ in todo for row in work.rows], batch.now, effects)
    place = 0
    for work, answer in todo:
        answer.extend(results[place : place + len(work.rows)])
        place += len(work.rows)
    return answers


def insert(transaction: Transaction, rows: list[JobRow], now: int, effects: Effects) -> list[EnqueuedRow]:
    """Store ``rows`` (or find the jobs that hold their unique keys); an answer for each."""
    if not rows:
        return []
    taken: dict[int, EnqueuedRow] = {}
    dead: dict[str, int] = {}
    if any(row.unique for row in rows):
        taken, dead = _look_up_keys(transaction, rows, now)
    new = [place for place in range(len(rows)) if place not in taken]
    ids = transaction.allocate(len(new)) if new else []
    answers = taken | {place: EnqueuedRow(id) for place, id in zip(new, ids, strict=True)}
    if taken:
        first = {row.unique.key: answers[place].id for place in new if (row := rows[place]).unique}
        for place, answer in taken.items():
            wish = rows[place].unique
            if answer.id == 0 and wish:
                answer.id = first[wish.key]
    if new:
        _insert(transaction, [rows[place] for place in new], ids, dead, now, effects)
    return [answers[place] for place in range(len(rows))]


def _insert(
    transaction: Transaction, rows: list[JobRow], ids: list[int], dead: dict[str, int], now: int, effects: Effects
) -> None:
    shapes: dict[Shape, int] = {}
    places: dict[int, int] = {}
    ready = effects.ready
    before: Shape | None = None
    place = 0
    for id, row in zip(ids, rows, strict=True):
        shape = row.shape
        if shape is not before:
            # Plain jobs of one sort share the object itself: only the first of a run is looked up.
            place = shapes.setdefault(shape, len(shapes))
            before = shape
            _note_times(effects, shape)
        places[id] = place
        if shape.state is State.READY:
            ready[shape.queue] = ready.get(shape.queue, 0) + 1
    transaction.run("job_insert", shapes=pack(list(shapes)), places=pack(places), now=now)
    plain = {id: row.input for id, row in zip(ids, rows, strict=True) if row.options is None}
    if plain:
        transaction.run("input_insert", inputs=pack(plain))
    if len(plain) < len(rows):
        with_options = [
            (id, row.input, row.options) for id, row in zip(ids, rows, strict=True) if row.options is not None
        ]
        transaction.run("input_insert_with_options", rows=pack(with_options))
    held = [(id, row.hold) for id, row in zip(ids, rows, strict=True) if row.hold is not None]
    if held:
        transaction.run(
            "hold_put",
            rows=pack([(id, h.reason, h.title, h.subject, h.subject_hash, h.deadline, h.on_expiry) for id, h in held]),
            now=now,
        )
        for _, hold in held:
            if hold.deadline is not None:
                note_due(effects, hold.deadline)
    keys = [(row.unique, id) for id, row in zip(ids, rows, strict=True) if row.unique]
    if keys:
        taken = sorted((wish.key, id, wish.input_hash, dead.get(wish.key, 0), wish.until) for wish, id in keys)
        if transaction.run("unique_put", rows=pack(taken), now=now) != len(taken):
            # Another transaction took one of the keys since we looked: look again.
            raise Retry


def _note_times(effects: Effects, shape: Shape) -> None:
    for at in (shape.run_at, shape.expires_at, shape.deadline_at):
        if at is not None:
            note_due(effects, at)


def note_due(effects: Effects, at: int) -> None:
    """Something stored now wants attention at ``at``."""
    if effects.due_at is None or at < effects.due_at:
        effects.due_at = at


def _look_up_keys(
    transaction: Transaction, rows: list[JobRow], now: int
) -> tuple[dict[int, EnqueuedRow], dict[str, int]]:
    """Answers by place for the rows whose key is taken (id 0: by an earlier row of this set); dead holders by key."""
    keys = sorted({row.unique.key for row in rows if row.unique})
    holders: dict[str, tuple[int, str]] = {}
    dead: dict[str, int] = {}
    for key, job, input_hash, alive in unpack(transaction.one("unique_known", keys=pack(keys), now=now)):
        if alive:
            holders[key] = (job, input_hash)
        else:
            dead[key] = job
    taken: dict[int, EnqueuedRow] = {}
    duplicates: set[str] = set()
    for place, row in enumerate(rows):
        wish = row.unique
        if wish is None:
            continue
        if wish.key not in holders:
            holders[wish.key] = (0, wish.input_hash)
            continue
        job, input_hash = holders[wish.key]
        duplicates.add(wish.key)
        taken[place] = EnqueuedRow(job, True, _refusal(wish, job, input_hash))
    if duplicates:
        transaction.run("unique_touch", keys=pack(sorted(duplicates)), now=now)
    return taken, dead


def _refusal(wish: UniqueClaim, job: int, input_hash: str) -> Problem | None:
    name = wish.key.partition("\n")[2]
    if wish.input_hash != input_hash:
        return Problem.of(
            UniqueConflict(
                f"the unique key {name!r} belongs to {_holder(job)} with another input",
                path="unique.key",
                help="wait for that job's end, or use another key",
            )
        )
    if wish.reject:
        return Problem.of(
            UniqueConflict(
                f"the unique key {name!r} belongs to {_holder(job)} already",
                path="unique.key",
                help='on_conflict="return" would answer with that job',
            )
        )
    return None


def _holder(job: int) -> str:
    return f"job {job}" if job else "an earlier job of the same request"
