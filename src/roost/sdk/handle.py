"""A job that was enqueued, as its enqueuer holds it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Generic, TypeVar

from roost.domain.states import TERMINAL, State
from roost.errors import JobFailed, ResultTimeout
from roost.sdk.attempt import current
from roost.sdk.failing import failure
from roost.sdk.reference import JobReference
from roost.sdk.registry import Handler
from roost.wire.jobs import Job, LogLine

if TYPE_CHECKING:
    from roost.sdk.connection import Connection

R = TypeVar("R")

LONGEST_WAIT = 30.0
"""Seconds one call waits on the other side; longer waits are made of several."""


class Handle(JobReference, Generic[R]):
    """A job by its id; ``duplicate`` when it was there already."""

    __slots__ = ("_connection", "_handler", "duplicate", "enqueued_by")

    def __init__(self, id: int, connection: Connection, handler: Handler[R], *, duplicate: bool = False) -> None:
        super().__init__(id)
        self.duplicate = duplicate
        self.enqueued_by = current.get()
        """The attempt whose handler enqueued it; None outside of handlers."""
        self._connection = connection
        self._handler = handler

    @property
    def handler(self) -> Handler[R]:
        """What runs the job, and knows the type of its result."""
        return self._handler

    async def result(self, timeout: float | None = None) -> R:
        """What the handler returned; raises `JobFailed`, and `ResultTimeout` after ``timeout`` seconds.

        In a handler it occupies a worker meanwhile; `Context.wait_for` does not.
        """
        began = time.monotonic()
        while True:
            wait = _wait(began, timeout)
            job = await self._connection.asynchronous.jobs.wait(self.id, wait)
            if job.state in TERMINAL:
                return _result(job, self._handler)
            _check_time(job, began, timeout)

    def result_sync(self, timeout: float | None = None) -> R:
        """`result` without an event loop."""
        began = time.monotonic()
        while True:
            wait = _wait(began, timeout)
            job = self._connection.synchronous.jobs.wait(self.id, wait)
            if job.state in TERMINAL:
                return _result(job, self._handler)
            _check_time(job, began, timeout)

    async def job(self) -> Job:
        """All that is known of the job; raises `NotFound` when it was deleted."""
        return await self._connection.asynchronous.jobs.get(self.id)

    def job_sync(self) -> Job:
        """`job` without an event loop."""
        return self._connection.synchronous.jobs.get(self.id)

    async def logs(self, *, follow: bool = False, after: int = 0) -> AsyncIterator[LogLine]:
        """Its log lines after line number ``after``; with ``follow`` also those to come, until the job has ended."""
        jobs = self._connection.asynchronous.jobs
        if follow:
            async with aclosing(jobs.follow_logs(self.id, after=after)) as lines:
                async for line in lines:
                    yield line
            return
        while page := (await jobs.logs(self.id, after=after)).lines:
            for line in page:
                yield line
            after = page[-1].number

    def logs_sync(self, *, follow: bool = False, after: int = 0) -> Iterator[LogLine]:
        """`logs` without an event loop."""
        jobs = self._connection.synchronous.jobs
        if follow:
            yield from jobs.follow_logs(self.id, after=after)
            return
        while page := jobs.logs(self.id, after=after).lines:
            yield from page
            after = page[-1].number

    async def status(self) -> State:
        """Where the job is now."""
        return (await self.job()).state

    def status_sync(self) -> State:
        """`status` without an event loop."""
        return self.job_sync().state

    async def cancel(self, note: str = "") -> State:
        """Cancel it, and say where it is then: a running job is asked to stop. Raises `Conflict` where it has ended."""
        return (await self._connection.asynchronous.jobs.cancel(self.id, note=note)).state

    def cancel_sync(self, note: str = "") -> State:
        """`cancel` without an event loop."""
        return self._connection.synchronous.jobs.cancel(self.id, note=note).state

    def __repr__(self) -> str:
        return f"<Handle of job {self.id} ({self._handler.kind})>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handle) and (self.id, self._connection) == (other.id, other._connection)

    def __hash__(self) -> int:
        return hash(self.id)


def _wait(began: float, timeout: float | None) -> str:
    left = LONGEST_WAIT if timeout is None else min(LONGEST_WAIT, began + timeout - time.monotonic())
    return f"{max(0, round(left * 1000))}ms"


def _check_time(job: Job, began: float, timeout: float | None) -> None:
    if timeout is not None and time.monotonic() - began >= timeout:
        where = f"{job.state} ({job.reason})" if job.reason else str(job.state)
        raise ResultTimeout(
            f"job {job.id} is {where} after {timeout:g} s", help=f"it goes on; roost jobs explain {job.id} says why"
        )


def _result(job: Job, handler: Handler[R]) -> R:
    if job.state is State.SUCCEEDED:
        return handler.decode_result(job.result)
    raise JobFailed(failure(job), help=f"roost jobs inspect {job.id} shows its attempts")
