"""Batches and chains, as a program makes and holds them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from roost.errors import InvalidRequest, ResultTimeout, RoostError
from roost.sdk.calls import JobCall, new_jobs
from roost.sdk.handle import Handle
from roost.sdk.polling import Polling
from roost.wire.batches import Batch, NewBatch
from roost.wire.jobs import Enqueued, NewJob

if TYPE_CHECKING:
    from roost.sdk.connection import Connection

R = TypeVar("R")

JOBS_PER_CALL = 1000


class BatchHandle:
    """A batch by its id; ``handles`` are those of the jobs it was made with."""

    __slots__ = ("_connection", "handles", "id")

    def __init__(self, id: int, connection: Connection, handles: Sequence[Handle[Any]] = ()) -> None:
        self.id = id
        self.handles = [*handles]
        self._connection = connection

    async def progress(self) -> Batch:
        """How far it is; raises `NotFound`."""
        return await self._connection.asynchronous.batches.get(self.id)

    def progress_sync(self) -> Batch:
        """`progress` without an event loop."""
        return self._connection.synchronous.batches.get(self.id)

    async def wait(self, timeout: float | None = None) -> Batch:
        """Until its last job has ended and its callbacks are enqueued; `ResultTimeout` after ``timeout`` seconds."""
        polling = Polling(timeout)
        while (batch := await self.progress()).state != "finished":
            await asyncio.sleep(_pause(polling, batch))
        return batch

    def wait_sync(self, timeout: float | None = None) -> Batch:
        """`wait` without an event loop."""
        polling = Polling(timeout)
        while (batch := self.progress_sync()).state != "finished":
            time.sleep(_pause(polling, batch))
        return batch

    async def cancel(self, note: str = "") -> Batch:
        """Cancel every job of it that has not ended; running ones are asked to stop."""
        return await self._connection.asynchronous.batches.cancel(self.id, note=note)

    def cancel_sync(self, note: str = "") -> Batch:
        """`cancel` without an event loop."""
        return self._connection.synchronous.batches.cancel(self.id, note=note)

    def __repr__(self) -> str:
        return f"<BatchHandle {self.id}>"


class OpenBatch(BatchHandle):
    """A batch that jobs are added to; it is sealed when its block ends, and cancelled when that ends by an error.

    Used by ``async with app.batch(…)``, or ``with`` where no event loop runs.
    """

    __slots__ = ("_request",)

    def __init__(self, connection: Connection, request: NewBatch) -> None:
        super().__init__(0, connection)
        self._request = request

    async def add(self, call: JobCall[R]) -> Handle[R]:
        """Enqueue one more job of it."""
        [handle] = await self.add_many([call])
        return handle

    def add_sync(self, call: JobCall[R]) -> Handle[R]:
        """`add` without an event loop."""
        [handle] = self.add_many_sync([call])
        return handle

    async def add_many(self, calls: Iterable[JobCall[R]]) -> list[Handle[R]]:
        """Enqueue more jobs of it, a thousand to a transaction; those of one call may come after each other."""
        listed = [*calls]
        handles: list[Handle[R]] = []
        for jobs in self._parts(listed):
            take(handles, listed, await self._connection.asynchronous.jobs.enqueue_many(jobs), self._connection)
        self.handles += handles
        return handles

    def add_many_sync(self, calls: Iterable[JobCall[R]]) -> list[Handle[R]]:
        """`add_many` without an event loop."""
        listed = [*calls]
        handles: list[Handle[R]] = []
        for jobs in self._parts(listed):
            take(handles, listed, self._connection.synchronous.jobs.enqueue_many(jobs), self._connection)
        self.handles += handles
        return handles

    def _parts(self, calls: list[JobCall[R]]) -> list[list[NewJob]]:
        if not self.id:
            raise InvalidRequest("the batch is not open", path="batch", help="async with app.batch(…) as batch: …")
        parts = parted(calls)
        for jobs in parts:
            jobs[:] = [msgspec.structs.replace(job, batch=self.id) for job in jobs]
        return parts

    async def __aenter__(self) -> OpenBatch:
        self.id = (await self._connection.asynchronous.batches.create(self._request)).id
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        batches = self._connection.asynchronous.batches
        if error is not None:
            await batches.cancel(self.id, note=_note(error))
        await batches.seal(self.id)

    def __enter__(self) -> OpenBatch:
        self.id = self._connection.synchronous.batches.create(self._request).id
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        batches = self._connection.synchronous.batches
        if error is not None:
            batches.cancel(self.id, note=_note(error))
        batches.seal(self.id)


def parted(calls: Sequence[JobCall[Any]]) -> list[list[NewJob]]:
    """What is sent for calls, by transaction; raises `InvalidRequest` where one comes after a call of another."""
    parts: list[list[NewJob]] = []
    for first in range(0, len(calls), JOBS_PER_CALL):
        try:
            parts.append(new_jobs(calls[first : first + JOBS_PER_CALL]))
        except RoostError as error:
            if first:
                error.help = f"calls that come after each other are enqueued together, {JOBS_PER_CALL} at most"
            raise
    return parts


def take(
    handles: list[Handle[Any]], calls: Sequence[JobCall[Any]], answers: Iterable[Enqueued], connection: Connection
) -> None:
    """Add a handle for each answer; raises the first that is an error, with its index in the path."""
    for answer in answers:
        index = len(handles)
        if answer.error is not None:
            error = answer.error.error()
            error.path = f"jobs[{index}].{error.path}".removesuffix(".")
            raise error
        handles.append(Handle(answer.id, connection, calls[index].handler, duplicate=answer.duplicate))


def new_batch(
    name: str,
    calls: Sequence[JobCall[Any]] = (),
    *,
    chain: bool = False,
    seal: bool,
    on_complete: JobCall[Any] | None,
    on_success: JobCall[Any] | None,
    on_failure: JobCall[Any] | None,
) -> NewBatch:
    """What is sent for a batch; raises `InvalidRequest`."""
    request = NewBatch(name=name, chain=chain, jobs=new_jobs(calls), seal=seal)
    for field, call in (("on_complete", on_complete), ("on_success", on_success), ("on_failure", on_failure)):
        if call is not None:
            setattr(request, field, call.new_job())
    return request


def made(batch: Batch, calls: Sequence[JobCall[Any]], connection: Connection) -> BatchHandle:
    """The handle of a batch that was created with its jobs."""
    pairs = zip(batch.jobs, calls, strict=True)
    return BatchHandle(batch.id, connection, [Handle(id, connection, call.handler) for id, call in pairs])


def _note(error: BaseException) -> str:
    return f"its program failed: {type(error).__name__}: {error}"[:1000]


def _pause(polling: Polling, batch: Batch) -> float:
    """Seconds until the next look; raises `ResultTimeout`."""
    pause = polling.pause()
    if pause is None:
        raise ResultTimeout(f"batch {batch.id} has {batch.pending} jobs to go", help="it goes on by itself")
    return pause
