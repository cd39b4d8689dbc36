"""Streams over HTTP: server-sent events, one long reply that goes on until the client leaves or the server ends."""

from __future__ import annotations

import asyncio
import re
from typing import Any, Protocol, TypeVar

from roost.errors import InvalidRequest, Overloaded
from roost.server.routes import Route
from roost.service.following import Stream
from roost.wire.codec import Wire
from roost.wire.contract import PREFIX, Operation
from roost.wire.streams import LAST_ID_HEADER, RETRY_MS, STREAMS, Message

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)

HEADERS = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    # a proxy that gathers the reply would keep every event until it has enough of them
    (b"x-accel-buffering", b"no"),
)
_LAST_ID = LAST_ID_HEADER.encode()


class Follower(Protocol):
    """What streams come from: `roost.service.runtime.Runtime`."""

    def follow(self, operation: Operation[Q, A], request: Q, last_id: str | None = None) -> Stream: ...


class Streams:
    """The API's streams by their paths; ``most`` may be open at a time."""

    def __init__(self, runtime: Follower, most: int) -> None:
        self._runtime = runtime
        self._most = most
        self._open = 0
        self._routes = [
            (re.compile(re.sub(r"{\w+}", "([^/]+)", PREFIX + operation.path).encode()), Route(operation))
            for operation in STREAMS
        ]

    @property
    def open(self) -> int:
        """How many are open."""
        return self._open

    def find(self, path: bytes) -> tuple[Route, tuple[bytes, ...]] | None:
        """The stream at ``path`` and the path's variable parts."""
        for pattern, route in self._routes:
            found = pattern.fullmatch(path)
            if found is not None:
                return route, found.groups()
        return None

    def begin(self, route: Route, parts: tuple[bytes, ...], query: bytes, headers: dict[bytes, bytes]) -> Stream:
        """The messages of a request's stream; raises `InvalidRequest`, `Overloaded` where too many are open."""
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            raise InvalidRequest("a stream takes no body", help="send the fields as query parameters")
        try:
            last_id = headers.get(_LAST_ID, b"").strip(b" \t").decode("ascii") or None
        except UnicodeDecodeError:
            raise InvalidRequest("Last-Event-ID is no id of this stream", path=LAST_ID_HEADER) from None
        request = route.from_query(query, parts)
        if self._open >= self._most:
            raise Overloaded(
                f"{self._most} streams are open already", help="try again later, or raise limits.streams", retry_after=5
            )
        return self._counted(self._runtime.follow(route.operation, request, last_id))

    async def _counted(self, stream: Stream) -> Stream:
        self._open += 1
        try:
            async for messages in stream:
                yield messages
        finally:
            self._open -= 1
            await stream.aclose()


async def send_stream(first: list[Message], stream: Stream, receive: Any, send: Any) -> None:
    """Write a stream that has begun with ``first`` until it ends or its reader leaves."""

    async def write() -> None:
        await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        frames = b"".join([message.frame() for message in first])
        await send({"type": "http.response.body", "body": b"retry: %d\n\n" % RETRY_MS + frames, "more_body": True})
        async for messages in stream:
            frames = b"".join([message.frame() for message in messages])
            await send({"type": "http.response.body", "body": frames, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    writing, leaving = asyncio.ensure_future(write()), asyncio.ensure_future(left())
    try:
        await asyncio.wait((writing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if writing.done():
            writing.result()
    finally:
        for task in (writing, leaving):
            task.cancel()
        await asyncio.wait((writing, leaving))
        await stream.aclose()
