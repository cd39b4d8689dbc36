"""Tracked work: states told by hand through the API alone, fenced by the attempt, ended by the rules of every job."""

from __future__ import annotations

import pytest

import roost
from roost.errors import Conflict, InvalidRequest, LeaseLost, NotFound
from roost.wire.attempts import Outcome
from roost.wire.jobs import ErrorInfo, NewJob, Progress

pytestmark = pytest.mark.feature("tracked-work")


async def created(app: roost.App, queue: str, **more: object) -> int:
    return (await app.client.jobs.enqueue(NewJob(kind="review", queue=queue, **more))).id  # type: ignore[arg-type]


async def test_a_job_is_taken_updated_and_ended_by_hand(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    id = await created(app, queue)
    taken = await jobs.take(id, "mia")
    assert (taken.job.state, taken.attempt, taken.job.worker) == ("running", 1, "mia")
    job = await jobs.get(id)
    assert job.lease_until is None, "nobody reaps it"
    await jobs.update(id, 1, note="Started first pass", progress=Progress(current=1, total=3), chunks=[{"page": 1}])
    ended = await jobs.update(id, 1, "succeeded", summary="Brief posted", result={"pages": 3}, chunks=["last"])
    assert ended.state == "succeeded"
    job = await jobs.get(id)
    assert (job.summary, bytes(job.result or b""), job.chunks) == ("Brief posted", b'{"pages":3}', 2)
    assert [bytes(chunk.chunk) for chunk in (await jobs.chunks(id)).chunks] == [b'{"page":1}', b'"last"']
    events = [event.type for event in await jobs.events(id)]
    assert events[:3] == ["created", "started", "note"]
    assert events[-1] == "succeeded"


async def test_a_stale_update_is_refused_and_changes_nothing(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    id = await created(app, queue)
    with pytest.raises(LeaseLost):
        await jobs.update(id, 1, "succeeded")
    await jobs.take(id, "mia")
    await jobs.update(id, 1, "ready", note="not mine")
    await jobs.take(id, "bo")
    for state in ("running", "succeeded", "failed", "cancelled", "ready"):
        with pytest.raises(LeaseLost) as refused:
            await jobs.update(id, 1, state, note="I am late")  # type: ignore[arg-type]
        assert refused.value.status == 409
    job = await jobs.get(id)
    assert (job.state, job.worker, job.attempt) == ("running", "bo", 2)
    await jobs.update(id, 2, "succeeded")
    with pytest.raises(LeaseLost):
        await jobs.update(id, 2, "failed")
    assert "I am late" not in str([event.data for event in await jobs.events(id)])


async def test_a_workers_attempt_is_not_updated_by_hand(app: roost.App, queue: str) -> None:
    id = await created(app, queue)
    claimed = await app.client.jobs.claim("worker", [queue])
    with pytest.raises(LeaseLost):
        await app.client.jobs.update(id, 1, "succeeded")
    (settled,) = await app.client.jobs.settle([Outcome(id=id, token=claimed.token)])
    assert settled.state == "succeeded"


async def test_failures_end_it_or_follow_its_retry_rule(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    (final, again) = [await created(app, queue, retry=roost.RetryRule(retries=1, base="1h", cap="1h")) for _ in "12"]
    for id in (final, again):
        await jobs.take(id, "mia")
    error = ErrorInfo(type="Refused", message="the page is gone")
    assert (await jobs.update(final, 1, "failed", error=error)).state == "failed"
    assert (await jobs.update(again, 1, "failed", error=error, retry=True)).state == "waiting"
    job = await jobs.get(final)
    assert job.error is not None
    assert job.error.message == "the page is gone"


async def test_a_cancel_ends_it_at_once(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    id = await created(app, queue)
    await jobs.take(id, "mia")
    assert (await jobs.cancel(id, note="not needed")).state == "cancelled"
    assert (await jobs.get(id)).reason == "requested"
    with pytest.raises(LeaseLost):
        await jobs.update(id, 1, "succeeded")


async def test_only_a_ready_job_is_taken(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    held = await created(app, queue, hold=roost.HoldRule())
    later = await created(app, queue, delay="1h")
    taken = await created(app, queue)
    await jobs.take(taken, "mia")
    for id in (held, later, taken):
        with pytest.raises(Conflict):
            await jobs.take(id, "bo")
    with pytest.raises(NotFound):
        await jobs.take(10**9, "bo")
    await app.client.queues.pause(queue)
    waiting = await created(app, queue)
    with pytest.raises(Conflict, match="paused"):
        await jobs.take(waiting, "bo")


async def test_results_belong_to_ends(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    id = await created(app, queue)
    await jobs.take(id, "mia")
    with pytest.raises(InvalidRequest) as refused:
        await jobs.update(id, 1, result={"too": "early"})
    assert refused.value.path == "result"
    with pytest.raises(InvalidRequest):
        await jobs.update(id, 1, "succeeded", error=ErrorInfo(type="Oops"))
    assert (await jobs.get(id)).state == "running"


async def test_a_repeated_update_is_one(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    id = await created(app, queue)
    await jobs.take(id, "mia")
    for _ in range(2):
        await jobs.update(id, 1, note="once", chunks=[1], operation_id=f"op-{id}")
        await jobs.update(id, 1, "succeeded", result=2, operation_id=f"end-{id}")
    job = await jobs.get(id)
    assert (job.chunks, job.state) == (1, "succeeded")
    assert [event.type for event in await jobs.events(id)].count("note") == 1
