"""What a context asks outside its handler: one question, one answer, in this process or across to its parent."""

from __future__ import annotations

import asyncio
from typing import Protocol

import msgspec

from roost.domain.states import State
from roost.errors import NotFound, OperationMismatch
from roost.sdk._async.client import AsyncClient
from roost.sdk.attempt import Attempt
from roost.sdk.notes import Told
from roost.sdk.patience import new_operation_id
from roost.sdk.signals import Stopped
from roost.wire.attempts import Beat, Heartbeat, NewLogLine, RecordStep, StartStep, Steps
from roost.wire.codec import encode
from roost.wire.contract import HEARTBEAT
from roost.wire.flow import Dependency
from roost.wire.holds import Hold, HoldPage
from roost.wire.jobs import ErrorInfo, Json, MaybeJson, NewJob, Progress

READS_AT_ONCE = 32


class LoadSteps(msgspec.Struct, tag=True):
    """All recorded steps; answered with `Steps`."""


class LoadHolds(msgspec.Struct, tag=True):
    """All holds of the job; answered with `HoldPage`."""


class LoadSaved(msgspec.Struct, tag=True):
    """The state blob; answered with itself, null where there is none."""


class ServerTime(msgspec.Struct, tag=True):
    """The server's clock, by which a job's sleep is measured; answered with an RFC 3339 text."""


class Record(msgspec.Struct, tag=True):
    """A step that is done; answered with `RecordedStep` when it is durable."""

    name: str
    kind: str
    input_hash: str
    output: msgspec.Raw
    started_at: int


class Start(msgspec.Struct, tag=True):
    """A step whose work costs, or is seen outside, is about to run; answered with null when everybody can see that."""

    name: str
    kind: str
    input_hash: str
    started_at: int


class Spawn(msgspec.Struct, tag=True):
    """Jobs to enqueue as children; answered with `Spawned`.

    ``operation_id`` names the call where the jobs' own unique keys do not: asked again, it has the same answer.
    """

    jobs: list[NewJob]
    operation_id: str | None = None


class Ends(msgspec.Struct, tag=True):
    """Where these jobs are; answered with a list of `End` in that order."""

    jobs: list[int]


class LoadDependencies(msgspec.Struct, tag=True):
    """The jobs this one came after; answered with a list of `End`."""


class LoadBatch(msgspec.Struct, tag=True):
    """The batch this job belongs to or is called back for; answered with `Batch`, null where there is none."""


class CountChunks(msgspec.Struct, tag=True):
    """How many chunks of the result there are; answered with a number."""


class Append(msgspec.Struct, tag=True):
    """Chunks of the result; answered with null when they are durable."""

    chunks: list[Json]


Question = (
    LoadSteps
    | LoadHolds
    | LoadSaved
    | ServerTime
    | Record
    | Start
    | Spawn
    | Ends
    | LoadDependencies
    | LoadBatch
    | CountChunks
    | Append
)


class Spawned(msgspec.Struct):
    """The ids of spawned jobs, in order."""

    ids: list[int]


class End(msgspec.Struct, omit_defaults=True):
    """Where a job is, and what came out of it if it has ended."""

    id: int
    kind: str
    state: State
    reason: str | None = None
    result: MaybeJson = None
    error: ErrorInfo | None = None


class Tell(msgspec.Struct, tag=True, omit_defaults=True):
    """Progress, state or log lines of a handler in another process; needs no answer."""

    progress: Progress | None = None
    saved: MaybeJson = None
    log: NewLogLine | None = None


class Port(Protocol):
    """Where a context's questions go; answers are JSON."""

    async def ask(self, question: Question) -> bytes: ...


