"""Jobs that wait for jobs, through every transport and engine: what the API promises, and what it refuses."""

from __future__ import annotations

import msgspec
import pytest

import roost
from roost.domain.retry import RetryRule
from roost.domain.schedule import ScheduleRule
from roost.errors import (
    Conflict,
    DependencyCycle,
    InvalidDuration,
    InvalidRequest,
    NotFound,
    RoostError,
    UniqueConflict,
)
from roost.wire import contract
from roost.wire.attempts import NewWait, Outcome
from roost.wire.batches import NewBatch
from roost.wire.jobs import NewJob, Unique
from tests.e2e.stand import ended, eventually, until

pytestmark = [pytest.mark.feature("dependencies"), pytest.mark.feature("batches")]


def new(queue: str, **fields: object) -> NewJob:
    return NewJob(kind="work", queue=queue, retry=RetryRule(retries=0), **fields)  # type: ignore[arg-type]


async def run(app: roost.App, queue: str, limit: int = 1, **outcome: object) -> list[int]:
    """Claim jobs and end their attempts alike; their ids in order."""
    claimed = await app.client.jobs.claim("tester", [queue], limit=limit, wait="5s")
    outcomes = [Outcome(id=job.id, token=claimed.token, **outcome) for job in claimed.jobs]  # type: ignore[arg-type]
    for result in await app.client.jobs.settle(outcomes):
        assert result.error is None, result.error
    return [job.id for job in claimed.jobs]


async def finished(app: roost.App, id: int) -> roost.wire.batches.Batch:  # type: ignore[name-defined]
    async def look() -> object:
        batch = await app.client.batches.get(id)
        return batch if batch.state == "finished" else None

    return await eventually(look, f"batch {id} is finished")


async def test_a_graph_runs_in_its_order(app: roost.App, queue: str) -> None:
    jobs = [
        new(queue, ref="top", after=["left", "right"]),
        new(queue, ref="left", after=["root"]),
        new(queue, ref="right", after=["root"]),
        new(queue, ref="root"),
    ]
    top, left, right, root = [each.id for each in await app.client.jobs.enqueue_many(jobs)]
    waiting = await app.client.jobs.get(top)
    assert (waiting.state, waiting.reason, waiting.waiting_for, waiting.run_at) == ("waiting", "dependency", 2, None)
    assert await run(app, queue, 10) == [root]
    await until(app, right, "ready")
    assert await run(app, queue, 10, result=msgspec.Raw(b'{"n": 1.50}')) == [left, right]
    await until(app, top, "ready")
    page = await app.client.jobs.dependencies(top, results=True)
    assert [(need.id, need.state, need.pending, bytes(need.result or b"")) for need in page.dependencies] == [
        (left, "succeeded", False, b'{"n": 1.50}'),
        (right, "succeeded", False, b'{"n": 1.50}'),
    ]
    assert await run(app, queue) == [top]
    explained = await app.client.jobs.explain(top)
    assert explained.state == "succeeded"


async def test_what_cannot_wait_is_refused_whole(app: roost.App, queue: str) -> None:
    client = app.client.jobs
    cases: list[tuple[list[NewJob], type[RoostError], str]] = [
        ([new(queue, ref="a", after=["b"]), new(queue, ref="b", after=["a"])], DependencyCycle, "jobs[0].after"),
        ([new(queue, ref="a", after=["a"])], DependencyCycle, "jobs[0].after"),
        ([new(queue), new(queue, after=["nobody"])], InvalidRequest, "jobs[1].after[0]"),
        ([new(queue, ref="a"), new(queue, ref="a")], InvalidRequest, "jobs[1].ref"),
        ([new(queue), new(queue, after=[2**40])], NotFound, "jobs[1].after[0]"),
        ([new(queue, batch=2**40)], NotFound, "jobs[0].batch"),
        ([new(queue, parent=2**40)], NotFound, "jobs[0].parent"),
    ]
    for jobs, error, path in cases:
        with pytest.raises(error) as caught:
            await client.enqueue_many(jobs)
        assert caught.value.path == path
        if jobs[0].batch is None:
            with pytest.raises(error) as caught:
                await app.client.batches.create(NewBatch(jobs=jobs))
            assert caught.value.path == path
    with pytest.raises(NotFound) as caught_one:
        await client.enqueue(new(queue, after=[2**40]))
    assert caught_one.value.path == "after[0]"
    with pytest.raises(InvalidRequest) as caught_ref:
        await client.enqueue(new(queue, after=["nobody"]))
    assert caught_ref.value.path == "after[0]"
    assert (await client.list(queue=[queue])).jobs == []


