"""One kind of work that waits for a commit, with its callers."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

W = TypeVar("W")
A = TypeVar("A")


class Waiting(Generic[W, A]):
    """A call's work, and the future of its answer."""

    __slots__ = ("future", "rows", "size", "work")

    def __init__(self, work: W, future: asyncio.Future[A], rows: int, size: int) -> None:
        self.work = work
        self.future = future
        self.rows = rows
        self.size = size

    def answer(self, value: A) -> bool:
        """Hand the answer over; False where the caller has gone."""
        if self.future.done():
            return False
        self.future.set_result(value)
        return True

    def refuse(self, error: BaseException) -> None:
        """Hand an error over."""
        if not self.future.done():
            self.future.set_exception(error)


class Lane(Generic[W, A]):
    """Calls in the order they came; counts what waits."""

    __slots__ = ("_calls", "bytes", "rows")

    def __init__(self) -> None:
        self._calls: deque[Waiting[W, A]] = deque()
        self.rows = 0
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, work: W, rows: int, size: int) -> asyncio.Future[A]:
        """The future of the answer to ``work``."""
        future: asyncio.Future[A] = asyncio.get_running_loop().create_future()
        self._calls.append(Waiting(work, future, rows, size))
        self.rows += rows
        self.bytes += size
        return future

    def take(self, rows: int, size: int) -> list[Waiting[W, A]]:
        """The first calls that fit into ``rows`` and ``size`` bytes, at least one; without callers that have gone."""
        taken: list[Waiting[W, A]] = []
        calls = self._calls
        while calls:
            first = calls[0]
            if first.future.done():
                self._drop()
                continue
            if taken and (first.rows > rows or first.size > size):
                break
            rows -= first.rows
            size -= first.size
            taken.append(self._drop())
        return taken

    def _drop(self) -> Waiting[W, A]:
        first = self._calls.popleft()
        self.rows -= first.rows
        self.bytes -= first.size
        return first
