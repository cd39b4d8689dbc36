"""What clients did and were answered, in the order it began; also in a file, a line before and after each call."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec

Outcome = Literal["ok", "fail", "info"]
"""Answered; refused, so that nothing happened; or unknown: it may have happened, or may yet."""


class Entry(msgspec.Struct, kw_only=True):
    """One call: ``began`` and ``ended`` are seconds on the machine's monotonic clock."""

    number: int
    client: str
    call: str
    asked: dict[str, Any]
    began: float
    ended: float | None = None
    outcome: Outcome = "info"
    answer: Any = None


class History:
    """Append-only; safe to share between threads."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("ab")
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._entries: list[Entry] = []

    def begin(self, client: str, call: str, **asked: Any) -> Entry:
        """Note a call before it is made."""
        with self._lock:
            entry = Entry(number=next(self._numbers), client=client, call=call, asked=asked, began=time.monotonic())
            self._entries.append(entry)
            self._write(entry)
        return entry

    def end(self, entry: Entry, outcome: Outcome, answer: Any = None) -> None:
        """Note what became of it."""
        with self._lock:
            entry.ended, entry.outcome, entry.answer = time.monotonic(), outcome, answer
            self._write(entry)

    def entries(self, call: str | None = None) -> list[Entry]:
        """All of them, or those of one call, in order."""
        with self._lock:
            return [entry for entry in self._entries if call is None or entry.call == call]

    def close(self) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries())

    def _write(self, entry: Entry) -> None:
        self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()
