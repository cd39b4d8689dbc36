"""The process of isolated handlers: runs one job at a time for the worker that started it, and dies with it.

Started as ``python -m roost.sdk.executors.child DESCRIPTOR``; the descriptor is one end of a socket pair.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import math
import os
import queue
import signal
import socket
import sys
import threading
from concurrent.futures import CancelledError, Future
from typing import Any

from roost.errors import ConfigurationError
from roost.sdk.attempt import Attempt, Cancellation, current
from roost.sdk.context import Context, SyncContext, make_context
from roost.sdk.depends import AppScope
from roost.sdk.endings import failed, raised
from roost.sdk.execution import run_async, run_sync
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
    ToParent,
    length,
    pack,
    to_child,
)
from roost.sdk.ports import Question
from roost.sdk.registry import Handler
from roost.sdk.signals import Stopped
from roost.wire.attempts import Outcome

_PR_SET_PDEATHSIG = 1
UNFENCED = "-"
"""In the place of the lease token, which a handler's process has no business with."""


class Line:
    """The connection to the worker; a thread reads it, so that a cancel arrives while the handler is busy."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._number = 0
        self._asked: dict[int, Future[bytes]] = {}
        self.runs: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        """Jobs to run; None at the end."""
        self.cancellation = Cancellation()

    def send(self, frame: ToParent) -> None:
        data = pack(frame)
        with self._lock:
            self._connection.sendall(data)

    def ask(self, question: Question) -> Future[bytes]:
        """The answer, when it comes."""
        answer: Future[bytes] = Future()
        with self._lock:
            self._number += 1
            number = self._number
            self._asked[number] = answer
        self.send(Ask(number, question))
        return answer

    def read(self) -> None:
        """In a thread of its own, until the worker is gone; nothing here may outlive it."""
        with contextlib.suppress(OSError, EOFError, ValueError):
            while True:
                frame = to_child.decode(self._exactly(length(self._exactly(LENGTH_SIZE))))
                match frame:
                    case Hello():
                        sys.path[:] = frame.path
                    case Run():
                        # Before the job is taken up: a cancel may follow at once.
                        self.cancellation = Cancellation()
                        self.runs.put(frame)
                    case Goodbye():
                        self.runs.put(None)
                    case CancelRequested():
                        self.cancellation.set()
                    case Answer():
                        self._answered(frame)
        os.killpg(0, signal.SIGKILL)

    def _answered(self, frame: Answer) -> None:
        answer = self._asked.pop(frame.number)
        if frame.stopped:
            answer.set_exception(Stopped("the attempt has ended"))
        elif frame.problem is not None:
            answer.set_exception(frame.problem.error())
        else:
            answer.set_result(bytes(frame.value))

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._connection.recv(size - len(data))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


class _LinePort:
    """`roost.sdk.ports.Port` over the line."""

    def __init__(self, line: Line, *, blocking: bool) -> None:
        self._line = line
        self._blocking = blocking

    async def ask(self, question: Question) -> bytes:
        answer = self._line.ask(question)
        return answer.result() if self._blocking else await asyncio.wrap_future(answer)


def locate(module: str, qualname: str, kind: str) -> Handler[Any]:
    """The handler that a module defines under a name; raises `ConfigurationError`, and whatever the import raises."""
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    handler = getattr(found, "handler", None)
    if isinstance(handler, Handler):
        return handler
    if callable(found):
        return Handler(found, kind=kind, isolate="process")
    raise ConfigurationError(
        f"{module} has no {qualname}", help="a process-isolated handler is a function of a module that can be imported"
    )


class _Aside:
    """The event loop of this process, beside the main thread, and what lives as long as both."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scopes: list[AppScope] = []

    def loop(self) -> asyncio.AbstractEventLoop:
        """Running from the first time it is asked for: most handlers never need it."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="roost-loop", daemon=True).start()
        return self._loop

    def enter(self, handler: Handler[Any]) -> None:
        """The handler's application is used here."""
        scope = handler.surroundings.scope
        if not handler.is_plain and scope not in self._scopes:
            scope.enter()
            self._scopes.append(scope)

    def leave(self) -> None:
        """Close what the applications' handlers shared."""
        for scope in self._scopes:
            asyncio.run_coroutine_threadsafe(scope.leave(), self.loop()).result()


def _work(line: Line, run: Run, aside: _Aside) -> Outcome:
    lease = run.lease
    try:
        handler = locate(run.module, run.qualname, lease.kind)
        _ = handler.signature
    except BaseException as error:
        line.send(Started())
        return raised(lease.id, UNFENCED, error)
    aside.enter(handler)
    current.set(Attempt(lease, UNFENCED, 0.0, math.inf))
    blocking = not handler.is_async

    def context() -> Context | SyncContext:
        port = _LinePort(line, blocking=blocking)
        return make_context(lease, port, line.send, line.cancellation, blocking=blocking)

    line.send(Started())
    if blocking:
        return run_sync(handler, lease, UNFENCED, context, aside.loop)

    async def running() -> Outcome:
        try:
            return await run_async(handler, lease, UNFENCED, context)
        except KeyboardInterrupt as error:
            # The handler's own: no terminal reaches this process. Raised by a task it would end the loop.
            return raised(lease.id, UNFENCED, error)

    try:
        return asyncio.run_coroutine_threadsafe(running(), aside.loop()).result()
    except CancelledError as error:
        # The handler cancelled itself: nobody else does that here.
        return raised(lease.id, UNFENCED, error)


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when the worker dies, even while a C call holds the interpreter's lock."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.killpg(0, signal.SIGKILL)


def main(descriptor: int, parent: int) -> None:
    """Serve the worker until it hangs up."""
    _die_with(parent)
    line = Line(socket.socket(fileno=descriptor))
    threading.Thread(target=line.read, name="roost-line", daemon=True).start()
    aside = _Aside()
    while (run := line.runs.get()) is not None:
        outcome = _work(line, run, aside)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            line.send(Ended(outcome))
        except ValueError as error:
            line.send(Ended(failed(run.lease.id, UNFENCED, "ResultTooLarge", str(error), fatal=True)))
    aside.leave()
    # What the handlers left running (threads, exit hooks that wait for them) has had its time.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
