"""What arrives while a commit is in flight shares the next one; what is shed, and what never is."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from roost.errors import Contended, Overloaded, StoreError, Unavailable
from roost.service.committer import Budget
from roost.service.core import RuntimeSettings
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.attempts import RecordStep
from roost.wire.jobs import EnqueueJobs, JobRef, NewJob, Unique
from roost.wire.queues import PauseQueue
from tests.service.calls import beat_one, claim, enqueue, job, settle_one
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import settle
from tests.service.watched_store import WatchedStore


async def in_flight(store: WatchedStore, runtime: Runtime) -> asyncio.Task[int]:
    """An enqueue whose transaction was begun and is held up."""
    store.hold_up()
    task = asyncio.create_task(enqueue(runtime, "first"))
    await settle()
    await asyncio.to_thread(store.wait_until_one_is_in_flight)
    return task


async def test_an_idle_server_commits_each_call_at_once(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    for _ in range(3):
        await enqueue(runtime)
    assert [len(batch.enqueues) for batch in memory_store.batches] == [1, 1, 1]


async def test_calls_of_one_moment_share_a_transaction(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    ids = await asyncio.gather(*(enqueue(runtime) for _ in range(50)))
    assert len(set(ids)) == 50
    assert [len(batch.enqueues) for batch in memory_store.batches] == [50]


async def test_what_arrives_during_a_commit_becomes_the_next(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, host="thread", loops=False)
    running = await enqueue(runtime, queue="running")
    token, [leased] = await claim(runtime, "running")
    memory_store.batches.clear()
    first = await in_flight(memory_store, runtime)
    later = [asyncio.create_task(enqueue(runtime)) for _ in range(100)]
    beat = asyncio.create_task(beat_one(runtime, leased, token))
    await settle()
    ended = asyncio.create_task(settle_one(runtime, leased, token))
    await settle()
    memory_store.let_go()
    ids = await asyncio.gather(first, *later)
    assert len(set(ids)) == 101
    assert (await beat).error is None
    assert (await ended).error is None
    assert leased == running
    shapes = [(len(batch.enqueues), len(batch.beats), len(batch.settles)) for batch in memory_store.batches]
    assert shapes == [(1, 0, 0), (100, 1, 1)]


async def test_a_batch_is_bounded(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    budget = Budget(batch_rows=10)
    runtime = await make_runtime(memory_store, loops=False, settings=RuntimeSettings(budget=budget))
    await asyncio.gather(*(enqueue(runtime) for _ in range(25)))
    assert [len(batch.enqueues) for batch in memory_store.batches] == [10, 10, 5]


async def test_a_batch_is_bounded_in_bytes(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    budget = Budget(batch_bytes=50_000)
    runtime = await make_runtime(memory_store, loops=False, settings=RuntimeSettings(budget=budget))
    text = msgspec.Raw(b'"' + b"x" * 20_000 + b'"')
    await asyncio.gather(*(enqueue(runtime, input=text) for _ in range(4)))
    assert [len(batch.enqueues) for batch in memory_store.batches] == [2, 2]


async def test_many_jobs_of_one_call_are_one_transaction_even_over_the_budget(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    budget = Budget(rows=10, batch_rows=10)
    runtime = await make_runtime(memory_store, loops=False, settings=RuntimeSettings(budget=budget))
    reply = await runtime.handle(contract.ENQUEUE_MANY, EnqueueJobs(jobs=[NewJob(kind="work")] * 30))
    assert len({each.id for each in reply.jobs}) == 30
    assert len(memory_store.batches) == 1


async def test_overload_sheds_new_work_and_never_what_ends_old_work(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    budget = Budget(rows=5, claims=2, actions=1, retry_after=0.5)
    runtime = await make_runtime(memory_store, host="thread", loops=False, settings=RuntimeSettings(budget=budget))
    for _ in range(3):
        await enqueue(runtime, queue="running")
    token, leased = await claim(runtime, "running", limit=3)
    first = await in_flight(memory_store, runtime)
    waiting = [asyncio.create_task(enqueue(runtime)) for _ in range(5)]
    claims = [asyncio.create_task(claim(runtime, "empty")) for _ in range(2)]
    pause = asyncio.create_task(runtime.handle(contract.PAUSE_QUEUE, PauseQueue(name="other")))
    await settle()

    with pytest.raises(Overloaded) as refused:
        await enqueue(runtime)
    assert refused.value.retry_after == 0.5
    with pytest.raises(Overloaded):
        await claim(runtime, "empty")
    with pytest.raises(Overloaded):
        await runtime.handle(contract.DELETE_JOB, JobRef(id=1))
    step = RecordStep(id=leased[0], token=token, name="one", input_hash="a", output=msgspec.Raw(b"1"))
    recording = asyncio.create_task(runtime.handle(contract.RECORD_STEP, step))
    beats = [asyncio.create_task(beat_one(runtime, leased[1], token)) for _ in range(20)]
    settles = [asyncio.create_task(settle_one(runtime, leased[2], token)) for _ in range(20)]
    await settle()
    memory_store.let_go()
    await asyncio.gather(first, *waiting, *claims, pause)
    assert (await recording).recorded
    assert [beaten.error for beaten in await asyncio.gather(*beats)] == [None] * 20
    assert [settled.error for settled in await asyncio.gather(*settles)] == [None] * 20
    assert runtime.waiting == 0


async def test_a_cancelled_caller_does_not_cancel_the_commit(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, host="thread", loops=False)
    first = await in_flight(memory_store, runtime)
    first.cancel()
    await settle()
    memory_store.let_go()
    second = await enqueue(runtime, "second")
    assert first.cancelled()
    assert [(await job(runtime, id)).kind for id in (second - 1, second)] == ["first", "second"]


async def test_a_call_that_was_cancelled_while_it_waited_is_not_carried_out(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, host="thread", loops=False)
    first = await in_flight(memory_store, runtime)
    gone = asyncio.create_task(enqueue(runtime, "gone"))
    kept = asyncio.create_task(enqueue(runtime, "kept"))
    await settle()
    gone.cancel()
    memory_store.let_go()
    await asyncio.gather(first, kept)
    assert [[row.shape.kind for work in batch.enqueues for row in work.rows] for batch in memory_store.batches] == [
        ["first"],
        ["kept"],
    ]


async def test_a_lost_store_refuses_and_comes_back(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    memory_store.failures += [Unavailable("gone")] * 3
    for _ in range(3):
        runtime.ready()
        with pytest.raises(Unavailable, match="gone"):
            await enqueue(runtime)
    with pytest.raises(Unavailable, match="does not answer"):
        runtime.ready()
    await enqueue(runtime)
    runtime.ready()
    assert not runtime.fatal.is_set()


async def test_a_key_that_another_transaction_holds_is_waited_for_by_nobody_else(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, host="thread", loops=False)
    await enqueue(runtime, queue="running")
    token, [leased] = await claim(runtime, "running")
    first = await in_flight(memory_store, runtime)
    held, free = (Unique(key=key, scope="global") for key in ("held", "free"))
    keyed = [asyncio.create_task(enqueue(runtime, unique=key)) for key in (held, held, free)]
    plain = [asyncio.create_task(enqueue(runtime)) for _ in range(2)]
    ended = asyncio.create_task(settle_one(runtime, leased, token))
    await settle()
    memory_store.batches.clear()
    busy = Contended("held", retry_after=1.0)
    memory_store.failures += [None, busy, None, None, busy]
    memory_store.let_go()
    await asyncio.gather(first, *plain)
    assert (await ended).error is None
    refused = await asyncio.gather(*keyed, return_exceptions=True)
    assert [isinstance(answer, Contended) for answer in refused] == [True, True, False]
    shapes = [(len(batch.settles), len(batch.enqueues)) for batch in memory_store.batches]
    # All; what is never shed; jobs without keys; the held key, once; the free one.
    assert shapes == [(1, 5), (1, 0), (0, 2), (0, 1), (0, 1)]
    runtime.ready()
    # Alone it is refused as it is, and the store is well all the same.
    memory_store.failures += [busy] * 4
    for _ in range(4):
        with pytest.raises(Contended):
            await enqueue(runtime, unique=held)
    runtime.ready()


async def test_a_failed_disk_ends_all_acknowledgement(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    memory_store.failures.append(StoreError("fsync failed"))
    with pytest.raises(StoreError):
        await enqueue(runtime)
    assert runtime.fatal.is_set()
    with pytest.raises(Unavailable, match="fsync failed"):
        await enqueue(runtime)
    with pytest.raises(Unavailable):
        runtime.ready()
    assert len(memory_store.batches) == 1


async def test_stopping_carries_out_what_was_accepted(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, host="thread", loops=False)
    first = await in_flight(memory_store, runtime)
    waiting = [asyncio.create_task(enqueue(runtime)) for _ in range(10)]
    await settle()
    stopping = asyncio.create_task(runtime.stop())
    await settle()
    memory_store.let_go()
    await stopping
    assert len(set(await asyncio.gather(first, *waiting))) == 11
    with pytest.raises(Unavailable):
        await enqueue(runtime)
