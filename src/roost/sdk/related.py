"""What a context does with other jobs, written once, as `core`: start them once, wait for their ends, for signals."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

from roost.domain.duration import format_duration, to_milliseconds
from roost.domain.states import TERMINAL
from roost.errors import ConfigurationError, InvalidRequest, JobFailed, ResultTimeout
from roost.sdk.adapters import adapter, encode
from roost.sdk.attempt import current
from roost.sdk.children import Child
from roost.sdk.failing import failure
from roost.sdk.function import Call, Enqueuer
from roost.sdk.handle import Handle
from roost.sdk.outcome import DurationLike
from roost.sdk.ports import End, Ends, LoadBatch, LoadDependencies, Port, ServerTime, Spawn, Spawned
from roost.sdk.reference import JobReference
from roost.sdk.registry import Handler
from roost.sdk.signals import Waits
from roost.sdk.steps import Recorder, input_hash, wall_ms
from roost.wire.attempts import NewWait
from roost.wire.batches import Batch
from roost.wire.codec import decode, milliseconds, timestamp
from roost.wire.jobs import NewJob
from roost.wire.jobs import Unique as UniqueRule

R = TypeVar("R")

DEPENDENCIES = "after"
"""The step that records which jobs this one came after."""
JOBS_PER_CALL = 1000
KEY_PERIOD = "7d"
"""How long a child's key outlives it: longer than any death between its enqueue and the step that records it."""
RECORDED_RESULTS = 256 * 1024
"""Bytes of results that a wait records; more than that is read again by each attempt."""


