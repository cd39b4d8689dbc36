"""The ASGI application: the API's table over HTTP, with one error body on every path."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from roost.errors import InvalidRequest, MethodNotAllowed, Overloaded, RoostError, StoreError, UnsupportedMediaType
from roost.server import websocket
from roost.server.hosts import Hosts
from roost.server.pages import Page
from roost.server.routes import Route, Router, router
from roost.server.streaming import Streams, send_stream
from roost.service.core import CallInfo
from roost.service.following import Stream
from roost.service.ids import Ids
from roost.wire.codec import Wire, encode
from roost.wire.contract import OPERATION_HEADER, OPERATION_PATTERN, Operation
from roost.wire.problems import ErrorBody, Problem
from roost.wire.streams import Message

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]
Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)

log = logging.getLogger("roost.server")

_JSON = (b"application/json", b"application/json; charset=utf-8")
_API_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)
# a doubled one of these may mean one thing to a proxy and another to this server
_SINGLE = (b"host", b"origin", b"content-type", b"content-encoding", b"content-length", OPERATION_HEADER.encode())
_OPERATION_HEADER = OPERATION_HEADER.encode()
_is_operation_id = re.compile(OPERATION_PATTERN.encode().replace(b"$", rb"\Z")).match
_NO_CALL = CallInfo()
_REFUSAL_SECONDS = 0.25
"""Who is refused for overload is told so only then: clients that ask again at once must not starve the others."""


class Handler(Protocol):
    """What carries out calls: `roost.service.runtime.Runtime`."""

    def check_room(self, operation: Operation[Q, A]) -> None: ...

    async def handle(self, operation: Operation[Q, A], request: Q, call: CallInfo = ...) -> A: ...


class _Gone(Exception):
    """The client left; there is nobody to answer."""


class App:
    """ASGI in, `Handler.handle` out; ``pages`` are served beside the API at exact paths."""

    def __init__(
        self, runtime: Handler, *, hosts: Hosts, ids: Ids, pages: dict[bytes, Page], streams: Streams | None = None
    ) -> None:
        self._runtime = runtime
        self._streams = streams
        self._hosts = hosts
        self._ids = ids
        self._pages = pages
        self._router = router()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["type"] != "http":
                raise InvalidRequest("only HTTP is spoken here")
            headers = self._headers(scope)
            page = self._pages.get(scope["raw_path"])
            stream = self._stream(scope, headers) if page is None else None
            if stream is not None:
                try:
                    accepted = websocket.handshake(headers) if websocket.wanted(headers) else None
                    # What refuses it, refuses its first piece: until then nothing is sent.
                    first: list[Message] = await anext(stream, [])
                except BaseException:
                    await stream.aclose()
                    raise
                if accepted is None:
                    await send_stream(first, stream, receive, send)
                else:
                    await websocket.send_websocket(accepted, first, stream, receive, send)
                return
            if page is None and scope["method"] != "OPTIONS":
                status, body = await self._call(scope, headers, receive)
                reply_headers: Iterable[Header] = _API_HEADERS
            else:
                status, body, reply_headers = self._page(scope, page)
        except RoostError as error:
            if error.status == 500 or type(error) is StoreError:
                # in the words of a driver, with statements and places: for the log
                status, body, reply_headers = self._failed(scope, error)
            else:
                status, body, reply_headers = _refused(error, scope, self._router)
        except _Gone:
            return
        except Exception:
            status, body, reply_headers = self._failed(scope, RoostError(""))
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*reply_headers, (b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body})

    def _headers(self, scope: Scope) -> dict[bytes, bytes]:
        """The request's headers, with Host, Origin and the single ones checked."""
        pairs = scope["headers"]
        headers: dict[bytes, bytes] = dict(pairs)
        if len(headers) != len(pairs):
            names = [name for name, _ in pairs]
            for name in _SINGLE:
                if names.count(name) > 1:
                    raise InvalidRequest(f"the header {name.decode()} is given twice", help="send it once")
        self._hosts.check(headers.get(b"host"), headers.get(b"origin"), scope["http_version"])
        return headers

    async def _call(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> tuple[int, bytes]:
        method = scope["method"]
        route, parts = self._router.find("GET" if method == "HEAD" else method, scope["raw_path"])
        if route.is_foreign:
            body = await _read_body(receive)
            request = route.from_sender(scope["query_string"], parts, scope["headers"], body)
        elif route.has_body:
            if scope["query_string"]:
                raise InvalidRequest("this call takes no query parameters", help="send the fields in the body")
            body = await _read_body(receive)
            try:
                self._runtime.check_room(route.operation)
            except Overloaded:
                del body
                await asyncio.sleep(_REFUSAL_SECONDS)
                raise
            if body:
                _check_media(headers)
            elif headers.get(b"content-type", _JSON[0]) not in _JSON:
                raise UnsupportedMediaType("the body must be JSON", help="send content-type: application/json")
            request = route.from_body(body, parts)
        else:
            if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
                raise InvalidRequest(f"{method} takes no body", help="send the fields as query parameters")
            request = route.from_query(scope["query_string"], parts)
        operation = route.operation
        identity = headers.get(_OPERATION_HEADER)
        call = _NO_CALL if identity is None else _call_info(identity, operation)
        if route.waits:
            reply = await self._handle_while_wanted(route, request, call, receive)
        else:
            reply = await self._runtime.handle(operation, request, call)
        return operation.status, encode(reply)

    async def _handle_while_wanted(self, route: Route, request: Wire, call: CallInfo, receive: Receive) -> Wire:
        """As ``handle``, given up when the client leaves: jobs must not be leased to nobody."""
        if getattr(request, "wait", "0s") == "0s":
            return await self._runtime.handle(route.operation, request, call)
        if not route.has_body:
            await _read_body(receive)
        work = asyncio.ensure_future(self._runtime.handle(route.operation, request, call))
        leaving = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((work, leaving), return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            raise _Gone
        finally:
            leaving.cancel()
            if not work.done():
                work.cancel()
                await asyncio.wait((work,))

    def _stream(self, scope: Scope, headers: dict[bytes, bytes]) -> Stream | None:
        """The stream a request asks for; None where it asks for something else."""
        if self._streams is None or (found := self._streams.find(scope["raw_path"])) is None:
            return None
        if scope["method"] == "OPTIONS":
            return None
        if scope["method"] != "GET":
            raise _method_error(["GET"])
        route, parts = found
        return self._streams.begin(route, parts, scope["query_string"], headers)

    def _page(self, scope: Scope, page: Page | None) -> tuple[int, bytes, Iterable[Header]]:
        allowed = self._router.methods(scope["raw_path"]) if page is None else ["GET", "HEAD"]
        if scope["method"] == "OPTIONS":
            # no CORS: a page of another origin learns nothing here that lets it call
            return 200, b"", ((b"allow", ", ".join([*allowed, "OPTIONS"]).encode()),)
        if page is None or scope["method"] not in allowed:
            raise _method_error(allowed)
        return page.status, page.body, page.headers

    def _failed(self, scope: Scope, error: RoostError) -> tuple[int, bytes, Iterable[Header]]:
        """An answer to a fault of the server's own: an id to look for in the log, and nothing else."""
        identity = self._ids.operation()[:12]
        log.exception("%s %s failed, error id %s", scope.get("method"), scope.get("path"), identity)
        told = RoostError(f"the server failed, error id {identity}", help="the server's log tells more by this id")
        if isinstance(error, StoreError):
            told = StoreError(f"the store failed, error id {identity}", help="the server's log tells more by this id")
        return _refused(told, scope, self._router)


async def _read_body(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] != "http.request":
        raise _Gone
    body: bytes = message["body"]
    if not message["more_body"]:
        return body
    parts = [body]
    while message["more_body"]:
        message = await receive()
        if message["type"] != "http.request":
            raise _Gone
        parts.append(message["body"])
    return b"".join(parts)


def _check_media(headers: dict[bytes, bytes]) -> None:
    kind = headers.get(b"content-type", b"")
    if kind not in _JSON:
        media, _, parameters = kind.lower().partition(b";")
        charset = parameters.replace(b" ", b"").replace(b'"', b"")
        if media.strip() != b"application/json" or charset not in (b"", b"charset=utf-8"):
            raise UnsupportedMediaType("the body must be JSON in UTF-8", help="send content-type: application/json")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("compressed bodies are refused", help="send the body as it is")


def _call_info(identity: bytes, operation: Operation[Wire, Wire]) -> CallInfo:
    if not _is_operation_id(identity):
        raise InvalidRequest(
            "the Operation-Id header is not an operation id", help="1 to 64 characters of A-Z a-z 0-9 . _ : -"
        )
    return CallInfo(identity.decode()) if operation.mutates else _NO_CALL


def _method_error(allowed: list[str]) -> RoostError:
    return MethodNotAllowed(f"the path takes {', '.join(allowed)}", help="see /docs for the paths of the API")


def _refused(error: RoostError, scope: Scope, router: Router) -> tuple[int, bytes, Iterable[Header]]:
    body = encode(ErrorBody(error=Problem.of(error)))
    headers: list[Header] = list(_API_HEADERS)
    status = error.status
    if error.retry_after is not None or status in (429, 503):
        headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after or 1))))
    if status == 405:
        headers.append((b"allow", ", ".join(router.methods(scope["raw_path"]) or ["GET", "HEAD"]).encode()))
    return status, body, headers
