"""HTTP/1.1 connections that stay open, with an event loop and without: what differs between the two, and nothing else.

`AsyncConnections` and `Connections` have one method each, `exchange`: bytes of a request out, a `Response` back.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import socket
from typing import TYPE_CHECKING, Any, cast

from roost.errors import OutcomeUnknown, Unavailable
from roost.sdk.response import Response, ResponseReader, StreamReader

if TYPE_CHECKING:
    import asyncio
    import ssl

    from roost.sdk.address import Address
    from roost.sdk.transport import AsyncStream, Stream

_PIECE = 65_536
IDLE = 32
"""Connections that are kept open for the next call."""


class Refused(Exception):
    """A stream was asked for, and a whole response came: the reason why not."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)
        self.response = response


class Stale(Exception):
    """A connection that was kept open was closed by the other side before it answered."""


def _tls(address: Address) -> ssl.SSLContext | None:
    # Costs 20 ms to import, and hardly anybody on loopback needs it.
    return importlib.import_module("ssl").create_default_context() if address.tls else None


def _unreachable(address: Address, error: BaseException) -> Unavailable:
    why = "no answer in time" if isinstance(error, TimeoutError) else (getattr(error, "strerror", None) or str(error))
    return Unavailable(f"cannot reach {address.url}: {why}", help="is the server running, and is this its URL?")


def _silent(address: Address, seconds: float) -> Unavailable:
    return Unavailable(f"the stream from {address.url} was silent for {seconds:g} s", help="it is begun again")


def _cut(address: Address) -> Unavailable:
    return Unavailable(f"the stream from {address.url} was cut", help="it is begun again")


def _no_answer(address: Address, seconds: float) -> OutcomeUnknown:
    return OutcomeUnknown(f"{address.url} did not answer within {seconds:g} s", help="repeat the call")


def _broken(address: Address) -> OutcomeUnknown:
    return OutcomeUnknown(f"the connection to {address.url} broke before the answer", help="repeat the call")


