"""Heartbeats: all the leases of a moment renewed with one statement; only the exceptions are read back."""

from __future__ import annotations

from roost.domain.feed import EventType
from roost.domain.records import Flag
from roost.engine.batch import BeatenRow, BeatRow
from roost.engine.driver import Transaction
from roost.engine.work import chunks, operations
from roost.engine.work.feed import tell
from roost.engine.work.settles import lease_lost
from roost.engine.work.texts import pack, unpack
from roost.errors import TooLarge
from roost.wire.problems import Problem

LOG_LINE_LIMIT = 10_000
"""Lines a job may log; what comes after is dropped."""


def apply(transaction: Transaction, calls: list[list[BeatRow]], now: int) -> list[list[BeatenRow]]:
    """An answer for each beat: renewed, renewed but cancel, or lost."""
    rows = [row for call in calls for row in call]
    if not rows:
        return [[] for _ in calls]
    leases = sorted((row.id, row.token, now + row.lease_ms) for row in rows)
    transaction.send("beat", rows=pack(leases))
    asked = pack(sorted({(row.id, row.token) for row in rows}))
    told = {(id, token): held for id, token, held in unpack(transaction.one("beat_refused", rows=asked))}
    accepted = [row for row in rows if told.get((row.id, row.token), 1)]
    said = accepted if all(row.operation is None for row in accepted) else _once(transaction, calls, accepted, now)
    started = {(row.id, step.name): step for row in accepted for step in row.steps}
    if started:
        marks = [(id, name, step.kind, step.input_hash, step.started_at) for (id, name), step in started.items()]
        transaction.send("step_started_put", rows=pack(marks))
    put_progress(transaction, [(row.id, row.progress, row.saved) for row in said])
    refused = _append(transaction, [row for row in said if row.chunks], now)
    lines = [(row.id, at, level, message) for row in said for at, level, message in row.logs]
    if lines:
        transaction.send("log_put", rows=pack(lines), line_limit=LOG_LINE_LIMIT)
        tell(transaction, EventType.LOGGED, sorted({line[0] for line in lines}))
    return [[refused.get(id(row)) or _answer(row, told.get((row.id, row.token))) for row in call] for call in calls]


def _once(transaction: Transaction, calls: list[list[BeatRow]], accepted: list[BeatRow], now: int) -> list[BeatRow]:
    """Those rows whose call was not heard before, here or in an earlier transaction; the rest only renews its lease."""
    ids = sorted({row.operation.id for row in accepted if row.operation})
    known = operations.Known(transaction, ids, now)
    heard: dict[str, str] = {}
    again: set[int] = set()
    for call in calls:
        operation = next((row.operation for row in call if row.operation), None)
        if operation is None:
            continue
        if operation.id in known.answers or operation.id in heard:
            again.update(id(row) for row in call)
        else:
            heard[operation.id] = operation.fingerprint
    if heard:
        rows = [(name, fingerprint, "") for name, fingerprint in sorted(heard.items())]
        transaction.send("operations_put", rows=pack(rows), now=now)
    return [row for row in accepted if id(row) not in again]


def _append(transaction: Transaction, rows: list[BeatRow], now: int) -> dict[int, BeatenRow]:
    """Append chunks where there is room; the refusals by row."""
    wanted: dict[int, int] = {}
    for row in rows:
        wanted[row.id] = wanted.get(row.id, 0) + len(row.chunks)
    full = chunks.full(transaction, wanted)
    told: dict[int, list[str]] = {}
    for row in rows:
        if row.id not in full:
            told.setdefault(row.id, []).extend(row.chunks)
    chunks.put(transaction, told, now)
    problem = Problem.of(
        TooLarge(
            f"the result has no room for more than {chunks.CHUNK_LIMIT:,} chunks",
            path="chunks",
            help="append fewer and larger ones",
        )
    )
    return {id(row): BeatenRow(row.id, problem=problem) for row in rows if row.id in full}


def _answer(row: BeatRow, told: int | None) -> BeatenRow:
    if told is None:
        return BeatenRow(row.id)
    return BeatenRow(row.id, True) if told else BeatenRow(row.id, problem=lease_lost(row.id))


def put_progress(transaction: Transaction, rows: list[tuple[int, str | None, str | None]]) -> None:
    """Progress and state blobs of jobs; the last of a job's wins, what is None stays as it was."""
    merged: dict[int, tuple[str | None, str | None]] = {}
    for id, progress, saved in rows:
        if progress is not None or saved is not None:
            before = merged.get(id, (None, None))
            merged[id] = (progress if progress is not None else before[0], saved if saved is not None else before[1])
    if not merged:
        return
    transaction.send("progress_put", rows=pack([(id, *merged[id]) for id in sorted(merged)]))
    moved = [id for id in sorted(merged) if merged[id][0] is not None]
    if moved:
        tell(transaction, EventType.PROGRESS, moved)
    saved_ids = [id for id in sorted(merged) if merged[id][1] is not None]
    if saved_ids:
        transaction.send("job_flag", rows=pack([(id, int(Flag.SAVED)) for id in saved_ids]))
