"""Jobs: enqueue, read and change them; claim and settle them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING

from roost.domain.states import State
from roost.sdk._async.events import follow
from roost.sdk._async.steering import AsyncSteering
from roost.sdk.patience import new_operation_id
from roost.sdk.transport import AsyncStream
from roost.wire import contract
from roost.wire.attempts import (
    Beat,
    Claimed,
    ClaimJobs,
    Heartbeat,
    HeartbeatReply,
    Outcome,
    RecordedStep,
    RecordStep,
    Settled,
    SettleJobs,
    Step,
    Steps,
)
from roost.wire.events import FollowLogs
from roost.wire.flow import DependencyPage, ListChildren, ListDependencies
from roost.wire.jobs import (
    CancelJob,
    Enqueued,
    EnqueueJobs,
    Explanation,
    Job,
    JobEvent,
    JobPage,
    JobRef,
    JobSummary,
    ListJobs,
    ListLogs,
    LogLine,
    LogPage,
    NewJob,
    WaitJob,
)
from roost.wire.lenient import decode_reply
from roost.wire.search import CheckedQuery, CheckQuery, Facets, ListFacets, SearchJobs, SearchPage, SortText
from roost.wire.streams import END, LOG_STREAM
from roost.wire.why import Why

if TYPE_CHECKING:
    from roost.sdk._async.client import AsyncClient


class AsyncJobs(AsyncSteering):
    """``client.jobs``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def enqueue(self, job: NewJob, *, operation_id: str | None = None) -> Enqueued:
        """Store a job; durable when this returns. Raises `UniqueConflict` where its unique key is another input's."""
        reply = await self._client.call(contract.ENQUEUE, job, operation_id)
        if reply.error is not None:
            raise reply.error.error()
        return reply

    async def enqueue_many(self, jobs: Sequence[NewJob], *, operation_id: str | None = None) -> Sequence[Enqueued]:
        """Store 1 to 1000 jobs in one transaction, in order; all are stored, or an invalid one is raised with its path.

        Jobs that lost their unique key to another input have ``error`` set in their answer.
        """
        reply = await self._client.call(contract.ENQUEUE_MANY, EnqueueJobs(jobs=[*jobs]), operation_id)
        return reply.jobs

    async def get(self, id: int) -> Job:
        """A job, whole; raises `NotFound`."""
        return await self._client.call(contract.GET_JOB, JobRef(id=id))

    async def wait(self, id: int, wait: str = "30s") -> Job:
        """The job when it has ended, or as it is after ``wait`` (30s at most)."""
        return await self._client.call(contract.WAIT_JOB, WaitJob(id=id, wait=wait))

    async def list(
        self,
        *,
        state: Sequence[State | str] | None = None,
        queue: Sequence[str] | None = None,
        kind: Sequence[str] | None = None,
        schedule: str | None = None,
        batch: int | None = None,
        parent: int | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        """A page of jobs, newest first; raises `InvalidCursor`."""
        request = ListJobs(
            state=None if state is None else [State(one) for one in state],
            queue=None if queue is None else [*queue],
            kind=None if kind is None else [*kind],
            schedule=schedule,
            batch=batch,
            parent=parent,
            created_after=created_after,
            created_before=created_before,
            limit=limit,
            cursor=cursor,
        )
        return await self._client.call(contract.LIST_JOBS, request)

    async def search(
        self,
        query: str = "",
        *,
        sort: SortText = "-created",
        limit: int = 50,
        cursor: str | None = None,
        count: bool = False,
        jq: str | None = None,
    ) -> SearchPage:
        """A page of the jobs that match; it may be short and still have a cursor, see ``searched``.

        Raises `InvalidQuery`, `InvalidCursor`.
        """
        request = SearchJobs(query=query, sort=sort, limit=limit, cursor=cursor, count=count, jq=jq)
        return await self._client.call(contract.SEARCH_JOBS, request)

    async def check_query(self, query: str, *, sort: SortText = "-created") -> CheckedQuery:
        """What a query means and how it is answered; ``fault`` where it cannot be read."""
        return await self._client.call(contract.CHECK_QUERY, CheckQuery(query=query, sort=sort))

    async def facets(self, field: str, *, prefix: str = "", query: str = "", limit: int = 20) -> Facets:
        """Frequent values of a field among the newest matching jobs."""
        request = ListFacets(field=field, prefix=prefix, query=query, limit=limit)
        return await self._client.call(contract.JOB_FACETS, request)

    async def dependencies(
        self, id: int, *, results: bool = False, limit: int = 100, cursor: str | None = None
    ) -> DependencyPage:
        """What the job waits for, or waited for, by id; with ``results`` (limit 200) what came out of each."""
        request = ListDependencies(id=id, results=results, limit=limit, cursor=cursor)
        return await self._client.call(contract.JOB_DEPENDENCIES, request)

    async def children(self, id: int, *, limit: int = 50, cursor: str | None = None) -> JobPage:
        """The jobs that are part of its work, newest first."""
        return await self._client.call(contract.JOB_CHILDREN, ListChildren(id=id, limit=limit, cursor=cursor))

    async def events(self, id: int) -> Sequence[JobEvent]:
        """What happened to the job, in order."""
        return (await self._client.call(contract.JOB_EVENTS, JobRef(id=id))).events

    async def logs(self, id: int, *, after: int = 0, limit: int = 500) -> LogPage:
        """Log lines after line number ``after``."""
        return await self._client.call(contract.JOB_LOGS, ListLogs(id=id, after=after, limit=limit))

    async def follow_logs(self, id: int, *, after: int = 0) -> AsyncStream[LogLine]:
        """Log lines after line number ``after`` as they come, until the job has ended; across reconnects.

        Close the iterator to stop before. Raises `NotFound`, and `Unavailable` where the server stays out of reach.
        """
        async with aclosing(follow(self._client, LOG_STREAM, FollowLogs(id=id, after=after))) as messages:
            async for message in messages:
                if message.name == END:
                    return
                yield decode_reply(message.data, LogLine)

    async def why(self, id: int) -> Why:
        """What a job waits for: one sentence, and everything that keeps it, first what is met first."""
        return await self._client.call(contract.WHY_JOB, JobRef(id=id))

    async def explain(self, id: int) -> Explanation:
        """Why the job is where it is, and what happens next."""
        return await self._client.call(contract.EXPLAIN_JOB, JobRef(id=id))

    async def cancel(self, id: int, *, note: str = "", actor: str = "", operation_id: str | None = None) -> JobSummary:
        """Cancel a job; a running one is asked to stop. Raises `Conflict` where it has ended."""
        request = CancelJob(id=id, note=note, actor=actor)
        return await self._client.call(contract.CANCEL_JOB, request, operation_id)

    async def delete(self, id: int, *, operation_id: str | None = None) -> None:
        """Delete a job that is not running, with all that is known of it."""
        await self._client.call(contract.DELETE_JOB, JobRef(id=id), operation_id)

    async def claim(
        self,
        worker: str,
        queues: Sequence[str],
        *,
        limit: int = 1,
        lease: str = "15s",
        wait: str = "0s",
        operation_id: str | None = None,
    ) -> Claimed:
        """Take up to ``limit`` ready jobs, waiting up to ``wait`` (60s at most) while there are none."""
        request = ClaimJobs(worker=worker, queues=[*queues], limit=limit, lease=lease, wait=wait)
        return await self._client.call(contract.CLAIM, request, operation_id)

    async def settle(self, outcomes: Sequence[Outcome]) -> Sequence[Settled]:
        """End up to 1000 attempts; each answer has the job's state, or the error (`lease_lost`) it was refused with."""
        return (await self._client.call(contract.SETTLE, SettleJobs(outcomes=[*outcomes]))).results

    async def heartbeat(self, worker: str, beats: Sequence[Beat], *, lease: str = "15s") -> HeartbeatReply:
        """Renew leases and tell progress, state blobs and log lines; learn which jobs to stop."""
        request = Heartbeat(worker=worker, lease=lease, beats=[*beats])
        named = any(beat.logs or beat.chunks for beat in beats)
        return await self._client.call(contract.HEARTBEAT, request, new_operation_id() if named else None)

    async def steps(self, id: int) -> Sequence[Step]:
        """The job's recorded steps, in order."""
        return (await self._client.call(contract.STEPS, JobRef(id=id))).steps

    async def all_steps(self, id: int) -> Steps:
        """The recorded steps, and those of kind ``llm`` or ``tool`` that an attempt started and did not record.

        One that a later attempt recorded stays among them, for it ran twice; ``live`` counts every run.
        """
        return await self._client.call(contract.STEPS, JobRef(id=id))

    async def record_step(self, step: RecordStep) -> RecordedStep:
        """Record a step once; raises `LeaseLost`, and `StepChanged` where it was recorded with another input."""
        return await self._client.call(contract.RECORD_STEP, step)
