"""How a client's calls reach the API: one method, over HTTP or inside the process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import Protocol, TypeAlias, TypeVar

from roost.wire.codec import Wire
from roost.wire.contract import Operation
from roost.wire.streams import Message

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)
T = TypeVar("T")

AsyncStream: TypeAlias = AsyncGenerator[T, None]
Stream: TypeAlias = Generator[T, None, None]
"""What comes one after the other; close it to stop."""


class AsyncTransport(Protocol):
    """Carries one call; raises the `RoostError` it was refused with, `Unavailable` where nobody answers."""

    repeatable: bool
    """Whether a call may be lost on its way without a word, so that changing calls need an operation id."""

    async def send(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A: ...

    def stream(self, operation: Operation[Q, A], request: Q, last_id: str) -> AsyncStream[list[Message]]:
        """The messages of a stream behind ``last_id`` (empty: as the request says), until it ends or is cut."""
        ...

    async def aclose(self) -> None:
        """Give back what it holds; twice does no harm."""
        ...


class Calls(Protocol):
    """Carries single calls, without an event loop."""

    repeatable: bool

    def send(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A: ...

    def close(self) -> None: ...


class Transport(Calls, Protocol):
    """As `AsyncTransport`, for code without an event loop."""

    def stream(self, operation: Operation[Q, A], request: Q, last_id: str) -> Stream[list[Message]]: ...
