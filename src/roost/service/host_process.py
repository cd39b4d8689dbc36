"""Writing sides in child processes: the loop keeps the whole interpreter to itself."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from typing import overload

from roost.engine.batch import Applied, Batch
from roost.engine.calls import Acted, Call
from roost.engine.store import Store
from roost.errors import OutcomeUnknown, Unavailable
from roost.service import frames

log = logging.getLogger("roost.service.host")


class _Child:
    """One engine process and its socket; does one thing at a time."""

    def __init__(self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self.process = process
        self.reader = reader
        self.writer = writer

    @classmethod
    async def spawn(cls, spec: str) -> _Child:
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(  # noqa: S603 our own interpreter and module
                [sys.executable, "-m", "roost.service.engine_process", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.PIPE,
            )
        except OSError as error:
            ours.close()
            raise Unavailable(
                f"cannot start an engine process: {error}", help="look at the machine's limits"
            ) from error
        finally:
            theirs.close()
        # By standard input, not as an argument: it may carry a password, and arguments can be read by everybody.
        assert process.stdin is not None  # noqa: S101 asked for above
        process.stdin.write(spec.encode())
        process.stdin.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=frames.BUFFER)
        return cls(process, reader, writer)

    async def ask(self, work: Batch | Call) -> Applied | Acted:
        self.writer.write(frames.request(work))
        await self.writer.drain()
        head = await self.reader.readexactly(frames.HEAD.size)
        size, kind = frames.HEAD.unpack(head)
        return frames.answer(kind, await self.reader.readexactly(size))

    async def close(self) -> None:
        # The child finishes what it does, reads the end of the stream, and leaves.
        self.writer.close()
        await asyncio.to_thread(self.process.wait)


class ProcessHost:
    """One child process for each writing side of the store; a dead one is replaced when it is needed next."""

    def __init__(self, store: Store) -> None:
        self._spec = store.spec
        self._count = store.concurrency
        self._idle: asyncio.LifoQueue[_Child | None] = asyncio.LifoQueue()
        for _ in range(self._count):
            self._idle.put_nowait(None)
        self._closed = False

    async def start(self) -> None:
        """Start the first child, so that a store that cannot be opened is told at once."""
        child = await self._take()
        self._idle.put_nowait(child)

    @overload
    async def submit(self, work: Batch) -> Applied: ...
    @overload
    async def submit(self, work: Call) -> Acted: ...
    async def submit(self, work: Batch | Call) -> Applied | Acted:
        if self._closed:
            raise Unavailable("the store is closing", help="try again, or on another node")
        return await asyncio.shield(asyncio.ensure_future(self._carry(work)))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for _ in range(self._count):
            child = await self._idle.get()
            if child is not None:
                await child.close()

    async def _take(self) -> _Child:
        child = await self._idle.get()
        if child is not None and child.process.poll() is None:
            return child
        try:
            if child is not None:
                await child.close()
            return await _Child.spawn(self._spec)
        except BaseException:
            self._idle.put_nowait(None)
            raise

    async def _carry(self, work: Batch | Call) -> Applied | Acted:
        child: _Child | None = await self._take()
        try:
            assert child is not None  # noqa: S101 taken above
            return await child.ask(work)
        except (asyncio.IncompleteReadError, OSError) as error:
            log.error("an engine process died with code %s", child.process.poll() if child else None)
            if child is not None:
                await child.close()
            child = None
            raise OutcomeUnknown(
                "the engine's process died before it answered", help="repeat the call with the same operation id"
            ) from error
        finally:
            self._idle.put_nowait(child)
