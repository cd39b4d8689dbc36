"""The API over HTTP: paths, query strings and bodies from the contract, errors back into their classes."""

from __future__ import annotations

import re
from typing import TypeVar
from urllib.parse import quote, urlencode

import msgspec

from roost.domain.duration import parse_duration
from roost.errors import ConfigurationError, InvalidRequest, RoostError, Unavailable
from roost.sdk.address import Address
from roost.sdk.response import Response
from roost.sdk.senders import header_lines
from roost.sdk.streams import AsyncConnections, Refused
from roost.sdk.transport import AsyncStream
from roost.wire.codec import Wire
from roost.wire.contract import OPERATION_HEADER, OPERATION_PATTERN, PREFIX, Operation
from roost.wire.lenient import decode_reply
from roost.wire.problems import ErrorBody
from roost.wire.requests import unwritable, write
from roost.wire.streams import LAST_ID_HEADER, FrameReader, Message
from roost.wire.webhooks import ReceiveWebhook

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)

SILENCE_SECONDS = 45.0
"""A server says something every 15 s: one that is silent for so long is gone."""
_operation_id = re.compile(OPERATION_PATTERN)


class AsyncHttpTransport:
    """Calls to one server over connections that stay open; `AsyncTransport`."""

    repeatable = True

    def __init__(self, url: str, *, timeout: float = 30.0) -> None:
        """``timeout`` is how many seconds an answer may take, beside what the call itself asks the server to wait.

        Raises `ConfigurationError` for a URL that is no server's.
        """
        self.address = Address.of(url)
        self.timeout = timeout
        self._connections = AsyncConnections(self.address)

    async def send(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A:
        """One call; raises what the server refused it with, `Unavailable` or `OutcomeUnknown`."""
        seconds = self.timeout
        wait: str | None = getattr(request, "wait", None)
        if wait is not None:
            seconds += parse_duration(wait, path="wait") / 1000
        try:
            data = self._bytes(operation, request, operation_id)
        except UnicodeEncodeError:
            raise unwritable(request) from None
        response = await self._connections.exchange(data, seconds)
        if response.status >= 300:
            raise _error(response, self.address.url)
        try:
            return decode_reply(response.body, operation.reply)
        except RoostError as error:
            raise _foreign(
                self.address.url, f"the answer to {operation.name} cannot be read: {error.message}"
            ) from None

    async def stream(self, operation: Operation[Q, A], request: Q, last_id: str) -> AsyncStream[list[Message]]:
        """The messages of a stream behind ``last_id`` (empty: as the request says), until it ends or is cut.

        Raises what the server refused it with, and `Unavailable` where the connection cannot be made, is silent or
        breaks.
        """
        data = self._bytes(operation, request, None)
        if last_id:
            data = data[:-2] + f"{LAST_ID_HEADER}: {last_id}\r\n\r\n".encode()
        frames = FrameReader()
        try:
            async for piece in self._connections.stream(data, self.timeout, SILENCE_SECONDS):
                messages = frames.feed(piece)
                if messages:
                    yield messages
        except Refused as refused:
            raise _error(refused.response, self.address.url) from None

    async def aclose(self) -> None:
        """Close the connections that wait for the next call."""
        await self._connections.aclose()

    def _bytes(self, operation: Operation[Q, A], request: Q, operation_id: str | None) -> bytes:
        head = [f"{operation.method} {self.address.base}{PREFIX}"]
        path, fields = operation.path, operation.path_fields
        if fields:
            values = {field: getattr(request, field) for field in fields}
            for field, value in values.items():
                path = path.replace(f"{{{field}}}", quote(str(value), safe=""))
            # Said once: 0 or an empty name is the default of what the path carries, and defaults are left out.
            request = msgspec.structs.replace(request, **{field: type(value)() for field, value in values.items()})
        body = b""
        if operation.method in ("GET", "DELETE"):
            query = _query(request)
            head.append(f"{path}?{query}" if query else path)
        elif isinstance(request, ReceiveWebhook):
            body = request.body
            head.append(path if request.source is None else f"{path}?source={quote(request.source, safe='')}")
        else:
            body = write(request)
            head.append(path)
        head.append(f" HTTP/1.1\r\nhost: {self.address.authority}\r\naccept: application/json\r\n")
        if isinstance(request, ReceiveWebhook):
            head += [*header_lines(request), f"content-length: {len(body)}\r\n"]
        elif operation.method in ("POST", "PUT"):
            head.append(f"content-type: application/json\r\ncontent-length: {len(body)}\r\n")
        if operation_id is not None:
            if _operation_id.fullmatch(operation_id) is None:
                raise InvalidRequest(
                    f"{operation_id[:40]!r} is no operation id",
                    path=OPERATION_HEADER,
                    help="1 to 64 of A-Z a-z 0-9 . _ : -",
                )
            head.append(f"{OPERATION_HEADER}: {operation_id}\r\n")
        head.append("\r\n")
        return "".join(head).encode() + body


def _query(request: Wire) -> str:
    values: dict[str, object] = msgspec.to_builtins(request)
    return urlencode(
        [
            (name, str(one).lower() if isinstance(one, bool) else str(one))
            for name, value in values.items()
            for one in (value if isinstance(value, list) else [value])
        ]
    )


def _error(response: Response, url: str) -> RoostError:
    try:
        problem = decode_reply(response.body, ErrorBody).error
    except RoostError:
        return _foreign(url, f"{url} answered {response.status} without a Roost error", response.status)
    if problem.retry_after is None and response.headers.get("retry-after", "").isdecimal():
        problem.retry_after = float(response.headers["retry-after"])
    return problem.error()


def _foreign(url: str, message: str, status: int = 0) -> RoostError:
    # A proxy speaks while the server behind it cannot: that passes.
    if status in (429, 502, 503, 504):
        return Unavailable(message, help="a proxy in between says so; is the server behind it running?")
    return ConfigurationError(message, path="url", help=f"is {url} a Roost server of this version?")
