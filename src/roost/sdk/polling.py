"""How often to look at what does not call back."""

from __future__ import annotations

import time

_FIRST = 0.01
_LONGEST = 0.5


class Polling:
    """Pauses that grow from ten milliseconds to half a second, for ``timeout`` seconds altogether."""

    def __init__(self, timeout: float | None) -> None:
        self._until = None if timeout is None else time.monotonic() + timeout
        self._next = _FIRST

    def pause(self) -> float | None:
        """Seconds to wait now; None where the time is up."""
        left = _LONGEST if self._until is None else self._until - time.monotonic()
        if left <= 0:
            return None
        pause, self._next = min(self._next, left), min(_LONGEST, self._next * 2)
        return pause
