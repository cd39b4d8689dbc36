"""A receiver of webhooks on loopback: keeps what it got, answers as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

Answer = str | None
"""A status line's end and headers, such as ``204 OK``; None: never answer."""


@dataclass(frozen=True)
class Message:
    """A request as it came."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        """The webhook-id."""
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        """What is told."""
        event: dict[str, Any] = msgspec.json.decode(self.body)
        return event


class Receiver:
    """``answer`` says what to answer to a message; by default it is accepted."""

    def __init__(self, answer: Callable[[Message], Answer] = lambda message: "204 OK") -> None:
        self.answer = answer
        self.messages: list[Message] = []
        self.url = ""
        self._news = asyncio.Condition()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
            message = Message(headers, await reader.readexactly(int(headers["content-length"])))
            async with self._news:
                self.messages.append(message)
                self._news.notify_all()
            answer = self.answer(message)
            if answer is None:
                await reader.read()
            else:
                writer.write(f"HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n".encode())
                await writer.drain()
        writer.close()

    async def until(self, enough: Callable[[list[Message]], bool], seconds: float = 30) -> None:
        """Wait until what came is ``enough``; raises `AssertionError`."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: enough(self.messages))
        except TimeoutError:
            raise AssertionError(f"{len(self.messages)} messages came, and that was not enough") from None

    @property
    def types(self) -> list[str]:
        """The types of the events that came."""
        return [message.event["type"] for message in self.messages]


@asynccontextmanager
async def receiving(answer: Callable[[Message], Answer] = lambda message: "204 OK") -> AsyncIterator[Receiver]:
    """A receiver, and its URL in it."""
    receiver = Receiver(answer)
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()
