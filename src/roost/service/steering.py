"""What people do to stored jobs: move, run now, hold, clone, edit, note; take and update tracked ones."""

from __future__ import annotations

from datetime import datetime

from roost.domain.admission import SAVED_LIMIT, check_tags, moment
from roost.domain.names import check_name
from roost.domain.placing import Place
from roost.domain.priority import number
from roost.domain.records import JobEdit
from roost.domain.settle import Ending
from roost.domain.tracked import PREFIX
from roost.engine import calls
from roost.errors import InvalidRequest
from roost.service import jobs
from roost.service.admitting import checked, checked_input, checked_or_none, metadata_text
from roost.service.attempts import error_text, read_lease
from roost.service.core import CallInfo, Core
from roost.wire.codec import encode
from roost.wire.jobs import (
    ChunkPage,
    CloneJob,
    EditJob,
    Enqueued,
    ErrorInfo,
    HoldJob,
    JobSummary,
    ListChunks,
    MoveJob,
    NewJob,
    NoteJob,
    ReopenJob,
    RunJob,
    TakeJob,
    TakenJob,
    Unique,
    UpdateJob,
)


async def reopen(core: Core, request: ReopenJob, call: CallInfo) -> JobSummary:
    """Run a terminal job again, maybe with another input or in another queue; raises `NotFound`, `Conflict`."""
    text = None
    if request.queue is not None:
        check_name(request.queue, "queue")
    if request.input is not None:
        known = await core.read(core.reader.job, request.id)
        queue = known.queue if request.queue is None else request.queue
        edited = NewJob(kind=known.kind, input=request.input, queue=queue)
        text = checked_input(edited, core.rules, "")
    action = calls.ReopenJobs(
        request.id,
        actor=request.actor or call.actor,
        note=request.note,
        input=text,
        queue=request.queue,
        hold=None if request.queue is None else core.rules.of(request.queue).hold,
    )
    return await core.act(action, JobSummary, name="jobs.reopen", request=request, call=call)


async def move(core: Core, request: MoveJob, call: CallInfo) -> JobSummary:
    """Another queue, priority or time for a job that has not started; raises `NotFound`, `Conflict`."""
    action = calls.MoveJobs(
        request.id,
        place(core, request.queue, request.priority, request.run_at, request.delay),
        actor=request.actor or call.actor,
        note=request.note,
    )
    return await core.act(action, JobSummary, name="jobs.move", request=request, call=call)


def place(
    core: Core, queue: str | None, priority: int | str | None, run_at: datetime | None, delay: str | None
) -> Place:
    """What a move asks for; raises `InvalidRequest` where it asks for nothing, or for no name."""
    if queue is None and priority is None and run_at is None and delay is None:
        raise InvalidRequest("nothing to change", path="queue", help="give a queue, a priority, a run_at or a delay")
    return Place(
        queue=None if queue is None else check_name(queue, "queue"),
        priority=None if priority is None else number(priority),
        run_at=moment(run_at, delay, core.now(), "run_at", "delay"),
        hold=None if queue is None else core.rules.of(queue).hold,
    )


async def run_now(core: Core, request: RunJob, call: CallInfo) -> JobSummary:
    """Start a job that waits for a time as soon as a worker is free; raises `NotFound`, `Conflict`."""
    action = calls.RunJobs(request.id, actor=request.actor or call.actor, note=request.note)
    return await core.act(action, JobSummary, name="jobs.run_now", request=request, call=call)


async def hold(core: Core, request: HoldJob, call: CallInfo) -> JobSummary:
    """Hold a job that has not started until somebody approves; raises `NotFound`, `Conflict`."""
    action = calls.HoldJobs(request.id, request.title, actor=request.actor or call.actor, note=request.note)
    return await core.act(action, JobSummary, name="jobs.hold", request=request, call=call)


async def clone(core: Core, request: CloneJob, call: CallInfo) -> Enqueued:
    """A new job like an old one, through the same admission as any other; raises `NotFound`, and as `jobs.enqueue`."""
    old = await core.read(core.reader.job, request.id)
    options = await core.read(core.reader.options, request.id)
    unique = None
    if request.unique == "keep" and options.unique_key is not None:
        scope, _, key = options.unique_key.partition("\n")
        unique = Unique(key=key, scope=scope.partition(":")[0])  # type: ignore[arg-type]
    job = NewJob(
        kind=old.kind,
        input=old.input if request.input is None else request.input,
        queue=old.queue if request.queue is None else request.queue,
        priority=old.priority if request.priority is None else request.priority,
        run_at=request.run_at,
        delay=request.delay,
        ttl=request.ttl,
        deadline=request.deadline,
        timeout=old.timeout,
        retry=old.retry,
        unique=unique,
        hold=options.hold,
        tags=old.tags if request.tags is None else request.tags,
        owner=old.owner if request.owner is None else request.owner or None,
        metadata=old.metadata if request.metadata is None else request.metadata,
        limits=old.limits,
    )
    return await jobs.enqueue(core, job, call)


