"""HTTP over a bare socket, so that a test can send what no client library would."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable
from dataclasses import dataclass

import msgspec

from roost.wire.problems import ErrorBody, Problem


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> Problem:
        """The refusal; fails where the body is none, or leaves a field empty that people need."""
        found = msgspec.json.decode(self.body, type=ErrorBody).error
        assert found.code
        assert found.message
        assert self.headers["content-type"] == "application/json"
        return found

    def json(self) -> object:
        return msgspec.json.decode(self.body)


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send what fits; a server that hung up in the meantime is no failure here: its answer is the point."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    async def head(self) -> str:
        """The status line and headers of the next reply."""
        return (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n")

    async def reply(self) -> Reply:
        """The next reply."""
        first, *lines = (await self.head()).split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Reply(int(first.split(" ")[1]), headers, body)

    async def ended(self) -> bytes:
        """What still comes until the server hangs up."""
        found = b""
        with contextlib.suppress(ConnectionError):
            while part := await self._reader.read(65536):
                found += part
        return found

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


async def connect(port: int, receive_buffer: int | None = None) -> Wire:
    """A connection to a server of this machine; a small ``receive_buffer`` makes a slow reader."""
    found = socket.socket()
    if receive_buffer is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    found.setblocking(False)
    await asyncio.get_running_loop().sock_connect(found, ("127.0.0.1", port))
    return Wire(*await asyncio.open_connection(sock=found, limit=2**24 if receive_buffer is None else 1024))


def request(method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
    """A well-formed request."""
    lines = {"host": "127.0.0.1", **({"content-type": "application/json"} if body else {}), **(headers or {})}
    if body or method in ("POST", "PUT"):
        lines.setdefault("content-length", str(len(body)))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def exchange(port: int, data: bytes) -> Reply:
    """One request and its reply on a connection of its own."""
    wire = await connect(port)
    try:
        await wire.send(data)
        return await wire.reply()
    finally:
        await wire.close()


async def call(port: int, method: str, path: str, body: object = None, **headers: str) -> Reply:
    """A well-formed call of the API; ``body`` as JSON."""
    data = b"" if body is None else msgspec.json.encode(body)
    return await exchange(port, request(method, path, data, {k.replace("_", "-"): v for k, v in headers.items()}))


async def timed(work: Awaitable[object]) -> float:
    """How many seconds ``work`` took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    await work
    return loop.time() - started
