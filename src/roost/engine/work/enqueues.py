"""Enqueues: unique keys are decided, ids given, and all new jobs of a batch go in with three statements."""

from __future__ import annotations

from collections import Counter

import msgspec

from roost.domain.records import JobRow, Shape
from roost.domain.states import State
from roost.engine.batch import Batch, Effects, EnqueuedRow, EnqueueWork
from roost.engine.driver import Retry, Transaction
from roost.engine.work import flow, indexing, keys, limiting, ordering
from roost.engine.work.changes import note_due
from roost.engine.work.feed import tell_created
from roost.engine.work.operations import Known
from roost.engine.work.texts import pack
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
    if any(row.flow is not None for work, _ in todo for row in work.rows):
        todo, around = _refuse(transaction, todo, answers)
        rows = _in_one_set([work.rows for work, _ in todo])
        results = _insert_related(transaction, rows, batch.now, effects, around)
    else:
        results = _insert_all(transaction, [row for work, _ in todo for row in work.rows], batch.now, effects)
    place = 0
    for work, answer in todo:
        answer.extend(results[place : place + len(work.rows)])
        place += len(work.rows)
    return answers


def _refuse(
    transaction: Transaction,
    todo: list[tuple[EnqueueWork, list[EnqueuedRow]]],
    answers: list[list[EnqueuedRow] | Problem],
) -> tuple[list[tuple[EnqueueWork, list[EnqueuedRow]]], flow.Surroundings]:
    """Answer the calls whose jobs cannot wait for what they name; the rest, and what is there of it."""
    around = flow.look_around(transaction, (row for work, _ in todo for row in work.rows))
    accepted = []
    for work, answer in todo:
        refusal = flow.refusal(work.rows, around)
        if refusal is None:
            accepted.append((work, answer))
        else:
            for place, given in enumerate(answers):
                if given is answer:
                    answers[place] = Problem.of(refusal)
    return accepted, around


def _in_one_set(calls: list[list[JobRow]]) -> list[JobRow]:
    """The rows of all calls; those that name others of their call by place name them by their place in the whole."""
    rows: list[JobRow] = []
    for call in calls:
        offset = len(rows)
        for row in call:
            if offset and row.flow is not None and row.flow.places:
                places = [offset + place for place in row.flow.places]
                row = msgspec.structs.replace(row, flow=msgspec.structs.replace(row.flow, places=places))
            rows.append(row)
    return rows


def insert(transaction: Transaction, rows: list[JobRow], now: int, effects: Effects) -> list[EnqueuedRow]:
    """Store ``rows`` (or find the jobs that hold their unique keys); an answer for each.

    Raises what refuses a row that cannot wait for what it names.
    """
    if not any(row.flow is not None for row in rows):
        return _insert_all(transaction, rows, now, effects)
    around = flow.look_around(transaction, rows)
    refusal = flow.refusal(rows, around)
    if refusal is not None:
        raise refusal
    return _insert_related(transaction, rows, now, effects, around)


def _insert_related(
    transaction: Transaction, rows: list[JobRow], now: int, effects: Effects, around: flow.Surroundings
) -> list[EnqueuedRow]:
    rows = flow.in_their_place(rows, around)
    answers = _insert_all(transaction, rows, now, effects)
    flow.relate(transaction, rows, answers, around, now, effects)
    return answers


def _insert_all(transaction: Transaction, rows: list[JobRow], now: int, effects: Effects) -> list[EnqueuedRow]:
    if any(row.unique is not None for row in rows):
        return [answer for part in keys.rounds(rows) for answer in _insert_unique(transaction, part, now, effects)]
    ids = transaction.allocate(len(rows)) if rows else []
    if ids:
        _insert(transaction, rows, ids, {}, now, effects)
    return [EnqueuedRow(id) for id in ids]


def _insert_unique(transaction: Transaction, rows: list[JobRow], now: int, effects: Effects) -> list[EnqueuedRow]:
    taken, dead = keys.look_up(transaction, rows, now, effects)
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
    before: Shape | None = None
    place = 0
    for id, shape in zip(ids, ordering.shapes(transaction, rows, now), strict=True):
        if shape is not before:
            # Plain jobs of one sort share the object itself: only the first of a run is looked up.
            place = shapes.setdefault(shape, len(shapes))
            before = shape
            _note_times(effects, shape)
        places[id] = place
    counts, ready = Counter(places.values()), effects.ready
    for shape, place in shapes.items():
        if shape.state is State.READY:
            ready[shape.queue] = ready.get(shape.queue, 0) + counts[place]
    transaction.send("job_insert", shapes=pack(list(shapes)), places=pack(places), now=now)
    tell_created(transaction, shapes, places)
    special = [(id, row) for id, row in zip(ids, rows, strict=True) if _is_special(row)]
    inputs = {id: row.input for id, row in zip(ids, rows, strict=True) if row.options is None}
    if inputs:
        transaction.send("input_insert", inputs=pack(inputs))
    if len(inputs) < len(rows):
        with_options = [(id, row.input, row.options) for id, row in special if row.options is not None]
        transaction.send("input_insert_with_options", rows=pack(with_options))
    indexing.note(transaction, ((id, row.shape.kind, row.input) for id, row in zip(ids, rows, strict=True)), now)
    if special:
        _insert_beside(transaction, special, dead, now, effects)


def _is_special(row: JobRow) -> bool:
    """Whether a job has more than a shape and an input."""
    return (
        row.options is not None
        or row.unique is not None
        or row.hold is not None
        or row.extras is not None
        or row.limits is not None
    )


def _insert_beside(
    transaction: Transaction, special: list[tuple[int, JobRow]], dead: dict[str, int], now: int, effects: Effects
) -> None:
    """What jobs have in tables of its own: tags, holds, unique keys, limits."""
    extras = [(id, row.extras) for id, row in special if row.extras is not None]
    if extras:
        tags = [(key, value, id) for id, extra in extras for key, value in (extra.tags or {}).items()]
        if tags:
            transaction.send("tag_put", rows=pack(tags))
        metadata = [(id, extra.metadata) for id, extra in extras if extra.metadata is not None]
        if metadata:
            transaction.send("metadata_put", rows=pack(metadata))
    held = [(id, row.hold) for id, row in special if row.hold is not None]
    if held:
        transaction.send(
            "hold_put",
            rows=pack([(id, h.reason, h.title, h.subject, h.subject_hash, h.deadline, h.on_expiry) for id, h in held]),
            now=now,
        )
        for _, hold in held:
            if hold.deadline is not None:
                note_due(effects, hold.deadline)
    wishes = [(row.unique, id) for id, row in special if row.unique]
    if wishes:
        taken = sorted((wish.key, id, wish.input_hash, dead.get(wish.key, 0), wish.until) for wish, id in wishes)
        if transaction.run("unique_put", rows=pack(taken), now=now) != len(taken):
            # Another transaction took one of the keys since we looked: look again.
            raise Retry
    if any(row.limits for _, row in special):
        limiting.store(transaction, [id for id, _ in special], [row for _, row in special], now, effects)


def _note_times(effects: Effects, shape: Shape) -> None:
    for at in (shape.run_at, shape.expires_at, shape.deadline_at):
        if at is not None:
            note_due(effects, at)
