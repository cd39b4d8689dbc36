"""Lanes: as many tasks as handlers may run at a time, each running one job after the other.

A lane awaits async handlers directly, so that a handler that never waits costs no task. What a job leaves behind in the
task (context variables, an unfinished cancel) ends the lane; the next job gets a fresh one.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from functools import partial
from typing import Any

from roost.sdk.attempt import Attempt, current
from roost.sdk.endings import raised
from roost.sdk.executors import Executor
from roost.sdk.registry import Handler, Registry
from roost.sdk.supervision import Supervisor, ending
from roost.wire.attempts import Outcome

logger = logging.getLogger("roost.worker")

YIELD_EVERY = 32
"""Jobs in a row after which a lane lets the loop do its other work."""


class Lanes:
    """Runs what is put in; the worker's loop only."""

    def __init__(
        self,
        registry: Registry,
        concurrency: int,
        executor: Callable[[Handler[Any]], Executor],
        server_now: Callable[[], Awaitable[int]],
        settle: Callable[[Attempt, Outcome | None], None],
        supervisor: Callable[[Callable[[Attempt], None]], Supervisor],
    ) -> None:
        """``settle`` gets each attempt's outcome; None where nobody may hear of it."""
        self._registry = registry
        self._concurrency = concurrency
        self._executor = executor
        self._server_now = server_now
        self._settle = settle
        self.supervisor = supervisor(self._abandon)
        self.backlog: deque[Attempt] = deque()
        self.running: dict[asyncio.Task[None], Attempt | None] = {}
        self.stopping = False
        """The worker is about to end: a Ctrl-C is meant for it."""
        self._base: Context = copy_context()

    @property
    def free(self) -> int:
        """How many handlers could start at once."""
        return self._concurrency - len(self.running)

    @property
    def waiting(self) -> int:
        """How many no lane is there for: one that is open and has nothing yet takes the next as soon as it runs."""
        empty = sum(attempt is None for attempt in self.running.values())
        return max(0, len(self.backlog) - empty)

    def put(self, attempts: list[Attempt]) -> None:
        """Run these, as lanes are free."""
        self.backlog.extend(attempts)
        self._open()

    def attempts(self) -> list[Attempt]:
        """Those whose handlers run now."""
        return [attempt for attempt in self.running.values() if attempt is not None]

    def drop(self, attempt: Attempt) -> bool:
        """Take an attempt back that has not started; False where it has."""
        try:
            self.backlog.remove(attempt)
        except ValueError:
            return False
        return True

    def _open(self) -> None:
        for _ in range(min(self.free, len(self.backlog))):
            task = asyncio.get_running_loop().create_task(self._lane(), context=self._base.copy())
            self.running[task] = None

    def _close(self, task: asyncio.Task[None]) -> None:
        self.running.pop(task, None)
        self._open()

    async def _lane(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine that only `_open` makes a task of
        served = 0
        try:
            while self.backlog and task in self.running:
                attempt = self.backlog.popleft()
                self.running[task] = attempt
                current.set(attempt)
                before = copy_context()
                await self._run(attempt, task)
                if attempt.interrupted or task.cancelling() or copy_context() != before:
                    return
                self.running[task] = None
                served += 1
                if served % YIELD_EVERY == 0:
                    await asyncio.sleep(0)
        finally:
            self._close(task)

    async def _run(self, attempt: Attempt, task: asyncio.Task[None]) -> None:
        lease = attempt.lease
        handler = self._registry.get(lease.kind)
        if handler is None:
            self._end(attempt, Outcome(id=attempt.id, token=attempt.token, outcome="release"))
            return
        attempt.lane = task
        outcome: Outcome | None
        try:
            started = _unlimited
            if lease.timeout_ms is not None or lease.deadline_ms is not None:
                server_now = None if lease.deadline_ms is None else await self._server_now()
                started = partial(self.supervisor.limit, attempt, server_now)
            outcome = await self._executor(handler).run(attempt, handler, started)
            if attempt.interrupted and (outcome.outcome == "fail" or attempt.why in ("timeout", "deadline", "lost")):
                outcome = ending(attempt)
        except asyncio.CancelledError as error:
            if attempt.interrupted:
                outcome = ending(attempt)
            else:
                if task.cancelling():
                    # Either the handler cancelled its own task, or somebody all of the program's: then the worker is
                    # about to hear of it too.
                    await asyncio.sleep(0)
                if self.stopping and task.cancelling():
                    outcome = Outcome(id=attempt.id, token=attempt.token, outcome="release")
                else:
                    # Nobody told it to stop: the handler awaited something that was cancelled.
                    outcome = raised(attempt.id, attempt.token, error)
        except KeyboardInterrupt as error:
            if self.stopping or signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                # Somebody's Ctrl-C, which met the handler by chance: interrupted is not failed.
                self._end(attempt, Outcome(id=attempt.id, token=attempt.token, outcome="release"))
                raise
            outcome = raised(attempt.id, attempt.token, error)
        finally:
            attempt.lane = None
        if attempt.ended:
            logger.warning("%r ended at last, its result is dropped", attempt, extra=attempt.tag)
            return
        self._end(attempt, outcome)

    def _end(self, attempt: Attempt, outcome: Outcome | None) -> None:
        attempt.end()
        self._settle(attempt, outcome)

    def _abandon(self, attempt: Attempt) -> None:
        """The handler does not react: its attempt ends, its lane is given up and replaced."""
        if attempt.ended:
            return
        logger.error("%r does not stop (%s); it is given up", attempt, attempt.why, extra=attempt.tag)
        lane = attempt.lane
        attempt.runs_on = True
        self._end(attempt, ending(attempt))
        if lane is not None:
            self._close(lane)


def _unlimited() -> None:
    """Nothing begins with a handler that has neither a time limit nor a deadline."""
