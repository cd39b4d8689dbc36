"""How many jobs to claim: the free handlers' worth, and what they will be done with in a moment."""

from __future__ import annotations

from collections.abc import Callable

AHEAD_SECONDS = 0.05
"""Jobs are claimed this far ahead, by the pace of late: enough for no-ops, next to nothing for slow handlers."""
AHEAD_MOST = 900
_MEASURE_SECONDS = 0.002


class Pace:
    """Measures how fast jobs end, and turns it into how many to hold ready beyond those that run."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._since = monotonic()
        self._ended = 0
        self._rate = 0.0

    def ended(self) -> None:
        """A job ended."""
        self._ended += 1

    def ahead(self) -> int:
        """How many jobs may wait here for a handler."""
        now = self._monotonic()
        elapsed = now - self._since
        if elapsed >= _MEASURE_SECONDS:
            self._rate = (self._rate + self._ended / elapsed) / 2
            self._since, self._ended = now, 0
        return min(AHEAD_MOST, int(self._rate * AHEAD_SECONDS))
