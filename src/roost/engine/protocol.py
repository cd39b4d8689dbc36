"""What a store does for the service: a handful of set-based operations, each one transaction.

`roost.engine.batch` is the hot path, `roost.engine.calls` are control operations. Both are plain data, so that they
cross a process boundary as they are. Refusals are answers (`Problem`), never exceptions: a set cannot half-fail.
"""

from __future__ import annotations

from typing import Protocol

from roost.engine.batch import Applied, Batch
from roost.engine.calls import Acted, Call


class Engine(Protocol):
    """A store's writing side; not thread-safe unless it says so."""

    def apply(self, batch: Batch) -> Applied:
        """All of ``batch`` in one durable transaction; raises `Unavailable`, `OutcomeUnknown`, `StoreError`."""
        ...

    def act(self, call: Call) -> Acted:
        """One action in one durable transaction; raises as `apply`."""
        ...

    def close(self) -> None:
        """Give the store back; twice does no harm."""
        ...
