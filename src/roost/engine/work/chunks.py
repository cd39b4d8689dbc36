"""Chunks of results: numbered in the order they came, and kept whatever becomes of their attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roost.engine.driver import Transaction
from roost.engine.work.texts import pack, unpack

CHUNK_LIMIT = 10_000
"""Chunks a job may have, all attempts together; what comes after is refused, never dropped silently."""


def full(transaction: Transaction, wanted: Mapping[int, int]) -> set[int]:
    """The jobs that have no room for so many chunks more."""
    if not wanted:
        return set()
    counts = _counts(transaction, list(wanted))
    return {id for id, more in wanted.items() if counts.get(id, 0) + more > CHUNK_LIMIT}


def put(transaction: Transaction, chunks: Mapping[int, Sequence[str]], now: int) -> None:
    """Append these JSON texts to their jobs' chunks; the jobs' rows are locked by the caller's fence."""
    told = {id: texts for id, texts in chunks.items() if texts}
    if not told:
        return
    counts = _counts(transaction, list(told))
    rows = [
        (id, counts.get(id, 0) + place, text) for id, texts in told.items() for place, text in enumerate(texts, start=1)
    ]
    transaction.send("chunk_put", rows=pack(rows), now=now)


def _counts(transaction: Transaction, ids: list[int]) -> dict[int, int]:
    return dict(unpack(transaction.one("chunk_counts", ids=pack(ids))))
