"""One POST to a URL a user gave: to public addresses alone, never redirected, never for long, the answer not trusted.

The name is resolved once, every address is judged before any is connected to, and the connection goes to the address
that was judged, so that a name which changes its mind in between leads nowhere. Proxies of the environment are ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

import httptools
import msgspec

from roost.domain.targets import Allowed, IpAddress, Target, address_of, check_addresses, parse
from roost.errors import InvalidRequest

Resolve = Callable[[str, int], Awaitable[Sequence[IpAddress]]]
"""The addresses of a name; raises `OSError`."""

SECONDS = 10.0
"""For everything: name, connection, handshake, request and answer."""
CONNECT_SECONDS = 3.0
"""For one of several addresses."""
BODY_SECONDS = 1.0
"""For the body of an answer whose status is known: nobody needs it."""
HEAD_LIMIT = 32 * 1024
BODY_LIMIT = 64 * 1024
EXCERPT = 1024
_LOOKUPS = 64
"""Names that are looked up at a time; each takes a thread until its name servers answer."""


class Undelivered(Exception):
    """Nothing was answered that counts; the text says why."""


class Answer(msgspec.Struct, frozen=True):
    """What a receiver said; ``excerpt`` is the beginning of its body."""

    status: int
    retry_after: str | None
    excerpt: str


class Names:
    """The system's resolver, each name once at a time, in threads that nobody has to wait for."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, int], asyncio.Future[list[IpAddress]]] = {}

    async def __call__(self, host: str, port: int) -> list[IpAddress]:
        """All addresses of ``host``; raises `OSError`."""
        key = (host, port)
        future = self._asked.get(key)
        if future is None:
            if len(self._asked) >= _LOOKUPS:
                raise OSError("too many names are being looked up")
            loop = asyncio.get_running_loop()
            future = self._asked[key] = loop.create_future()
            future.add_done_callback(lambda done: self._forget(key, done))
            threading.Thread(target=_look_up, args=(host, port, loop, future), name="roost-names", daemon=True).start()
        return await asyncio.shield(future)

    def _forget(self, key: tuple[str, int], done: asyncio.Future[list[IpAddress]]) -> None:
        self._asked.pop(key, None)
        if not done.cancelled():
            done.exception()  # everybody who asked may be gone


def _look_up(host: str, port: int, loop: asyncio.AbstractEventLoop, future: asyncio.Future[list[IpAddress]]) -> None:
    found: list[IpAddress] = []
    failure: Exception | None = None
    try:
        for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            address = ip_address(str(place[0]).partition("%")[0])
            if address not in found:
                found.append(address)
    except (OSError, ValueError) as error:
        failure = error if isinstance(error, OSError) else OSError(str(error))

    def tell() -> None:
        if not future.done():
            if failure is not None:
                future.set_exception(failure)
            else:
                future.set_result(found)

    with contextlib.suppress(RuntimeError):  # the loop may be closed by now
        loop.call_soon_threadsafe(tell)