async def edit(core: Core, request: EditJob, call: CallInfo) -> JobSummary:
    """Change tags, owner or metadata of a job in any state; raises `NotFound`, `InvalidRequest`, `TooLarge`."""
    if request.tags is None and not request.untag and request.owner is None and request.metadata is None:
        raise InvalidRequest("nothing to change", path="tags", help="give tags, untag, owner or metadata")
    for index, key in enumerate(request.untag):
        check_name(key, f"untag[{index}]")
    metadata = None
    if request.metadata is not None:
        cleared = bytes(request.metadata).strip() == b"null"
        metadata = "null" if cleared else metadata_text(request.metadata, "metadata")
    change = JobEdit(tags=check_tags(request.tags, "tags"), untag=request.untag, owner=request.owner, metadata=metadata)
    action = calls.EditJobs(request.id, change, actor=request.actor or call.actor)
    return await core.act(action, JobSummary, name="jobs.edit", request=request, call=call)


async def note(core: Core, request: NoteJob, call: CallInfo) -> JobSummary:
    """Write a line into a job's history, in any state; raises `NotFound`."""
    action = calls.NoteJobs(request.id, request.text, actor=request.actor or call.actor)
    return await core.act(action, JobSummary, name="jobs.note", request=request, call=call)


async def chunks(core: Core, request: ListChunks, call: CallInfo) -> ChunkPage:
    """A job's result chunks, in the order they came; raises `NotFound`."""
    return await core.read(core.reader.chunks, request.id, request.after, request.limit)


async def take(core: Core, request: TakeJob, call: CallInfo) -> TakenJob:
    """Start an attempt of a ready job by hand; raises `NotFound`, `Conflict`."""
    action = calls.TakeJob(
        id=request.id,
        worker=check_name(request.worker, "worker"),
        token=PREFIX + core.ids.token(),
        lease_ms=None if request.lease is None else read_lease(request.lease),
    )
    return await core.act(action, TakenJob, name="jobs.take", request=request, call=call)


async def update(core: Core, request: UpdateJob, call: CallInfo) -> JobSummary:
    """What became of a tracked attempt; raises `NotFound`, and `LeaseLost` where it is not the current one."""
    limit = core.settings.payload_limit
    action = calls.UpdateJob(
        id=request.id,
        attempt=request.attempt,
        ending=_ending(core, request),
        lease_ms=None if request.lease is None else read_lease(request.lease),
        progress=None if request.progress is None else encode(request.progress).decode(),
        saved=checked_or_none(request.saved, SAVED_LIMIT, "saved"),
        chunks=[checked(chunk, limit, f"chunks[{i}]", "payload_limit") for i, chunk in enumerate(request.chunks)],
        note=request.note,
        actor=request.actor or call.actor,
    )
    return await core.act(action, JobSummary, name="jobs.update", request=request, call=call)


def _ending(core: Core, request: UpdateJob) -> Ending | None:
    result = checked_or_none(request.result, core.settings.payload_limit, "result", "payload_limit")
    if request.state in ("running", "ready") and (result is not None or request.summary is not None):
        raise InvalidRequest(
            f"a job that is {request.state} has no result yet",
            path="result" if result is not None else "summary",
            help="say it with state succeeded; while it runs, there are note, progress and chunks",
        )
    if request.error is not None and request.state != "failed":
        raise InvalidRequest("only a failure has an error", path="error", help="leave it out, or say state failed")
    if request.state == "succeeded":
        return Ending(kind="succeed", result=result, summary=request.summary)
    if request.state == "failed":
        error = request.error or ErrorInfo(type="Failed", message=request.note or request.summary or "")
        return Ending(kind="fail", error=error_text(error), fatal=not request.retry, summary=request.summary)
    if request.state == "cancelled":
        return Ending(kind="cancel", summary=request.summary)
    return Ending(kind="release") if request.state == "ready" else None