async def test_a_batch_of_mixed_ends_calls_back_once(app: roost.App, queue: str) -> None:
    callback = new(f"{queue}-cb")
    batch = await app.client.batches.create(
        NewBatch(
            name="photos",
            jobs=[new(queue) for _ in range(4)],
            on_complete=callback,
            on_failure=callback,
            on_success=callback,
            seal=False,
        )
    )
    joined = (await app.client.jobs.enqueue(new(queue, batch=batch.id))).id
    assert (await app.client.batches.seal(batch.id)).state == "sealed"
    with pytest.raises(Conflict):
        await app.client.jobs.enqueue(new(queue, batch=batch.id))
    await run(app, queue, 2)
    await run(app, queue, outcome="fail", fatal=True)
    await app.client.jobs.cancel(batch.jobs[3])
    await app.client.jobs.delete(joined)
    told = await finished(app, batch.id)
    assert (told.total, told.succeeded, told.failed, told.cancelled, told.pending) == (5, 2, 1, 2, 0)
    assert len(told.callbacks) == 2
    called = await app.client.jobs.get(told.callbacks[0])
    assert (called.queue, called.batch) == (f"{queue}-cb", batch.id)
    assert len(await run(app, f"{queue}-cb", 10)) == 2
    assert batch.id in [each.id for each in (await app.client.batches.list(state="finished")).batches]
    assert {job.id for job in (await app.client.jobs.list(queue=[queue])).jobs} == set(batch.jobs)


@pytest.mark.feature("chains")
async def test_a_chain_and_its_early_exit(app: roost.App, queue: str) -> None:
    chain = await app.client.batches.create(NewBatch(chain=True, jobs=[new(queue) for _ in range(4)]))
    assert await run(app, queue, 10) == chain.jobs[:1]
    await until(app, chain.jobs[1], "ready")
    assert await run(app, queue, 10, exit=True) == chain.jobs[1:2]
    rest = [await ended(app, id) for id in chain.jobs[2:]]
    assert {(job.state, job.reason) for job in rest} == {("cancelled", "early_exit")}
    told = await finished(app, chain.id)
    assert (told.succeeded, told.skipped) == (2, 2)
    with pytest.raises(InvalidRequest) as caught:
        await app.client.batches.create(NewBatch(chain=True, jobs=[new(queue, ref="a"), new(queue, after=["a"])]))
    assert caught.value.path == "jobs[1].after"


async def test_cancel_a_batch(app: roost.App, queue: str) -> None:
    batch = await app.client.batches.create(NewBatch(jobs=[new(queue) for _ in range(5)], seal=False))
    claimed = await app.client.jobs.claim("tester", [queue])
    assert (await app.client.batches.cancel(batch.id, note="no")).state == "sealed"
    await app.client.jobs.settle([Outcome(id=claimed.jobs[0].id, token=claimed.token)])
    assert (await finished(app, batch.id)).cancelled == 5
    with pytest.raises(NotFound):
        await app.client.batches.cancel(2**40)
    with pytest.raises(NotFound):
        await app.client.batches.get(2**40)


async def test_a_batch_is_refused_whole(app: roost.App, queue: str) -> None:
    await app.client.jobs.enqueue(new(queue, unique=Unique(key=queue), input=msgspec.Raw(b"1")))
    refused: list[tuple[NewBatch, type[RoostError], str]] = [
        (NewBatch(jobs=[new(queue), new(queue, unique=Unique(key=queue))]), UniqueConflict, "jobs[1].unique.key"),
        (NewBatch(jobs=[new(queue, batch=1)]), InvalidRequest, "jobs[0].batch"),
        (NewBatch(on_failure=new(queue, after=[1])), InvalidRequest, "on_failure.after"),
        (NewBatch(on_complete=new(queue, delay="soon")), InvalidDuration, "on_complete.delay"),
        (NewBatch(jobs=[new(queue), new(queue, timeout="x")]), InvalidDuration, "jobs[1].timeout"),
    ]
    for request, error, path in refused:
        with pytest.raises(error) as caught:
            await app.client.batches.create(request)
        assert caught.value.path == path
    assert len((await app.client.jobs.list(queue=[queue])).jobs) == 1


