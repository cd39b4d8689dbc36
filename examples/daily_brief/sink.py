"""A small SMTP server on loopback that keeps every mail it is given: in an mbox file, and in `received`.

It speaks the part of RFC 5321 a mail client needs (EHLO, HELO, MAIL, RCPT, DATA, RSET, NOOP, VRFY, QUIT) and delivers
nothing to anybody, so that the example can be run where no mail server is.
"""

from __future__ import annotations

import asyncio
import contextlib
import mailbox
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import Message as Parsed
from pathlib import Path

MOST_BYTES = 10_000_000
LONGEST_LINE = 4096
IDLE_SECONDS = 60.0
_PATH = re.compile(r"<([^<>\s]*)>")


@dataclass(frozen=True, slots=True)
class Received:
    """One accepted mail: its envelope and its bytes, lines ended by ``\\n``."""

    sender: str
    recipients: list[str]
    data: bytes

    def parsed(self) -> Parsed:
        return message_from_bytes(self.data)


class SmtpSink:
    """``async with SmtpSink(path) as sink``: listens on ``sink.port`` of 127.0.0.1 and stores what it accepts."""

    def __init__(self, outbox: Path, notify: Callable[[Received], None] | None = None) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.received: list[Received] = []
        self._outbox = outbox
        self._notify = notify
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> SmtpSink:
        self._server = await asyncio.start_server(self._accept, self.host, 0, limit=LONGEST_LINE)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.create_task(self._serve(reader, writer))
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            await _Session(reader, writer, self._keep).run()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    def _keep(self, mail: Received) -> None:
        # Stored before it is acknowledged, as any mail server must: after 250 the mail is ours.
        box = mailbox.mbox(self._outbox)
        box.lock()
        try:
            stored = mailbox.mboxMessage(mail.data)
            stored.set_from(mail.sender or "MAILER-DAEMON", True)
            box.add(stored)
            box.flush()
        finally:
            box.unlock()
            box.close()
        self.received.append(mail)
        if self._notify is not None:
            self._notify(mail)


class _Session:
    """One client's conversation; a reply per command, out of order commands refused with 503."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keep: Callable[[Received], None]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._keep = keep
        self._greeted = False
        self._sender: str | None = None
        self._recipients: list[str] = []

    async def run(self) -> None:
        await self._reply("220 localhost daily brief sink")
        while (line := await self._line()) != b"":
            if line is None:
                await self._reply("500 line too long")
                continue
            verb, _, argument = line.decode("utf-8", errors="replace").strip().partition(" ")
            if verb.upper() == "QUIT":
                await self._reply("221 bye")
                return
            if verb.upper() == "DATA":
                await self._data()
            else:
                await self._reply(self._answer(verb.upper(), argument.strip()))

    def _answer(self, verb: str, argument: str) -> str:
        match verb:
            case "EHLO":
                self._greet()
                return f"250-localhost\r\n250-SIZE {MOST_BYTES}\r\n250-SMTPUTF8\r\n250 8BITMIME"
            case "HELO":
                self._greet()
                return "250 localhost"
            case "MAIL":
                return self._mail(argument)
            case "RCPT":
                return self._rcpt(argument)
            case "RSET":
                self._reset()
                return "250 forgotten"
            case "NOOP":
                return "250 still here"
            case "VRFY":
                return "252 send it and see"
            case _:
                return "502 no such command here"

    def _greet(self) -> None:
        self._greeted = True
        self._reset()

    def _mail(self, argument: str) -> str:
        if not self._greeted or self._sender is not None:
            return "503 say EHLO first, and one MAIL at a time"
        path = _PATH.search(argument)
        if path is None or not argument.upper().startswith("FROM:"):
            return "501 write MAIL FROM:<address>"
        size = re.search(r"\bSIZE=(\d{1,18})\b", argument, re.IGNORECASE)
        if size and int(size.group(1)) > MOST_BYTES:
            return "552 too big"
        self._sender = path.group(1)
        return "250 sender noted"

    def _rcpt(self, argument: str) -> str:
        if self._sender is None:
            return "503 MAIL comes first"
        path = _PATH.search(argument)
        if path is None or not path.group(1) or not argument.upper().startswith("TO:"):
            return "501 write RCPT TO:<address>"
        self._recipients.append(path.group(1))
        return "250 recipient noted"

    async def _data(self) -> None:
        if self._sender is None or not self._recipients:
            await self._reply("503 MAIL and RCPT come first")
            return
        await self._reply("354 end with a dot alone on a line")
        lines: list[bytes] = []
        size = 0
        fits = True
        while (line := await self._line()) != b".\r\n":
            if line == b"":
                return  # the client went away before the dot: nothing was accepted
            size += len(line or b"")
            fits = fits and line is not None and size <= MOST_BYTES
            if fits and line is not None:
                lines.append(line.removeprefix(b".").replace(b"\r\n", b"\n"))
        sender, recipients = self._sender, self._recipients
        self._reset()
        if not fits:
            await self._reply("552 too big, or a line too long")
            return
        self._keep(Received(sender, recipients, b"".join(lines)))
        await self._reply("250 kept")

    def _reset(self) -> None:
        self._sender = None
        self._recipients = []

    async def _line(self) -> bytes | None:
        """The next line with its end; ``b""`` at the end of the connection, None for one that was too long."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                return await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return b""
        except asyncio.LimitOverrunError as error:
            await self._skip_line(error.consumed)
            return None

    async def _skip_line(self, consumed: int) -> None:
        while True:
            await self._reader.readexactly(max(1, consumed))
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await self._reader.readuntil(b"\n")
                return
            except asyncio.LimitOverrunError as error:
                consumed = error.consumed

    async def _reply(self, text: str) -> None:
        self._writer.write(text.encode() + b"\r\n")
        await self._writer.drain()


@contextlib.contextmanager
def running_sink(outbox: Path, notify: Callable[[Received], None] | None = None) -> Iterator[SmtpSink]:
    """A sink in a thread of its own, for code that is not on an event loop; stopped when the block ends."""
    started: threading.Event = threading.Event()
    sink = SmtpSink(outbox, notify)
    failure: list[BaseException] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with sink:
            started.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:
            failure.append(error)
        finally:
            started.set()
            loop.close()

    thread = threading.Thread(target=run, name="smtp-sink", daemon=True)
    thread.start()
    started.wait()
    if failure:
        raise failure[0]
    try:
        yield sink
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