class _AsyncConnection:
    """One connection on one event loop; an `asyncio.Protocol` by its methods."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.fresh = True
        self._transport: Any = None
        self._reader: ResponseReader | None = None
        self._answer: asyncio.Future[Response] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        reader, answer = self._reader, self._answer
        if reader is None or answer is None:
            self._transport.abort()  # an answer to nothing: the two sides no longer agree
            return
        response = reader.feed(data)
        if response is not None and not answer.done():
            answer.set_result(response)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        """One request at a time: whoever wrote it waits for the answer anyway."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._answer is not None and not self._answer.done():
            response = self._reader.end() if self._reader is not None else None
            if response is not None:
                self._answer.set_result(response)
            else:
                self._answer.set_exception(Stale())

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    async def exchange(self, data: bytes, seconds: float) -> Response:
        self._reader = ResponseReader()
        self._answer = self.loop.create_future()
        timer = self.loop.call_later(seconds, self._late)
        try:
            self._transport.write(data)
            return await self._answer
        finally:
            timer.cancel()
            self._answer = self._reader = None

    def _late(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(TimeoutError())

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class AsyncConnections:
    """Connections to one server; each is used on the event loop it was opened on, and dropped with it."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[_AsyncConnection] = []
        self._pid = os.getpid()

    async def exchange(self, data: bytes, seconds: float) -> Response:
        """Raises `Unavailable` where nobody answers, `OutcomeUnknown` where the answer to ``data`` got lost."""
        connection = self._take() or await self._connect(seconds)
        try:
            try:
                response = await connection.exchange(data, seconds)
            except Stale:
                if connection.fresh:
                    raise
                connection = await self._connect(seconds)
                response = await connection.exchange(data, seconds)
        except TimeoutError:
            connection.close()
            raise _no_answer(self._address, seconds) from None
        except Stale:
            raise _broken(self._address) from None
        except BaseException:
            connection.close()  # cancelled in the middle: the answer would be taken for the next call's
            raise
        connection.fresh = False
        if response.keep and len(self._idle) < IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def _take(self) -> _AsyncConnection | None:
        import asyncio

        if self._pid != os.getpid():
            self._idle, self._pid = [], os.getpid()
        loop = asyncio.get_running_loop()
        while self._idle:
            connection = self._idle.pop()
            if connection.loop is not loop:
                _let_go(connection)
            elif connection.open:
                return connection
        return None

    async def _connect(self, seconds: float) -> _AsyncConnection:
        import asyncio

        loop = asyncio.get_running_loop()
        connection = _AsyncConnection(loop)
        address = self._address
        try:
            async with asyncio.timeout(seconds):
                await loop.create_connection(
                    lambda: cast("asyncio.Protocol", connection),
                    address.host,
                    address.port,
                    ssl=_tls(address),
                )
        except (OSError, TimeoutError) as error:
            raise _unreachable(address, error) from None
        return connection

    async def stream(self, data: bytes, seconds: float, idle: float) -> AsyncStream[bytes]:
        """The body of the answer to ``data``, piece by piece, on a connection of its own.

        ``seconds`` bound the wait for its beginning, ``idle`` those between two pieces. Raises `Refused` for an answer
        that is no stream, `Unavailable` where the connection cannot be made, is silent or breaks.
        """
        import asyncio

        address = self._address
        try:
            async with asyncio.timeout(seconds):
                source, sink = await asyncio.open_connection(address.host, address.port, ssl=_tls(address))
        except (OSError, TimeoutError) as error:
            raise _unreachable(address, error) from None
        reader = StreamReader()
        try:
            sink.write(data)
            while True:
                limit = idle if reader.started else seconds
                async with asyncio.timeout(limit):
                    received = await source.read(_PIECE)
                body, ended = _read_piece(reader, received, address)
                if body:
                    yield body
                if ended:
                    return
        except TimeoutError:
            raise _silent(address, limit) from None
        except OSError:
            raise _cut(address) from None
        finally:
            sink.transport.abort()

    async def aclose(self) -> None:
        while self._idle:
            _let_go(self._idle.pop())


class Connections:
    """The same with blocking sockets; may be shared by threads."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[socket.socket] = []
        self._pid = os.getpid()

    def exchange(self, data: bytes, seconds: float) -> Response:
        """Raises `Unavailable` where nobody answers, `OutcomeUnknown` where the answer to ``data`` got lost."""
        connection = self._take()
        kept = connection is not None
        connection = connection or self._connect(seconds)
        try:
            try:
                response = _exchange(connection, data, seconds)
            except Stale:
                if not kept:
                    raise
                connection.close()
                connection = self._connect(seconds)
                response = _exchange(connection, data, seconds)
        except TimeoutError:
            connection.close()
            raise _no_answer(self._address, seconds) from None
        except Stale:
            connection.close()
            raise _broken(self._address) from None
        except BaseException:
            connection.close()
            raise
        if response.keep and len(self._idle) < IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        return response

    def stream(self, data: bytes, seconds: float, idle: float) -> Stream[bytes]:
        """The body of the answer to ``data``, piece by piece, on a connection of its own.

        ``seconds`` bound the wait for its beginning, ``idle`` those between two pieces. Raises `Refused` for an answer
        that is no stream, `Unavailable` where the connection cannot be made, is silent or breaks.
        """
        address = self._address
        connection = self._connect(seconds)
        reader = StreamReader()
        try:
            connection.sendall(data)
            while True:
                limit = idle if reader.started else seconds
                connection.settimeout(limit)
                body, ended = _read_piece(reader, connection.recv(_PIECE), address)
                if body:
                    yield body
                if ended:
                    return
        except TimeoutError:
            raise _silent(address, limit) from None
        except OSError:
            raise _cut(address) from None
        finally:
            connection.close()

    def _take(self) -> socket.socket | None:
        if self._pid != os.getpid():
            # After a fork the parent goes on speaking on these; the child only lets go of its copies.
            idle, self._idle, self._pid = self._idle, [], os.getpid()
            for connection in idle:
                connection.close()
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not _readable(connection):
                return connection
            connection.close()  # closed by the server, or it says something nobody asked for

    def _connect(self, seconds: float) -> socket.socket:
        address = self._address
        try:
            connection = socket.create_connection((address.host, address.port), seconds)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            context = _tls(address)
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname=address.host)
        except (OSError, TimeoutError) as error:
            raise _unreachable(address, error) from None
        return connection

    def close(self) -> None:
        while self._idle:
            with contextlib.suppress(IndexError):
                self._idle.pop().close()


def _read_piece(reader: StreamReader, received: bytes, address: Address) -> tuple[bytes, bool]:
    """What ``received`` brings of a stream's body, and whether that was its end; raises `Refused`, `Unavailable`."""
    response = reader.feed(received) if received else reader.end()
    if reader.accepted:
        if not received and response is None:
            raise _cut(address)
        return (response.body if response is not None else reader.take()), response is not None
    if response is not None:
        raise Refused(response)
    if not received:
        raise _cut(address)
    return b"", False


def _let_go(connection: _AsyncConnection) -> None:
    # A connection belongs to the loop it was opened on; with the loop it is gone already.
    if not connection.loop.is_closed():
        connection.loop.call_soon_threadsafe(connection.close)


def _exchange(connection: socket.socket, data: bytes, seconds: float) -> Response:
    reader = ResponseReader()
    connection.settimeout(seconds)
    try:
        connection.sendall(data)
        while True:
            received = connection.recv(262_144)
            response = reader.feed(received) if received else reader.end()
            if response is not None:
                return response
            if not received:
                raise Stale
    except TimeoutError:
        raise
    except OSError:
        raise Stale from None


def _readable(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
