"""Isolated handlers: each runs in a process that can be killed, and whose death hurts nobody else.

Processes are reused, one job at a time. Their leases are renewed from here: nothing that a handler does in its process
can stop a heartbeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from roost.errors import ConfigurationError, RoostError
from roost.sdk.attempt import Attempt
from roost.sdk.endings import failed
from roost.sdk.executors.frames import (
    LENGTH_SIZE,
    Answer,
    Ask,
    CancelRequested,
    Ended,
    Goodbye,
    Hello,
    Run,
    Started,
    ToChild,
    ToParent,
    length,
    pack,
    to_parent,
)
from roost.sdk.executors.output import Output
from roost.sdk.executors.spawned import Spawned, can_measure
from roost.sdk.executors.warden import Warden
from roost.sdk.ports import Port, Tell
from roost.sdk.registry import Handler
from roost.sdk.signals import Stopped
from roost.wire.attempts import NewLogLine, Outcome
from roost.wire.problems import Problem

logger = logging.getLogger("roost.worker")

TERMINATE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL."""
MEASURE_SECONDS = 0.05
"""Between two looks at the memory of a handler that has a limit; others are looked at every `WATCH_SECONDS`."""
WATCH_SECONDS = 0.5
START_SECONDS = 60.0
"""For a process to start and to import its handler's module."""

TellAttempt = Callable[[Attempt, Tell], None]


