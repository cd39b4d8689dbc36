"""A small HTTP/1.1 client that costs the machine little beside what it measures: request bytes in, body bytes out."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast
from urllib.parse import urlsplit

import msgspec

from roost.errors import RoostError, Unavailable
from roost.wire.contract import OPERATION_HEADER, PREFIX, Operation
from roost.wire.problems import ErrorBody

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"

OnReply = Callable[[int, bytes], None]


class Requests:
    """The bytes of requests to one server."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 80
        self._base = parts.path.rstrip("/")
        self._prefix = secrets.token_hex(8).encode()
        self._numbers = itertools.count()

    def of(self, operation: Operation[Any, Any], body: bytes, path: str = "") -> bytes:
        """One request of ``operation``; ``path`` where its template has fields."""
        line = f"{operation.method} {self._base}{PREFIX}{path or operation.path} HTTP/1.1\r\n"
        head = f"{line}host: {self.host}:{self.port}\r\ncontent-type: application/json\r\n"
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body

    def named(self, operation: Operation[Any, Any], body: bytes) -> Iterator[bytes]:
        """The same request without end, each under an operation id of its own, as a client sends what it may repeat."""
        head, _, rest = self.of(operation, body).partition(b"\r\n")
        begin = head + b"\r\n" + OPERATION_HEADER.encode() + b": " + self._prefix
        end = b"\r\n" + rest
        while True:
            yield b"%b%016x%b" % (begin, next(self._numbers), end)


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._needed = 0
        self._on_reply: OnReply | None = None
        self._on_lost: Callable[[Exception], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone

    def send(self, request: bytes, on_reply: OnReply, on_lost: Callable[[Exception], None]) -> None:
        """Send one request; ``on_reply`` gets status and body, unless the connection is lost before."""
        assert self._transport is not None  # noqa: S101 - a pool gives out open connections
        assert self._on_reply is None  # noqa: S101 - nothing is pipelined
        self._on_reply, self._on_lost = on_reply, on_lost
        self._transport.write(request)

    async def call(self, request: bytes) -> bytes:
        """The body of a 2xx answer; waits out a 429; raises the `RoostError` that any other answer tells of."""
        loop = asyncio.get_running_loop()
        while True:
            future: asyncio.Future[tuple[int, bytes]] = loop.create_future()
            self.send(
                request,
                lambda status, body, future=future: None if future.done() else future.set_result((status, body)),  # type: ignore[misc]
                lambda error, future=future: None if future.done() else future.set_exception(error),  # type: ignore[misc]
            )
            status, body = await future
            if status < 300:
                return body
            error = refusal(status, body)
            if status != 429:
                raise error
            await asyncio.sleep(error.retry_after or 0.1)

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self._needed:
            end = received.find(_HEAD_END)
            if end < 0:
                return
            self._needed = end + len(_HEAD_END) + _content_length(bytes(received[:end]).lower())
        if len(received) < self._needed:
            return
        whole = bytes(received)
        self._received, self._needed = bytearray(), 0
        on_reply, self._on_reply = self._on_reply, None
        if on_reply is not None:
            on_reply(int(whole[9:12]), whole[whole.index(_HEAD_END) + len(_HEAD_END) :])

    def connection_lost(self, exc: Exception | None) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None and self._on_reply is not None:
            self._on_reply = None
            on_lost(exc or Unavailable("the server closed the connection"))

    def close(self) -> None:
        """Close it; an answer that is under way is lost."""
        if self._transport is not None:
            self._transport.abort()


def _content_length(head: bytes) -> int:
    start = head.find(_LENGTH)
    if start < 0:
        return 0
    end = head.find(b"\r\n", start)
    return int(head[start + len(_LENGTH) : end if end >= 0 else None])


def refusal(status: int, body: bytes) -> RoostError:
    """The error that an answer tells of."""
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(body, type=ErrorBody).error.error()
    return Unavailable(f"the server answered {status}: {body[:200].decode(errors='replace')}")


class Pool:
    """Connections to one server, opened together."""

    def __init__(self, requests: Requests, count: int) -> None:
        self.connections: list[Connection] = []
        self._requests = requests
        self._count = count

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            _, connection = await loop.create_connection(Connection, self._requests.host, self._requests.port)
            self.connections.append(connection)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for connection in self.connections:
            connection.close()
