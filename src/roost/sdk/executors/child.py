"""The process of isolated handlers: runs one job at a time for the worker that started it, and dies with it.

Started as ``python -m roost.sdk.executors.child DESCRIPTOR``; the descriptor is one end of a socket pair.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import os
import queue
import signal
import socket
import sys
import threading
from concurrent.futures import Future
from typing import Any

from roost.errors import ConfigurationError
from roost.sdk.attempt import Cancellation
from roost.sdk.context import make_context
from roost.sdk.endings import failed, raised, returned
from roost.sdk.executors.frames import (
    LENGTH_SIZE,
    Answer,
    Ask,
    CancelRequested,
    Ended,
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
        self.runs: queue.SimpleQueue[Run] = queue.SimpleQueue()
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


def _work(line: Line, run: Run) -> Outcome:
    lease = run.lease
    try:
        handler = locate(run.module, run.qualname, lease.kind)
        blocking = not handler.is_async
        context: object = None
        if handler.signature.injected is not None:
            port = _LinePort(line, blocking=blocking)
            context = make_context(lease, port, line.send, line.cancellation, blocking=blocking)
        args, kwargs = handler.call(lease.input, context)
    except BaseException as error:
        line.send(Started())
        return raised(lease.id, UNFENCED, error)
    line.send(Started())
    try:
        value = handler.function(*args, **kwargs)
        if handler.is_async:
            value = asyncio.run(_awaited(value))
        return returned(lease.id, UNFENCED, handler, value)
    except BaseException as error:
        return raised(lease.id, UNFENCED, error)


async def _awaited(value: Any) -> Any:
    return await value


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
    while True:
        run = line.runs.get()
        outcome = _work(line, run)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            line.send(Ended(outcome))
        except ValueError as error:
            line.send(Ended(failed(run.lease.id, UNFENCED, "ResultTooLarge", str(error), fatal=True)))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
