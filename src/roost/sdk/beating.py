"""The heart's own way to the server: apart from the worker's event loop, wherever the transport allows it."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar, runtime_checkable

from roost.errors import Unavailable
from roost.sdk._async.http import AsyncHttpTransport
from roost.sdk._sync.http import HttpTransport
from roost.sdk.transport import AsyncTransport, Calls
from roost.wire.codec import Wire
from roost.wire.contract import Operation

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)


def beat_transport(transport: AsyncTransport, seconds: float) -> Calls:
    """The worker's transport without its event loop; an answer may take ``seconds``. To be called on that loop."""
    if isinstance(transport, AsyncHttpTransport):
        return HttpTransport(transport.address.url, timeout=seconds)
    if isinstance(transport, _InThisProcess):
        return transport.blocking()
    return _Borrowed(transport, asyncio.get_running_loop(), seconds)


@runtime_checkable
class _InThisProcess(Protocol):
    """A store on a thread of its own; `roost.embedded`, which this layer does not know."""

    def blocking(self) -> Calls: ...


class _Borrowed:
    """Calls on the worker's loop, for a transport that has no other way."""

    repeatable = True
    """An answer that did not come in time may be to a call that was heard."""

    def __init__(self, transport: AsyncTransport, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._transport = transport
        self._loop = loop
        self._seconds = seconds

    def send(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A:
        """From another thread than the loop's; raises `Unavailable` where the loop does not get to it in time."""
        sending = self._transport.send(operation, request, operation_id)
        answer = asyncio.run_coroutine_threadsafe(sending, self._loop)
        try:
            return answer.result(self._seconds)
        except TimeoutError:
            answer.cancel()
            raise Unavailable(
                "the event loop is busy: a handler that never waits keeps it from everything else"
            ) from None

    def close(self) -> None:
        """The worker's transport is not ours to close."""
