"""How a client's calls reach the API: one method, over HTTP or inside the process."""

from __future__ import annotations

from typing import Protocol, TypeVar

from roost.wire.codec import Wire
from roost.wire.contract import Operation

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)


class AsyncTransport(Protocol):
    """Carries one call; raises the `RoostError` it was refused with, `Unavailable` where nobody answers."""

    repeatable: bool
    """Whether a call may be lost on its way without a word, so that changing calls need an operation id."""

    async def send(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A: ...

    async def aclose(self) -> None:
        """Give back what it holds; twice does no harm."""
        ...


class Transport(Protocol):
    """The same for code without an event loop."""

    repeatable: bool

    def send(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A: ...

    def close(self) -> None: ...
