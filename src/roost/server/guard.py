"""The guard in front of the application: what a client may send, how slowly, and how many of them there may be.

Uvicorn closes no slow client by itself. This protocol class does, and it refuses oversized or broken requests with the
same error body as every other refusal. A request that arrives whole in one read starts no timer and costs a few checks.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Any, ClassVar
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from roost.errors import HeadersTooLarge, InvalidRequest, RequestTimeout, RoostError, TooLarge, Unavailable
from roost.server.cycle import WholeReplyCycle
from roost.wire.codec import encode
from roost.wire.contract import PREFIX
from roost.wire.problems import ErrorBody, Problem

BULK_PATHS = frozenset(f"{PREFIX}/jobs/{call}".encode() for call in ("batch", "settle", "heartbeat"))


class Limits(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What one client may do; sizes in bytes, times in seconds."""

    header_seconds: float = 10.0
    """From a connection or a request's first byte to the end of its headers."""
    header_bytes: int = 32 * 1024
    """Of the request line and all headers."""
    headers: int = 100
    """How many."""
    body_bytes: int = 1024 * 1024
    """Of a body."""
    bulk_bytes: int = 8 * 1024 * 1024
    """Of the body of a call for many jobs, outcomes or heartbeats."""
    first_body_byte_seconds: float = 5.0
    """From the headers to the body's first byte."""
    body_grace_seconds: float = 5.0
    """How long a body may come at any speed."""
    body_bytes_per_second: int = 1024
    """The slowest a body may come once the grace is over, on average."""
    body_seconds: float = 60.0
    """From the headers to the body's end."""
    reply_stall_seconds: float = 20.0
    """How long a client may take nothing of a reply that waits for it."""
    idle_seconds: float = 75.0
    """How long a kept-alive connection may stay silent."""
    linger_seconds: float = 1.0
    """How long a refused client is heard out, so that it reads the refusal before the connection ends."""
    streams: int = 1024
    """Open streams of events and logs, of all clients together."""
    connections_per_address: int = 200
    """Open at a time."""
    connections_from_loopback: int = 4096
    """The same for this machine itself; higher, as all its workers share one address."""


class _Refuse(Exception):
    """Leaves a parser callback with the refusal; httptools keeps it as the context of its own error."""

    def __init__(self, error: RoostError, status: int) -> None:
        super().__init__(error)
        self.error = error
        self.status = status


def refusal(error: RoostError, status: int | None = None) -> bytes:
    """A whole HTTP/1.1 reply that tells of ``error`` and ends the connection."""
    body = encode(ErrorBody(error=Problem.of(error)))
    retry = b"" if error.retry_after is None else b"retry-after: %d\r\n" % max(1, round(error.retry_after))
    return (
        STATUS_LINE[status or error.status]
        + retry
        + b"content-type: application/json\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        + b"content-length: %d\r\n\r\n" % len(body)
        + body
    )


