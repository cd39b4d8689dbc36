"""Whether the store can be trusted and reached, as seen by those who use it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from roost.errors import Contended, OutcomeUnknown, StoreError, Unavailable

log = logging.getLogger("roost.service.health")

STORE_FAILURES = (Unavailable, OutcomeUnknown, StoreError)
"""What the store fails with; every other `RoostError` refuses what was asked."""
UNREADY_AFTER = 3
"""Failures in a row after which the node says that it is not ready: one lost connection is no outage."""


class Health:
    """Counts failures of the store; tells those who asked when it is back."""

    def __init__(self) -> None:
        self.fatal = asyncio.Event()
        """Set when the store failed in a way that no retry mends; the process must end (exit code 70)."""
        self._failures = 0
        self._last: BaseException | None = None
        self._regained: list[Callable[[], None]] = []

    def when_regained(self, call: Callable[[], None]) -> None:
        """Call ``call`` each time the store answers again after it did not."""
        self._regained.append(call)

    def failed(self, error: BaseException) -> None:
        """The store did not do what it was asked for."""
        if isinstance(error, Contended):
            # Somebody's open transaction is in the way: the store is well.
            return
        if isinstance(error, StoreError) and not self.fatal.is_set():
            log.critical("the store failed, nothing is acknowledged any more: %s", error)
            self._last = error
            self.fatal.set()
        elif isinstance(error, Unavailable | OutcomeUnknown):
            if not self._failures:
                log.error("the store does not answer: %s", error)
            self._failures += 1
            self._last = error

    def succeeded(self) -> None:
        """The store did what it was asked for."""
        if self._failures:
            log.warning("the store answers again, after %d failures", self._failures)
            self._failures = 0
            for call in self._regained:
                call()

    def check(self) -> None:
        """Raises `Unavailable` where the store is lost."""
        if self.fatal.is_set():
            raise Unavailable(f"the store failed: {self._last}", help="look at the server's log")
        if self._failures >= UNREADY_AFTER:
            raise Unavailable(f"the store does not answer: {self._last}", help="look at the database")