class Related:
    """The other jobs of one attempt."""

    def __init__(self, job_id: int, port: Port, recorder: Recorder) -> None:
        self._id = job_id
        self._port = port
        self._recorder = recorder
        self._handlers: dict[int, Handler[Any]] = {}
        self._spawns: dict[str, int] = {}
        self._waits: dict[str, int] = {}
        self._waited: set[int] = set()
        """What this attempt's handler waited for."""

    async def spawn(self, enqueuer: Enqueuer[..., R], args: tuple[Any, ...], kwargs: Any, name: str | None) -> Child[R]:
        job = enqueuer.new_job(*args, **kwargs)
        [child] = await self._started(enqueuer, [job], name)
        return child

    async def spawn_many(
        self, enqueuer: Enqueuer[..., R], calls: Iterable[Call[Any]], name: str | None
    ) -> list[Child[R]]:
        return await self._started(enqueuer, enqueuer.new_jobs(calls), name)

    async def _started(self, enqueuer: Enqueuer[..., R], jobs: list[NewJob], name: str | None) -> list[Child[R]]:
        """The jobs' ids are a step: from its record on they are known, until then their keys find them again."""
        if name is None:
            count = self._spawns[enqueuer.kind] = self._spawns.get(enqueuer.kind, 0) + 1
            name = f"{enqueuer.kind}-{count}"
        step = f"spawn:{name}"
        digest = input_hash([[job.kind, bytes(job.input).decode()] for job in jobs], {})
        found = await self._recorder.find(step, digest)
        if found is None:
            self._recorder.begin(step)
            try:
                started_at = wall_ms()
                # The name is a step's, and may be as long as a key by itself.
                named = hashlib.sha256(name.encode()).hexdigest()[:32]
                keyed = False
                for index, job in enumerate(jobs):
                    job.parent = self._id
                    if job.unique is None:
                        key = f"spawn:{self._id}:{named}:{index}"
                        job.unique = UniqueRule(key=key, scope="global", within=KEY_PERIOD)
                    else:
                        keyed = True
                ids: list[int] = []
                for first in range(0, len(jobs), JOBS_PER_CALL):
                    # Keys of their own may be free again by the time this attempt is repeated.
                    operation_id = f"spawn:{self._id}:{named}:{first}" if keyed else None
                    answer = await self._port.ask(Spawn(jobs[first : first + JOBS_PER_CALL], operation_id))
                    ids += decode(answer, Spawned).ids
                found = await self._recorder.record(step, "code", digest, encode(ids), started_at)
            finally:
                self._recorder.done(step)
        children = []
        for id in decode(bytes(found.output), list[int]):
            self._handlers[id] = enqueuer.handler
            children.append(Child[R](id, enqueuer.kind, self._result))
        return children

    async def _result(self, child: JobReference, timeout: DurationLike | None) -> Any:
        [result] = await self.wait_for([child], timeout, return_failures=False)
        return result

    async def wait_for(
        self, jobs: Iterable[JobReference | int], timeout: DurationLike | None, *, return_failures: bool
    ) -> list[Any]:
        listed = [*jobs]
        self._take_handles(listed)
        ids = [job if isinstance(job, int) else job.id for job in listed]
        ends = {end.id: end for end in await self._ends(sorted(set(ids)), timeout)}
        results: list[Any] = []
        for id in ids:
            end = ends[id]
            if end.state == "succeeded":
                handler = self._handlers.get(id)
                data = b"null" if end.result is None else bytes(end.result)
                results.append(adapter(Any).decode(data, "result") if handler is None else handler.decode_result(data))
                continue
            failed = JobFailed(failure(end), help=f"roost jobs inspect {id} shows its attempts")
            if not return_failures:
                raise failed
            results.append(failed)
        return results

    def _take_handles(self, jobs: list[JobReference | int]) -> None:
        """Learn the types of their results; raises `ConfigurationError` where waiting for one would never end."""
        attempt = current.get()
        for job in jobs:
            if not isinstance(job, Handle):
                continue
            if attempt is not None and job.enqueued_by is attempt and not job.duplicate:
                raise ConfigurationError(
                    f"job {job.id} was enqueued by the handler that waits for it, which would enqueue another one when "
                    "it goes on",
                    path="jobs",
                    help="start it with ctx.spawn, which gives the same job whenever the handler runs again",
                )
            self._handlers[job.id] = job.handler

    async def _ends(self, ids: list[int], timeout: DurationLike | None) -> list[End]:
        """How these jobs ended, once all have; recorded, so that a resume sees what this attempt saw."""
        if not ids:
            return []
        self._waited.update(ids)
        digest = input_hash(ids, {})
        step = f"wait:{ids[0]}" if len(ids) == 1 else f"wait:{len(ids)}:{digest[:16]}"
        found = await self._recorder.find(step, digest)
        if found is not None:
            return decode(bytes(found.output), list[End])
        asked_at = wall_ms()
        ends = decode(await self._port.ask(Ends(ids)), list[End])
        left = [end.id for end in ends if end.state not in TERMINAL]
        if left:
            await self._wait(step, timeout, f"{len(left)} jobs have not ended", jobs=left[:JOBS_PER_CALL])
        output = encode(ends)
        if len(output) <= RECORDED_RESULTS:
            await self._recorder.record(step, "wait", digest, output, asked_at)
        return ends

    async def wait(self, signal: str, timeout: DurationLike | None, kind: Any, name: str | None) -> Any:
        if name is None:
            count = self._waits[signal] = self._waits.get(signal, 0) + 1
            name = f"signal:{signal}" if count == 1 else f"signal:{signal}-{count}"
        found = await self._recorder.look(name)
        if found is None:
            await self._wait(name, timeout, f"signal {signal!r} did not come", signal=signal, step=name)
            raise AssertionError("a wait ends the attempt")
        return adapter(kind).decode(found.output, signal)

    async def _wait(self, name: str, timeout: DurationLike | None, what: str, **wait: Any) -> None:
        """End the attempt to wait; raises `ResultTimeout` where an earlier attempt has waited long enough."""
        if timeout is None:
            raise Waits(NewWait(**wait))
        length = to_milliseconds(timeout, path="timeout")
        now = await self._server_time()
        until = await self._until(f"{name}:until", length, now)
        if until <= now:
            raise ResultTimeout(f"{what} within {format_duration(length)}", help="wait longer, or go on without")
        raise Waits(NewWait(timeout=format_duration(until - now), **wait))

    async def _until(self, name: str, length: int, now: int) -> int:
        digest = input_hash([length], {})
        step = await self._recorder.find(name, digest)
        if step is None:
            step = await self._recorder.record(name, "wait", digest, encode(timestamp(now + length)), wall_ms())
        return milliseconds(decode(bytes(step.output), datetime), name)

    async def _server_time(self) -> int:
        return milliseconds(decode(await self._port.ask(ServerTime()), datetime), "now")

    async def dependencies(self, kind: Any) -> list[Any]:
        """The results of the jobs this one came after, in the order of their ids; None for one without a result."""
        ends = decode(await self._port.ask(LoadDependencies()), list[End])
        # What the handler waited for itself is told there too, also what a later line waited for in an earlier attempt.
        step = await self._recorder.look(DEPENDENCIES)
        if step is None:
            ids = [end.id for end in ends if end.id not in self._waited]
            step = await self._recorder.record(DEPENDENCIES, "code", input_hash([], {}), encode(ids), wall_ms())
        wanted = set(decode(bytes(step.output), list[int]))
        ends = [end for end in ends if end.id in wanted]
        decoder = adapter(kind)
        return [None if end.result is None else decoder.decode(end.result, "result") for end in ends]

    async def batch(self) -> Batch:
        """The batch that this job is called back for, or belongs to; raises `InvalidRequest` where there is none."""
        answer = await self._port.ask(LoadBatch())
        if answer == b"null":
            raise InvalidRequest(
                "the job belongs to no batch", path="batch", help="enqueue it in one, or as a callback"
            )
        return decode(answer, Batch)
