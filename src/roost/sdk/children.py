"""Jobs that a handler started as part of its own work, as the handler holds them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from roost.sdk.outcome import DurationLike
from roost.sdk.reference import JobReference
from roost.sdk.styles import drive

R = TypeVar("R")

Wait = Callable[[Any, DurationLike | None], Awaitable[Any]]


class Child(JobReference, Generic[R]):
    """A job that `Context.spawn` started; the same one whenever its parent resumes."""

    __slots__ = ("_wait", "kind")

    def __init__(self, id: int, kind: str, wait: Wait) -> None:
        super().__init__(id)
        self.kind = kind
        self._wait = wait

    async def result(self, timeout: DurationLike | None = None) -> R:
        """What it returned; until it has ended its parent waits and occupies no worker, then resumes here.

        Raises `JobFailed` where it did not succeed, `ResultTimeout` where it has not ended after ``timeout``.
        """
        value: R = await self._wait(self, timeout)
        return value

    def __repr__(self) -> str:
        return f"<Child {self.id} ({self.kind})>"


class SyncChild(JobReference, Generic[R]):
    """A job that `SyncContext.spawn` started; as `Child`, blocking."""

    __slots__ = ("_child",)

    def __init__(self, child: Child[R]) -> None:
        super().__init__(child.id)
        self._child = child

    @property
    def kind(self) -> str:
        """The job's name."""
        return self._child.kind

    def result(self, timeout: DurationLike | None = None) -> R:
        """See `Child.result`."""
        return drive(self._child.result(timeout))

    def __repr__(self) -> str:
        return f"<SyncChild {self.id} ({self.kind})>"
