"""Sync handlers, in threads of the worker's process. A thread cannot be killed: what must be uses a process."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from roost.sdk.attempt import Attempt
from roost.sdk.context import Context, SyncContext
from roost.sdk.execution import run_sync
from roost.sdk.registry import Handler
from roost.wire.attempts import Outcome

logger = logging.getLogger("roost.worker")


class _Call:
    """One handler's run in a thread."""

    __slots__ = ("answer", "attempt", "lock", "lost", "over", "work")

    def __init__(self, attempt: Attempt, work: Callable[[], Outcome], answer: asyncio.Future[Outcome]) -> None:
        self.attempt = attempt
        self.work = work
        self.answer = answer
        self.lock = threading.Lock()
        self.lost = False
        self.over = False


class ThreadExecutor:
    """Threads that are made as they are needed and kept; daemons, so that a stuck handler does not keep the program."""

    def __init__(self, context: Callable[[Attempt], Context | SyncContext]) -> None:
        self._context = context
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0

    async def run(self, attempt: Attempt, handler: Handler[Any], started: Callable[[], None]) -> Outcome:
        """The handler's outcome; cancelled while it runs, the thread is given up and its late result is dropped."""
        loop = asyncio.get_running_loop()
        variables = contextvars.copy_context()

        def work() -> Outcome:
            make = partial(self._context, attempt)
            return variables.run(run_sync, handler, attempt.lease, attempt.token, make, lambda: loop)

        call = _Call(attempt, work, loop.create_future())
        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            threading.Thread(target=self._serve, args=(loop,), name=f"roost-job-{self._threads}", daemon=True).start()
        started()
        self._calls.put(call)
        try:
            return await call.answer
        except asyncio.CancelledError:
            with call.lock:
                call.lost = not call.over
            if call.lost:
                attempt.runs_on = True
                # The thread ends with its handler, whenever that is; the next call starts another one.
                self._threads -= 1
                logger.error(
                    "%r does not stop (%s): its thread is given up and runs on; isolate='process' makes it killable",
                    attempt,
                    attempt.why,
                    extra=attempt.tag,
                )
            raise
        finally:
            self._busy -= 1

    def close(self) -> None:
        """End the threads that wait for work."""
        for _ in range(self._threads):
            self._calls.put(None)
        self._threads = 0

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (call := self._calls.get()) is not None:
            outcome = call.work()
            with call.lock:
                call.over = True
            if call.lost:
                logger.warning("%r ended at last, its result is dropped", call.attempt, extra=call.attempt.tag)
                return
            if loop.is_closed():
                return
            loop.call_soon_threadsafe(_deliver, call, outcome)


def _deliver(call: _Call, outcome: Outcome) -> None:
    if not call.answer.done():
        call.answer.set_result(outcome)
