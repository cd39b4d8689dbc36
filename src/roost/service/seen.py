"""When each worker was last heard of, in memory: an idle worker that waits for jobs writes nothing."""

from __future__ import annotations

LATELY_MS = 90_000
"""A worker that was heard of within this time is there."""
_MOST = 10_000


class Seen:
    """Worker to the moment of its last call, in milliseconds since the epoch, with the queues it took jobs from."""

    def __init__(self) -> None:
        self._at: dict[str, int] = {}
        self._queues: dict[str, frozenset[str]] = {}
        self.draining: set[str] = set()
        """Workers that were asked to drain, as the store said when the rules were read."""

    def hear(self, worker: str, now: int) -> None:
        """``worker`` called."""
        # Moved to the end, so that the first is the one longest silent.
        self._at.pop(worker, None)
        self._at[worker] = now
        if len(self._at) > _MOST:
            self._forget(next(iter(self._at)))

    def takes(self, worker: str, queues: list[str]) -> None:
        """``worker`` asks for jobs of ``queues``."""
        self._queues[worker] = frozenset(queues)

    def last(self, worker: str) -> int | None:
        """When it last called this node."""
        return self._at.get(worker)

    def heard(self, after: int) -> list[tuple[str, int]]:
        """Workers that called this node later than ``after``, and when."""
        return [(worker, at) for worker, at in self._at.items() if at > after]

    def takers(self, queue: str, since: int) -> int:
        """How many workers heard of since then take ``queue``."""
        return sum(at >= since and queue in self._queues.get(worker, ()) for worker, at in self._at.items())

    def _forget(self, worker: str) -> None:
        del self._at[worker]
        self._queues.pop(worker, None)
