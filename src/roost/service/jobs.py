"""Jobs: enqueue, look, wait, cancel, reopen, delete."""

from __future__ import annotations

from roost.domain.duration import parse_duration
from roost.domain.names import check_name
from roost.domain.states import TERMINAL
from roost.engine import calls
from roost.engine.batch import EnqueueWork
from roost.errors import InvalidRequest
from roost.service.admitting import admit, admit_all
from roost.service.core import CallInfo, Core, operation_of
from roost.wire.jobs import (
    CancelJob,
    Empty,
    Enqueued,
    EnqueuedJobs,
    EnqueueJobs,
    Job,
    JobPage,
    JobRef,
    JobSummary,
    ListJobs,
    ListLogs,
    LogPage,
    NewJob,
    WaitJob,
)
from roost.wire.problems import Problem

LONGEST_WAIT_MS = 30_000
ROW_OVERHEAD = 256
"""Bytes a waiting job costs beside its input."""


async def enqueue(core: Core, request: NewJob, call: CallInfo) -> Enqueued:
    """Store one job; raises what admission refuses, `UniqueConflict`, `Overloaded`."""
    row = admit(request, core.rules, core.now, "")
    work = EnqueueWork([row], operation_of("jobs.enqueue", request, call) if call.operation_id else None)
    answer = await core.committer.enqueue(work, len(row.input) + ROW_OVERHEAD)
    if isinstance(answer, Problem):
        refusal = answer.error()
        refusal.path = refusal.path.removeprefix("jobs[0].")
        raise refusal
    stored = answer[0]
    if stored.problem is not None:
        raise stored.problem.error()
    return Enqueued(id=stored.id, duplicate=stored.duplicate)


async def enqueue_many(core: Core, request: EnqueueJobs, call: CallInfo) -> EnqueuedJobs:
    """Store many jobs in one transaction: none where one is refused; unique conflicts are told one by one."""
    rows = admit_all(request.jobs, core.rules, core.now)
    size = sum([len(row.input) + ROW_OVERHEAD for row in rows])
    work = EnqueueWork(rows, operation_of("jobs.enqueue_many", request, call))
    answer = await core.committer.enqueue(work, size)
    if isinstance(answer, Problem):
        raise answer.error()
    return EnqueuedJobs(jobs=[Enqueued(id=each.id, duplicate=each.duplicate, error=each.problem) for each in answer])


async def get(core: Core, request: JobRef, call: CallInfo) -> Job:
    """A job, whole; raises `NotFound`."""
    return await core.read(core.reader.job, request.id)


async def wait(core: Core, request: WaitJob, call: CallInfo) -> Job:
    """The job as soon as it is terminal, or as it is after ``wait`` (30 s at most); raises `NotFound`."""
    wait_ms = parse_duration(request.wait, path="wait")
    if wait_ms > LONGEST_WAIT_MS:
        raise InvalidRequest("wait is over 30s", path="wait", help="wait for 30s at most, and ask again")
    # Watched before it is read: an end in between would otherwise be missed.
    ended = core.hub.watch(request.id)
    try:
        until = core.clock.monotonic() + wait_ms / 1000
        while True:
            ended.clear()
            job = await core.read(core.reader.job, request.id)
            left = until - core.clock.monotonic()
            if job.state in TERMINAL or left <= 0 or core.hub.closed:
                return job
            if not await core.clock.wait(ended, left):
                return await core.read(core.reader.job, request.id)
    finally:
        core.hub.unwatch(request.id, ended)


async def page(core: Core, request: ListJobs, call: CallInfo) -> JobPage:
    """A page of jobs, newest first; raises `InvalidCursor`, and `InvalidRequest` for a filter by what is no name."""
    for field, names in (("queue", request.queue), ("kind", request.kind)):
        for index, name in enumerate(names or ()):
            check_name(name, f"{field}[{index}]")
    if request.schedule is not None:
        check_name(request.schedule, "schedule")
    return await core.read(core.reader.jobs, request)


async def logs(core: Core, request: ListLogs, call: CallInfo) -> LogPage:
    """A job's log lines; raises `NotFound`."""
    return await core.read(core.reader.logs, request.id, request.after, request.limit)


async def cancel(core: Core, request: CancelJob, call: CallInfo) -> JobSummary:
    """Cancel a job, or ask a running one to stop; raises `NotFound`, `Conflict` where it has ended."""
    action = calls.CancelJobs(request.id, actor=request.actor or call.actor, note=request.note)
    return await core.act(action, JobSummary, name="jobs.cancel", request=request, call=call)


async def delete(core: Core, request: JobRef, call: CallInfo) -> Empty:
    """Delete a job that is not running; raises `NotFound`, `Conflict`."""
    return await core.act(
        calls.DeleteJobs(request.id, actor=call.actor), Empty, name="jobs.delete", request=request, call=call
    )