@pytest.mark.feature("children")
async def test_a_parent_waits_for_its_children_and_takes_them_with_it(app: roost.App, queue: str) -> None:
    parent = (await app.client.jobs.enqueue(new(queue))).id
    claimed = await app.client.jobs.claim("tester", [queue])
    children = [(await app.client.jobs.enqueue(new(f"{queue}-c", parent=parent))).id for _ in range(3)]
    listed = (await app.client.jobs.children(parent)).jobs
    assert [job.id for job in listed] == children[::-1]
    wait = Outcome(id=parent, token=claimed.token, outcome="wait", wait=NewWait(jobs=children))
    (settled,) = await app.client.jobs.settle([wait])
    assert settled.state == "waiting"
    assert await run(app, f"{queue}-c") == children[:1]
    await app.client.jobs.cancel(parent)
    for id in children[1:]:
        assert (await ended(app, id)).reason == "parent_cancelled"
    assert (await app.client.jobs.get(children[0])).state == "succeeded"
    with pytest.raises(NotFound):
        await app.client.jobs.children(2**40)
    with pytest.raises(NotFound):
        await app.client.jobs.dependencies(2**40)


@pytest.mark.feature("steps")
async def test_a_signal_ends_a_wait_and_a_timeout_too(app: roost.App, queue: str) -> None:
    first, second = [(await app.client.jobs.enqueue(new(queue))).id for _ in range(2)]
    claimed = await app.client.jobs.claim("tester", [queue], limit=2)
    await app.client.jobs.settle(
        [
            Outcome(
                id=id,
                token=claimed.token,
                outcome="wait",
                wait=NewWait(signal=f"paid/{queue}", step="payment", timeout=timeout),
            )
            for id, timeout in ((first, None), (second, "200ms"))
        ]
    )
    waiting = await app.client.jobs.get(first)
    assert (waiting.reason, waiting.waiting_signal) == ("event", f"paid/{queue}")
    # The second goes on by its timeout, without the step.
    claimed = await app.client.jobs.claim("tester", [queue], wait="10s")
    assert [job.id for job in claimed.jobs] == [second]
    assert await app.client.jobs.steps(second) == []
    assert (await app.client.signals.send(f"paid/{queue}", {"amount": 7})).woken == 1
    assert await run(app, queue) == [first]
    (step,) = await app.client.jobs.steps(first)
    assert (step.name, step.kind, bytes(step.output)) == ("payment", "wait", b'{"amount":7}')


async def test_bad_waits_are_refused_one_by_one(app: roost.App, queue: str) -> None:
    id = (await app.client.jobs.enqueue(new(queue))).id
    claimed = await app.client.jobs.claim("tester", [queue])
    bad = [None, NewWait(), NewWait(jobs=[1], signal="x"), NewWait(jobs=[id]), NewWait(signal="x", timeout="soon")]
    outcomes = [Outcome(id=id, token=claimed.token, outcome="wait", wait=wait) for wait in bad]
    results = await app.client.jobs.settle(outcomes)
    assert all(result.error is not None and "wait" in result.error.path for result in results)
    assert (await app.client.jobs.get(id)).state == "running"


async def test_schedules_make_jobs_that_have_nothing_to_do_with_others(app: roost.App, queue: str) -> None:
    for wish in ({"after": [1]}, {"batch": 1}, {"parent": 1}, {"ref": "a"}):
        with pytest.raises(InvalidRequest) as caught:
            await app.client.schedules.put(f"s-{queue}", ScheduleRule(every="1h"), new(queue, **wish))
        assert caught.value.path == f"job.{next(iter(wish))}"


async def test_the_same_batch_with_the_same_operation_id_is_one(app: roost.App, queue: str) -> None:
    request = NewBatch(jobs=[new(queue)], on_complete=new(f"{queue}-cb"))
    first = await app.client.batches.create(request, operation_id=f"make-{queue}")
    assert await app.client.batches.create(request, operation_id=f"make-{queue}") == first
    assert len((await app.client.jobs.list(queue=[queue])).jobs) == 1
    assert contract.CREATE_BATCH.mutates