class Poster:
    """Sends bodies to URLs; a connection for each, so that none outlives what its address was judged by."""

    def __init__(
        self,
        allowed: Allowed,
        *,
        resolve: Resolve | None = None,
        seconds: float = SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``seconds`` is how long one POST may take; ``tls`` is the system's trust where None."""
        self._allowed = allowed
        self._resolve = resolve or Names()
        self._seconds = seconds
        self._tls = tls

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        """What was answered, whatever its status; raises `Undelivered`."""
        reading = _Reading()
        try:
            async with asyncio.timeout(self._seconds):
                target = parse(url, self._allowed)
                addresses = await self._addresses(target)
                check_addresses(target, addresses, self._allowed)
                connected = await self._connect(target, addresses)
                await self._exchange(connected, target, _request(target, headers, body), reading)
        except InvalidRequest as error:
            raise Undelivered(f"refused: {error.message}") from None
        except TimeoutError:
            if not reading.has_status:
                raise Undelivered(f"no answer within {self._seconds:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise Undelivered(f"the certificate is not trusted: {error.verify_message}") from None
        except ssl.SSLError as error:
            raise Undelivered(f"TLS failed: {error.reason or error}") from None
        except httptools.HttpParserError as error:
            raise Undelivered(f"the answer is not HTTP: {error}") from None
        except (ConnectionError, EOFError) as error:
            raise Undelivered(f"the connection was lost: {str(error) or type(error).__name__}") from None
        except OSError as error:
            raise Undelivered(f"no connection: {error.strerror or error}") from None
        return reading.answer()

    async def _addresses(self, target: Target) -> Sequence[IpAddress]:
        literal = address_of(target.host)
        if literal is not None:
            return [literal]
        found = await self._resolve(target.host, target.port)
        if not found:
            raise OSError(f"{target.host} has no address")
        return found

    async def _connect(self, target: Target, addresses: Sequence[IpAddress]) -> socket.socket:
        """A connection to the first address that takes one; raises `OSError`."""
        failure: OSError = OSError(f"{target.host} has no address")
        for address in addresses:
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            connected = socket.socket(family, socket.SOCK_STREAM)
            try:
                connected.setblocking(False)
                async with asyncio.timeout(CONNECT_SECONDS if len(addresses) > 1 else None):
                    await asyncio.get_running_loop().sock_connect(connected, (str(address), target.port))
                peer = ip_address(str(connected.getpeername()[0]).partition("%")[0])
                if peer != address:
                    raise OSError(f"connected to {peer} instead of {address}")
                return connected
            except TimeoutError:
                connected.close()
                failure = OSError(f"{address} does not answer")
            except OSError as error:
                connected.close()
                failure = error
            except BaseException:
                connected.close()
                raise
        raise failure

    async def _exchange(self, connected: socket.socket, target: Target, request: bytes, reading: _Reading) -> None:
        tls = None
        if target.scheme == "https":
            if self._tls is None:
                self._tls = await asyncio.to_thread(ssl.create_default_context)
            tls = self._tls
        name = target.host.rstrip(".") if tls is not None else None
        try:
            reader, writer = await asyncio.open_connection(sock=connected, ssl=tls, server_hostname=name)
        except BaseException:
            connected.close()
            raise
        try:
            writer.write(request)
            await writer.drain()
            await reading.head(reader)
            with contextlib.suppress(TimeoutError, OSError, httptools.HttpParserError):
                async with asyncio.timeout(BODY_SECONDS):
                    await reading.body(reader)
        finally:
            # Nothing more is said: a receiver that does not hang up must not be waited for.
            writer.transport.abort()


class _Reading:
    """An answer as its bytes come."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._received = 0
        self._body = bytearray()
        self._status = 0
        self._retry_after: str | None = None
        self._ended = False

    @property
    def has_status(self) -> bool:
        """Whether the final status is known."""
        return self._status >= 200

    async def head(self, reader: asyncio.StreamReader) -> None:
        """Read until the status is known; raises `EOFError`, `httptools.HttpParserError`."""
        while not self.has_status:
            data = await reader.read(4096)
            if not data:
                raise EOFError("hung up without an answer")
            self._received += len(data)
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError:
                if not self.has_status:
                    raise
            if self._received > HEAD_LIMIT and not self.has_status:
                raise EOFError("the answer's headers are too large")

    async def body(self, reader: asyncio.StreamReader) -> None:
        """Read the beginning of the body."""
        while not self._ended and len(self._body) < EXCERPT and self._received < BODY_LIMIT:
            data = await reader.read(4096)
            if not data:
                return
            self._received += len(data)
            self._parser.feed_data(data)

    def answer(self) -> Answer:
        """What was read."""
        text = self._body[:EXCERPT].decode(errors="replace")
        excerpt = "".join(
            each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text
        )
        while len(encoded := excerpt.encode()) > EXCERPT:
            excerpt = encoded[:EXCERPT].decode(errors="ignore")
        return Answer(self._status, self._retry_after, excerpt)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after":
            self._retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        if len(self._body) < EXCERPT:
            self._body += data[:EXCERPT]

    def on_message_complete(self) -> None:
        if self.has_status:
            self._ended = True
        else:
            self._retry_after = None


def _request(target: Target, headers: dict[str, str], body: bytes) -> bytes:
    lines = [f"POST {target.path} HTTP/1.1", f"host: {target.authority}", "user-agent: Roost", "accept: */*"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"content-length: {len(body)}", "connection: close", "", ""]
    return "\r\n".join(lines).encode("ascii") + body