class GuardedProtocol(HttpToolsProtocol):
    """One connection under `Limits`; `guarded` makes the class with its limits."""

    limits: ClassVar[Limits]
    addresses: ClassVar[dict[str, int]]
    """Open connections by address."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._address = ""
        self._ended = False
        """Refused: what still comes is thrown away."""
        self._upgrading = False
        """The client asked for another protocol with its last request."""
        self._in_head = False
        self._in_body = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_limit = 0
        self._body_since = 0.0
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._unread = 0

    # --- connections ---

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        self._address, most = _account(address, self.limits)
        count = self.addresses.get(self._address, 0) + 1
        self.addresses[self._address] = count
        if count > most:
            self._refuse(Unavailable("too many connections from this address", help="reuse them", retry_after=1))
        else:
            self._read_timer = self.loop.call_later(self.limits.header_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading_timer()
        self._stop_writing_timer()
        count = self.addresses.get(self._address, 0) - 1
        if count > 0:
            self.addresses[self._address] = count
        else:
            self.addresses.pop(self._address, None)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def timeout_keep_alive_handler(self) -> None:
        # close() would wait for a client that reads no more
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    # --- reading ---

    def data_received(self, data: bytes) -> None:
        if self._ended or self.parser is None:
            return
        if self._upgrading:
            self._hand_on(data)
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if self._is_idle():
                self._refuse(_malformed(), 400)
                return
            # where it is not offered the request is answered as it stands; either way no other request can follow
            self._upgrading = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            cause = error.__context__
            if isinstance(cause, _Refuse):
                self._refuse(cause.error, cause.status)
            else:
                self._refuse(_malformed(), 400)
            return
        if self._in_body:
            if self._read_timer is None:
                self._body_since = self.loop.time()
                first = min(self.limits.first_body_byte_seconds, self.limits.body_grace_seconds)
                self._read_timer = self.loop.call_later(first, self._body_is_late)
        elif self._in_head or self._is_idle():
            if self._head_bytes > self.limits.header_bytes:
                self._refuse(_head_too_large(self.limits))
            elif self._read_timer is None:
                self._read_timer = self.loop.call_later(self.limits.header_seconds, self._head_is_late)

    def _hand_on(self, data: bytes) -> None:
        """Give the application what comes in the protocol it upgraded to; before that there is nothing to say."""
        cycle = self._current()
        if not isinstance(cycle, WholeReplyCycle) or not cycle.upgraded or cycle.response_complete:
            return
        if len(cycle.body) + len(data) > self.limits.header_bytes:
            self.transport.abort()
            return
        cycle.body += data
        cycle.message_event.set()

    def _is_idle(self) -> bool:
        current = self._current()
        return current is None or current.response_complete

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_reading_timer()
        limits, headers = self.limits, self.headers
        # the bytes count is of whole reads, with bodies in them: only a suspicion
        if len(headers) > limits.headers or (
            self._head_bytes > limits.header_bytes
            and len(self.url) + sum(len(name) + len(value) + 4 for name, value in headers) > limits.header_bytes
        ):
            raise _Refuse(_head_too_large(limits), 431)
        self._body_bytes = 0
        self._body_limit = limits.bulk_bytes if self.url in BULK_PATHS else limits.body_bytes
        length = 0
        for name, value in headers:
            if name == b"content-length":
                length = int(value)  # the parser took digits only
        if length > self._body_limit:
            raise _Refuse(_body_too_large(self._body_limit), 413)
        self._begin()
        self._in_body = True

    def _begin(self) -> None:
        """Hand the request to the application, as uvicorn does, but with `WholeReplyCycle`."""
        scope, version = self.scope, self.parser.get_http_version()
        scope["http_version"] = version
        scope["method"] = self.parser.get_method().decode("ascii")
        if self.url.startswith(b"/"):
            path, _, query = self.url.partition(b"?")
        else:
            parsed = httptools.parse_url(self.url)
            path, query = parsed.path, parsed.query or b""
        scope["raw_path"], scope["query_string"] = path, query
        scope["path"] = unquote(path.decode("ascii"))
        before = self._current()
        self.cycle = WholeReplyCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            # pipelined: it waits for its turn, and the client with it
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._body_limit:
            raise _Refuse(_body_too_large(self._body_limit), 413)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_body = False
        self._head_bytes = 0
        self._stop_reading_timer()
        super().on_message_complete()

    def _head_is_late(self) -> None:
        self._read_timer = None
        if self._head_bytes:
            self._refuse(RequestTimeout("the headers came too slowly", help="send the request without pauses"))
        else:
            self.transport.abort()  # never said a word

    def _body_is_late(self) -> None:
        limits, now = self.limits, self.loop.time()
        self._read_timer = None
        if self.flow.read_paused:
            # it is the server that does not read: an earlier request of this connection is still being answered
            self._body_since = now
        age = now - self._body_since
        least = limits.body_bytes_per_second * (age - limits.body_grace_seconds)
        silent = not self._body_bytes and age >= limits.first_body_byte_seconds
        if silent or age >= limits.body_seconds or (age >= limits.body_grace_seconds and self._body_bytes < least):
            self._refuse(RequestTimeout("the body came too slowly", help="send the body without pauses"))
        else:
            self._read_timer = self.loop.call_later(min(1.0, limits.body_grace_seconds), self._body_is_late)

    def _stop_reading_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    # --- writing ---

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.transport.get_write_buffer_size()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.limits.reply_stall_seconds, self._reply_is_stuck)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_writing_timer()

    def _reply_is_stuck(self) -> None:
        unread = self.transport.get_write_buffer_size()
        # a client that reads more slowly than bodies may come holds the reply's memory for too long
        if self._unread - unread < self.limits.body_bytes_per_second * self.limits.reply_stall_seconds:
            self._write_timer = None
            self.transport.abort()
        else:
            self._unread = unread
            self._write_timer = self.loop.call_later(self.limits.reply_stall_seconds, self._reply_is_stuck)

    def _stop_writing_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # --- refusing ---

    def _current(self) -> RequestResponseCycle | None:
        """The request that was read last, if any was."""
        return self.cycle

    def _refuse(self, error: RoostError, status: int | None = None) -> None:
        """Answer with ``error`` and end the connection; the application sees a client that left."""
        if self._ended:
            return
        self._ended = True
        self._stop_reading_timer()
        if self.transport.is_closing():
            return
        current, behind = self._current(), bool(self.pipeline)
        busy = current is not None and not current.response_complete
        if current is not None:
            current.disconnected = True
            current.message_event.set()
        self.pipeline.clear()
        if behind or (busy and (not self._in_body or (current is not None and current.response_started))):
            # an earlier request's reply is due or half sent; the client would take this one for it
            self.transport.abort()
            return
        if busy or not self._in_body:
            self.transport.write(refusal(error, status))
        # closing with unread input would reset the connection before the client reads why
        self.transport.write_eof()
        self.flow.resume_reading()
        self._read_timer = self.loop.call_later(self.limits.linger_seconds, self.transport.abort)

    def shutdown(self) -> None:
        if self._in_head and self._is_idle():
            self._refuse(Unavailable("the server is shutting down", help="try again soon", retry_after=1))
        else:
            super().shutdown()


def _malformed() -> RoostError:
    return InvalidRequest("the request is not well-formed HTTP/1.1", help="see RFC 9112 for its form")


def _head_too_large(limits: Limits) -> RoostError:
    return HeadersTooLarge(
        "the request line and headers are too large",
        help=f"at most {limits.header_bytes:,} bytes, {limits.headers} headers",
    )


def _body_too_large(limit: int) -> RoostError:
    return TooLarge("the body is too large", help=f"at most {limit:,} bytes; send less at once")


def _account(address: str, limits: Limits) -> tuple[str, int]:
    """What an address is counted as, and how many connections it may have; an IPv6 customer has a /64."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address, limits.connections_per_address
    if isinstance(parsed, ipaddress.IPv6Address):
        parsed = parsed.ipv4_mapped or parsed
    if parsed.is_loopback:
        return "loopback", limits.connections_from_loopback
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((parsed, 64), strict=False)), limits.connections_per_address
    return str(parsed), limits.connections_per_address


def guarded(limits: Limits) -> type[GuardedProtocol]:
    """A protocol class of its own count of connections, for ``uvicorn.Config(http=...)``."""
    return type("LimitedProtocol", (GuardedProtocol,), {"limits": limits, "addresses": {}})
