"""Batches, dependencies, children and signals: what jobs have to do with each other."""

from __future__ import annotations

from roost.domain.admission import INPUT_LIMIT
from roost.domain.flow import CallbackEvent
from roost.domain.records import JobRow
from roost.engine import calls
from roost.errors import InvalidRequest, RoostError
from roost.service.admitting import admit, admit_all, checked, refuse_flow
from roost.service.core import CallInfo, Core
from roost.wire.batches import Batch, BatchPage, BatchRef, CancelBatch, ListBatches, NewBatch
from roost.wire.flow import DependencyPage, ListChildren, ListDependencies, NewSignal, SentSignal
from roost.wire.jobs import JobPage, ListJobs, NewJob


async def create_batch(core: Core, request: NewBatch, call: CallInfo) -> Batch:
    """Store a batch with its jobs, none where one is refused; raises as an enqueue, with the job's path."""
    for place, job in enumerate(request.jobs):
        if job.batch is not None:
            raise InvalidRequest(
                "the job belongs to the batch that is being made", path=f"jobs[{place}].batch", help="leave it out"
            )
    rows = admit_all(request.jobs, core.rules, core.now)
    wanted: dict[CallbackEvent, NewJob | None] = {
        "complete": request.on_complete,
        "success": request.on_success,
        "failure": request.on_failure,
    }
    callbacks: list[tuple[CallbackEvent, JobRow]] = [
        (event, _callback(core, job, f"on_{event}.")) for event, job in wanted.items() if job is not None
    ]
    action = calls.CreateBatch(
        name=request.name, chain=request.chain, rows=rows, callbacks=callbacks, seal=request.seal
    )
    return await core.act(action, Batch, name="batches.create", request=request, call=call)


def _callback(core: Core, job: NewJob, path: str) -> JobRow:
    refuse_flow(job, path, "a callback")
    for field in ("run_at", "expires_at"):
        if getattr(job, field) is not None:
            raise InvalidRequest(
                "a callback's times count from the batch's end",
                path=f"{path}{field}",
                help="give a delay or a ttl instead",
            )
    try:
        return admit(job, core.rules, core.now, "")
    except RoostError as error:
        error.path = path + error.path
        raise


async def get_batch(core: Core, request: BatchRef, call: CallInfo) -> Batch:
    """A batch and how far it is; raises `NotFound`."""
    return await core.read(core.reader.flow.batch, request.id)


async def batches(core: Core, request: ListBatches, call: CallInfo) -> BatchPage:
    """A page of batches, newest first; raises `InvalidCursor`."""
    return await core.read(core.reader.flow.batches, request)


async def seal_batch(core: Core, request: BatchRef, call: CallInfo) -> Batch:
    """No more jobs join; sealing again changes nothing. Raises `NotFound`."""
    return await core.act(calls.SealBatch(request.id), Batch, name="batches.seal", request=request, call=call)


async def cancel_batch(core: Core, request: CancelBatch, call: CallInfo) -> Batch:
    """Seal it and cancel all its jobs that have not ended, in sets; raises `NotFound`.

    Cut short by a failure, it is repeated to go on.
    """
    after, more = -1, True
    while more:
        action = calls.CancelBatch(request.id, after, actor=request.actor or call.actor, note=request.note)
        acted = await core.act_for_itself(action)
        after, more = int(acted.reply), acted.more
    return await core.read(core.reader.flow.batch, request.id)


async def dependencies(core: Core, request: ListDependencies, call: CallInfo) -> DependencyPage:
    """What a job waits for, or waited for; raises `NotFound`, `InvalidCursor`."""
    return await core.read(core.reader.flow.dependencies, request)


async def children(core: Core, request: ListChildren, call: CallInfo) -> JobPage:
    """A job's children, newest first; raises `NotFound`, `InvalidCursor`."""
    await core.read(core.reader.flow.check, request.id)
    return await core.read(core.reader.jobs, ListJobs(parent=request.id, limit=request.limit, cursor=request.cursor))


async def send_signal(core: Core, request: NewSignal, call: CallInfo) -> SentSignal:
    """Tell jobs that wait for it; raises `NotFound`, `TooLarge`, `InvalidJson`."""
    data = checked(request.data, INPUT_LIMIT, "data")
    action = calls.SendSignal(request.name, data, request.job)
    return await core.act(action, SentSignal, name="signals.send", request=request, call=call)
