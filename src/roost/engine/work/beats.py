"""Heartbeats: all the leases of a moment renewed with one statement; only the exceptions are read back."""

from __future__ import annotations

from roost.domain.records import Flag
from roost.engine.driver import Transaction
from roost.engine.protocol import BeatenRow, BeatRow
from roost.engine.work.settles import lease_lost
from roost.engine.work.texts import pack, unpack

LOG_LINE_LIMIT = 10_000
"""Lines a job may log; what comes after is dropped."""


def apply(transaction: Transaction, calls: list[list[BeatRow]], now: int) -> list[list[BeatenRow]]:
    """An answer for each beat: renewed, renewed but cancel, or lost."""
    rows = [row for call in calls for row in call]
    if not rows:
        return [[] for _ in calls]
    leases = sorted((row.id, row.token, now + row.lease_ms) for row in rows)
    transaction.run("beat", rows=pack(leases))
    asked = pack(sorted({(row.id, row.token) for row in rows}))
    told = {(id, token): held for id, token, held in unpack(transaction.one("beat_refused", rows=asked))}
    accepted = [row for row in rows if told.get((row.id, row.token), 1)]
    put_progress(transaction, [(row.id, row.progress, row.saved) for row in accepted])
    lines = [(row.id, at, level, message) for row in accepted for at, level, message in row.logs]
    if lines:
        transaction.run("log_put", rows=pack(lines), line_limit=LOG_LINE_LIMIT)
    return [[_answer(row, told.get((row.id, row.token))) for row in call] for call in calls]


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
    transaction.run("progress_put", rows=pack([(id, *merged[id]) for id in sorted(merged)]))
    saved_ids = [id for id in sorted(merged) if merged[id][1] is not None]
    if saved_ids:
        transaction.run("job_flag", rows=pack([(id, int(Flag.SAVED)) for id in saved_ids]))