class ProcessExecutor:
    """A pool of processes as large as there are isolated handlers at a time."""

    def __init__(self, port: Callable[[Attempt], Port], tell: TellAttempt) -> None:
        self._port = port
        self._tell = tell
        self._idle: list[_Process] = []
        self._warden = Warden()

    @staticmethod
    def check(handler: Handler[Any]) -> None:
        """Raises `ConfigurationError` for a handler that another process could not import, or not be bounded in."""
        if handler.memory is not None and not can_measure():
            raise ConfigurationError(
                f"{handler.kind} has a memory limit, and this system does not tell what a process uses",
                path="memory",
                help="run it on Linux, or leave memory= out",
            )
        if "<locals>" in handler.qualname or "<lambda>" in handler.qualname:
            raise ConfigurationError(
                f"{handler.kind} cannot run in a process: {handler.qualname} is not at the top of a module",
                help="move the function to module level, or leave isolate='process' out",
            )

    async def run(self, attempt: Attempt, handler: Handler[Any], started: Callable[[], None]) -> Outcome:
        """The handler's outcome, its process's death included; cancelled, the process is terminated, then killed."""
        process = await self._take(handler.memory)
        reusable = False
        try:
            outcome = await process.run(attempt, handler, started, self._port(attempt), self._tell)
            reusable = process.alive
            return outcome
        finally:
            if reusable:
                self._idle.append(process)
            else:
                # Not interrupted by a second cancel: nobody else knows of this process any more.
                await asyncio.shield(process.stop(strays=True))

    async def _take(self, limit: int | None) -> _Process:
        """An idle process or a new one; what earlier jobs left in its memory is not held against a job's limit."""
        if not self._idle:
            return await _Process.start(self._warden)
        process = self._idle.pop()
        if limit is not None and process.used > limit // 2:
            await process.leave()
            return await _Process.start(self._warden)
        return process

    async def close(self) -> None:
        """End all processes."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(process.leave() for process in idle))
        self._warden.close()


class _Process:
    """One child, seen from the worker."""

    def __init__(
        self,
        process: Spawned,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        output: Output,
        warden: Warden,
    ) -> None:
        self._process = process
        self._warden = warden
        self._reader = reader
        self._writer = writer
        self._output = output
        self._asking: set[asyncio.Task[None]] = set()
        self._over: int | None = None
        """The bytes it used when it was killed for that."""

    @classmethod
    async def start(cls, warden: Warden) -> _Process:
        """A new process, that waits for its first job."""
        ours, theirs = socket.socketpair()
        output = Output()
        try:
            # "-u": what is printed is a log line at once, also where the handler is killed a moment later.
            module = ["-u", "-m", "roost.sdk.executors.child"]
            command = [sys.executable, *module, str(theirs.fileno()), str(os.getpid())]
            process = Spawned(command, output=output.descriptor, keep=[theirs.fileno()])
            warden.watch(process.pid)
        except BaseException:
            ours.close()
            output.close()
            raise
        finally:
            theirs.close()
            output.opened()
        reader, writer = await asyncio.open_connection(sock=ours)
        started = cls(process, reader, writer, output, warden)
        started._send(Hello([entry or os.getcwd() for entry in sys.path]))
        return started

    @property
    def used(self) -> int:
        """Bytes of memory in use now."""
        return self._process.measure()

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def run(
        self, attempt: Attempt, handler: Handler[Any], started: Callable[[], None], port: Port, tell: TellAttempt
    ) -> Outcome:
        """One job, from its frame to its end."""

        def line(text: str) -> None:
            tell(attempt, Tell(log=NewLogLine(message=text)))

        self._output.follow(line)
        self._over = None
        helpers = [
            asyncio.create_task(self._pass_cancel(attempt)),
            asyncio.create_task(self._watch_memory(handler.memory)),
        ]
        try:
            self._send(Run(attempt.lease, handler.module, handler.qualname))
            async with asyncio.timeout(START_SECONDS) as starting:
                while True:
                    frame = await self._receive()
                    match frame:
                        case Started():
                            starting.reschedule(None)
                            started()
                        case Ask():
                            task = asyncio.create_task(self._answer(frame, port))
                            self._asking.add(task)
                            task.add_done_callback(self._asking.discard)
                        case Tell():
                            tell(attempt, frame)
                        case Ended():
                            frame.outcome.token = attempt.token
                            return frame.outcome
        except TimeoutError:
            return failed(attempt.id, attempt.token, "ProcessStart", f"no start within {START_SECONDS:g} s")
        except (EOFError, OSError):
            return await self._died(attempt, handler.memory)
        except (msgspec.MsgspecError, ValueError) as error:
            # What comes out of a process whose memory is damaged is not to be trusted.
            return failed(attempt.id, attempt.token, "ProcessBroken", f"the process sent what is no frame: {error}")
        finally:
            for task in (*helpers, *self._asking):
                task.cancel()
            self._output.leave()

    async def leave(self) -> None:
        """Let it close what is open, and end; then as `stop`."""
        with contextlib.suppress(OSError, TimeoutError):
            self._send(Goodbye())
            async with asyncio.timeout(TERMINATE_SECONDS):
                await self._process.wait()
        await self.stop()

    async def stop(self, *, strays: bool = False) -> None:
        """Terminate it, kill it if it does not end in time, and collect it; ``strays``: with all that it ever started.

        A handler that ended well may have meant to leave something running in a session of its own.
        """
        self._process.signal(signal.SIGTERM, strays=strays)
        try:
            async with asyncio.timeout(TERMINATE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            logger.warning("process %d ignores SIGTERM and is killed", self._process.pid)
        # Also what the handler started and left behind.
        self._process.signal(signal.SIGKILL, strays=strays)
        await self._process.wait()
        self._warden.forget(self._process.pid)
        self._writer.close()
        self._output.close()

    async def _watch_memory(self, limit: int | None) -> None:
        """Kill it over its limit; without one, keep an eye on what it uses, to tell if it dies."""
        while True:
            used = self._process.measure()
            if limit is not None and used > limit:
                self._over = used
                self._process.signal(signal.SIGKILL, strays=True)
                return
            await asyncio.sleep(WATCH_SECONDS if limit is None else MEASURE_SECONDS)

    async def _died(self, attempt: Attempt, limit: int | None) -> Outcome:
        """It hung up: what its exit says, and how much memory it took."""
        try:
            async with asyncio.timeout(TERMINATE_SECONDS):
                code = await self._process.wait()
        except TimeoutError:
            return _death(attempt, "closed its connection")
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            how = f"killed by {name}"
        else:
            how = f"exited with status {code}"
        if self._over is not None and limit is not None:
            how = f"killed by SIGKILL over its memory limit of {_megabytes(limit)}"
        return _death(attempt, f"{how}, peak memory {_megabytes(self._process.peak_bytes)}")

    async def _pass_cancel(self, attempt: Attempt) -> None:
        await attempt.watch().wait()
        with contextlib.suppress(OSError):
            self._send(CancelRequested())

    async def _answer(self, ask: Ask, port: Port) -> None:
        try:
            answer = Answer(ask.number, msgspec.Raw(await port.ask(ask.question)))
        except Stopped:
            answer = Answer(ask.number, stopped=True)
        except RoostError as error:
            answer = Answer(ask.number, problem=Problem.of(error))
        with contextlib.suppress(OSError):
            self._send(answer)

    def _send(self, frame: ToChild) -> None:
        self._writer.write(pack(frame))

    async def _receive(self) -> ToParent:
        head = await self._reader.readexactly(LENGTH_SIZE)
        frame: ToParent = to_parent.decode(await self._reader.readexactly(length(head)))
        return frame


def _death(attempt: Attempt, how: str) -> Outcome:
    outcome = failed(attempt.id, attempt.token, "ProcessDied", how)
    outcome.died = True
    return outcome


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.0f} MB"
