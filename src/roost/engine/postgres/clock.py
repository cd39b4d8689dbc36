"""How far this machine's clock is from the database's, which all nodes share."""

from __future__ import annotations

import threading
import time

from roost.engine.postgres.readers import Readers
from roost.errors import RoostError

REFRESH_SECONDS = 30.0
ROUND_TRIPS = 5


class DatabaseClock:
    """The offset, measured again in a thread of its own when it is old and somebody asks for it."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._measuring = threading.Lock()
        self._offset = _measure(readers)
        self._measured_at = time.monotonic()

    def offset(self) -> int:
        """Milliseconds to add to this machine's clock; returns at once."""
        if time.monotonic() - self._measured_at > REFRESH_SECONDS and self._measuring.acquire(blocking=False):
            threading.Thread(target=self._refresh, name="roost-database-clock", daemon=True).start()
        return self._offset

    def expire(self) -> None:
        """Another server may have taken over, with another clock."""
        self._measured_at = float("-inf")

    def _refresh(self) -> None:
        try:
            self._offset = _measure(self._readers)
        except RoostError:
            # The old one is the best there is; asked again later.
            pass
        finally:
            self._measured_at = time.monotonic()
            self._measuring.release()


def _measure(readers: Readers) -> int:
    best: tuple[int, int] | None = None
    with readers.session() as session:
        for _ in range(ROUND_TRIPS):
            before = time.time_ns()
            ((there,),) = session.query("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", {})
            after = time.time_ns()
            found = (after - before, there * 1000 - (before + after) // 2)
            best = found if best is None else min(best, found)
    return 0 if best is None else round(best[1] / 1_000_000)