class ServerPort:
    """Questions of one attempt, put to the server by the worker's client."""

    __slots__ = ("_attempt", "_client", "_flush", "_lease", "_worker")

    def __init__(self, attempt: Attempt, client: AsyncClient, flush: Flush, worker: str, lease: str) -> None:
        self._attempt = attempt
        self._client = client
        self._flush = flush
        self._worker = worker
        self._lease = lease

    async def ask(self, question: Question) -> bytes:
        """Raises what the server refuses with; `Stopped` where the attempt has ended."""
        if self._attempt.ended:
            raise Stopped(f"{self._attempt!r} has ended")
        jobs = self._client.jobs
        match question:
            case Record():
                return await self._record(question)
            case Start():
                await self._start(question)
                return b"null"
            case LoadSteps():
                return encode(Steps(steps=[*await jobs.steps(self._attempt.id)]))
            case LoadHolds():
                return encode(HoldPage(holds=await self._holds()))
            case LoadSaved():
                return bytes((await jobs.get(self._attempt.id)).saved or b"null")
            case Spawn():
                return encode(Spawned(await self._spawn(question.jobs, question.operation_id)))
            case Ends():
                return encode(await self._ends(question.jobs))
            case LoadDependencies():
                return encode([_of_dependency(one) for one in await self._dependencies()])
            case LoadBatch():
                batch = (await jobs.get(self._attempt.id)).batch
                return b"null" if batch is None else encode(await self._client.batches.get(batch))
            case CountChunks():
                return encode((await jobs.get(self._attempt.id)).chunks)
            case Append():
                await self._append(question.chunks)
                return b"null"
            case ServerTime():
                return encode((await self._client.server.info()).now)

    async def _record(self, step: Record) -> bytes:
        notes = self._attempt.notes
        told = Told()
        if notes is not None:
            if notes.sending:
                # An older state blob on its way must not arrive after the newer one that travels with this step.
                await self._flush(self._attempt)
            told.progress, told.saved = notes.take_state()
        request = RecordStep(
            id=self._attempt.id,
            token=self._attempt.token,
            name=step.name,
            kind=step.kind,  # type: ignore[arg-type]  # the server checks it, whichever language asks
            input_hash=step.input_hash,
            output=step.output,
            started_at=step.started_at,
            progress=told.progress,
            saved=told.saved,
        )
        return encode(await self._client.jobs.record_step(request))

    async def _spawn(self, jobs: list[NewJob], operation_id: str | None) -> list[int]:
        try:
            answers = await self._client.jobs.enqueue_many(jobs, operation_id=operation_id)
        except OperationMismatch:
            # Something in them goes by the time of the attempt; then only their keys tell them.
            answers = await self._client.jobs.enqueue_many(jobs)
        for answer in answers:
            if answer.error is not None:
                raise answer.error.error()
        return [answer.id for answer in answers]

    async def _ends(self, ids: list[int]) -> list[End]:
        known: dict[int, End] = {}
        if len(ids) > READS_AT_ONCE:
            # Whoever waited for many finds most of them in a few pages; those that failed are read whole.
            ends = [_of_dependency(one) for one in await self._dependencies()]
            known = {end.id: end for end in ends if end.state is State.SUCCEEDED}
        left = [id for id in ids if id not in known]
        for first in range(0, len(left), READS_AT_ONCE):
            reads = (self._end(id) for id in left[first : first + READS_AT_ONCE])
            known.update({end.id: end for end in await asyncio.gather(*reads)})
        return [known[id] for id in ids]

    async def _end(self, id: int) -> End:
        try:
            job = await self._client.jobs.get(id)
        except NotFound:
            return End(id, "", State.CANCELLED, "deleted")
        return End(job.id, job.kind, job.state, job.reason, job.result, job.error)

    async def _dependencies(self) -> list[Dependency]:
        found: list[Dependency] = []
        cursor: str | None = None
        while True:
            page = await self._client.jobs.dependencies(self._attempt.id, results=True, limit=200, cursor=cursor)
            found += page.dependencies
            cursor = page.cursor
            if cursor is None:
                return found

    async def _start(self, step: Start) -> None:
        """With a heartbeat of its own: once the lease is somebody else's, nothing that costs is started any more."""
        mark = StartStep(
            name=step.name,
            kind=step.kind,  # type: ignore[arg-type]  # the server checks it, whichever language asks
            input_hash=step.input_hash,
            started_at=step.started_at,
        )
        await self._beat(Beat(id=self._attempt.id, token=self._attempt.token, steps=[mark]))

    async def _append(self, chunks: list[Json]) -> None:
        await self._beat(Beat(id=self._attempt.id, token=self._attempt.token, chunks=chunks))

    async def _beat(self, beat: Beat) -> None:
        """Under a name of its own, so that a repetition says nothing again; raises what the server refuses with."""
        request = Heartbeat(worker=self._worker, lease=self._lease, beats=[beat])
        reply = await self._client.call(HEARTBEAT, request, new_operation_id())
        problem = reply.beats[0].error
        if problem is not None:
            raise problem.error()

    async def _holds(self) -> list[Hold]:
        found: list[Hold] = []
        cursor: str | None = None
        while True:
            page = await self._client.holds.list(all=True, job=self._attempt.id, limit=500, cursor=cursor)
            found += page.holds
            cursor = page.cursor
            if cursor is None:
                return found


def _of_dependency(one: Dependency) -> End:
    if one.state is None:
        return End(one.id, "", State.CANCELLED, "deleted")
    return End(one.id, one.kind or "", one.state, one.reason, one.result)


class Flush(Protocol):
    """Carry away what an attempt has to tell, and return when that is done."""

    async def __call__(self, attempt: Attempt) -> None: ...


class ThreadPort:
    """The same for a handler in a thread: asks on the worker's loop and blocks until the answer is there."""

    __slots__ = ("_attempt", "_loop", "_port")

    def __init__(self, port: Port, loop: asyncio.AbstractEventLoop, attempt: Attempt) -> None:
        self._port = port
        self._loop = loop
        self._attempt = attempt

    async def ask(self, question: Question) -> bytes:
        """Never suspends, so that `roost.sdk.styles.drive` can run it; raises as the port it stands for."""
        if self._attempt.ended or self._attempt.interrupted or self._loop.is_closed():
            raise Stopped(f"{self._attempt!r} has ended")
        return asyncio.run_coroutine_threadsafe(self._port.ask(question), self._loop).result()
