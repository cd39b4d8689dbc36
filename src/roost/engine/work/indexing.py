"""Declared paths of inputs: what new jobs have there is written with them, for jobs of those kinds only."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import WeakKeyDictionary

import msgspec

from roost.domain.indexing import values_at
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack

FRESH_MS = 2_000
"""How long a connection trusts what it read of the declarations; an index is filled for longer than that after its
declaration, so that no job falls between."""


class _Declared(msgspec.Struct):
    read_at: int
    paths: dict[str, list[str]]
    """By kind; those of all kinds under the empty name."""


_known: WeakKeyDictionary[Transaction, _Declared] = WeakKeyDictionary()


def paths_of(kind: str, declared: dict[str, list[str]]) -> list[str]:
    """The paths that jobs of a kind are indexed by."""
    return [*declared.get("", ()), *(path for path in declared.get(kind, ()) if path not in declared.get("", ()))]


def declared(transaction: Transaction, now: int) -> dict[str, list[str]]:
    """The declared paths by kind, read again every `FRESH_MS`."""
    found = _known.get(transaction)
    if found is None or not 0 <= now - found.read_at < FRESH_MS:
        paths: dict[str, list[str]] = {}
        for path, kind, state, *_ in transaction.rows("index_paths"):
            if state != "removing":
                paths.setdefault(kind, []).append(path)
        found = _known[transaction] = _Declared(now, paths)
    return found.paths


def note(transaction: Transaction, jobs: Iterable[tuple[int, str, str]], now: int) -> None:
    """Index new jobs (id, kind, input); nothing is done where no path is declared for their kinds."""
    paths = declared(transaction, now)
    if paths:
        put(transaction, jobs, paths)


def renew(transaction: Transaction, jobs: list[tuple[int, str, str]], now: int) -> None:
    """Index jobs again whose inputs were edited."""
    if declared(transaction, now):
        transaction.send("index_delete", ids=pack([id for id, _, _ in jobs]))
        note(transaction, jobs, now)


def put(transaction: Transaction, jobs: Iterable[tuple[int, str, str]], paths: dict[str, list[str]]) -> None:
    """Write what these jobs have at ``paths`` (by kind)."""
    rows: list[tuple[str, str, int]] = []
    for id, kind, text in jobs:
        wanted = paths_of(kind, paths)
        if wanted:
            rows += [(path, value, id) for path, value in values_at(text, wanted)]
    if rows:
        transaction.send("index_put", rows=pack(rows))
