"""Claims that wait: woken once, never forgotten, and no lease is left with nobody."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from roost.domain.states import State
from roost.engine.batch import ClaimWork, Effects
from roost.engine.store import Store
from roost.service.core import HostKind
from roost.service.hub import Hub
from roost.wire import contract
from roost.wire.jobs import WaitJob
from roost.wire.queues import PauseQueue
from tests.service.calls import claim, enqueue, job, settle_one, state
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock, settle
from tests.service.watched_store import WatchedStore

pytestmark = pytest.mark.feature("claim")


async def test_a_waiting_claim_joins_the_transaction_that_feeds_it(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    waiting = asyncio.create_task(claim(runtime, wait="10s"))
    await settle()
    memory_store.batches.clear()
    id = await enqueue(runtime)
    assert (await waiting)[1] == [id]
    assert [(len(batch.enqueues), len(batch.claims)) for batch in memory_store.batches] == [(1, 1)]


async def test_one_job_wakes_one_of_many_claims(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    waiting = [asyncio.create_task(claim(runtime, wait="10s")) for _ in range(20)]
    await settle()
    memory_store.batches.clear()
    id = await enqueue(runtime)
    await settle()
    assert sum(len(batch.claims) for batch in memory_store.batches) == 1
    assert [task.result()[1] for task in waiting if task.done()] == [[id]]
    assert waiting[0].done(), "first come, first served"
    await runtime.quiesce()
    assert [ids for _, ids in await asyncio.gather(*waiting[1:])] == [[]] * 19


async def test_a_claim_that_waits_in_vain_comes_back_empty_in_time(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    waiting = asyncio.create_task(claim(runtime, wait="20s"))
    await clock.advance(19_999)
    assert not waiting.done()
    await clock.advance(1)
    assert waiting.done()
    assert (await waiting)[1] == []


async def test_a_claim_of_a_paused_queue_goes_on_waiting_and_starts_when_it_is_resumed(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    await runtime.handle(contract.PAUSE_QUEUE, PauseQueue(name="default"))
    waiting = asyncio.create_task(claim(runtime, wait="10s"))
    id = await enqueue(runtime)
    await settle()
    assert not waiting.done()
    await runtime.handle(contract.RESUME_QUEUE, PauseQueue(name="default"))
    assert (await asyncio.wait_for(waiting, 5))[1] == [id]


async def test_a_cancelled_claim_gives_back_what_it_was_granted(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, host="thread", loops=False)
    ids = [await enqueue(runtime) for _ in range(3)]
    memory_store.hold_up()
    gone = asyncio.create_task(claim(runtime, limit=3))
    await settle()
    await asyncio.to_thread(memory_store.wait_until_one_is_in_flight)
    gone.cancel()
    await settle()
    memory_store.let_go()
    _, found = await asyncio.wait_for(claim(runtime, limit=3, wait="10s"), 5)
    while len(found) < 3:
        found += (await asyncio.wait_for(claim(runtime, limit=3, wait="10s"), 5))[1]
    assert sorted(found) == ids
    assert [(await job(runtime, id)).failures for id in ids] == [0, 0, 0]


async def test_a_claim_cancelled_at_the_moment_of_its_answer_gives_it_back(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    waiting = asyncio.create_task(claim(runtime, wait="10s"))
    await settle()
    id = await enqueue(runtime)
    # The leases are on their way; the task has not run since.
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await asyncio.wait_for(claim(runtime, wait="10s"), 5))[1] == [id]


async def test_a_cancelled_claim_passes_its_wake_on(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    await runtime.handle(contract.PAUSE_QUEUE, PauseQueue(name="default"))
    id = await enqueue(runtime)
    first = asyncio.create_task(claim(runtime, wait="10s"))
    await settle()
    second = asyncio.create_task(claim(runtime, wait="10s"))
    await settle()
    resumed = asyncio.create_task(runtime.handle(contract.RESUME_QUEUE, PauseQueue(name="default")))
    resumed.add_done_callback(lambda _: first.cancel())
    await resumed
    assert (await asyncio.wait_for(second, 5))[1] == [id]
    assert first.cancelled()


async def test_a_claim_passes_on_the_wake_of_a_queue_it_took_nothing_from(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    a_then_b = asyncio.create_task(claim(runtime, "a", "b", wait="10s"))
    await settle()
    only_b = asyncio.create_task(claim(runtime, "b", wait="10s"))
    await settle()
    await runtime.handle(contract.PAUSE_QUEUE, PauseQueue(name="b"))
    in_b = await enqueue(runtime, queue="b")
    await settle()
    resume = runtime.handle(contract.RESUME_QUEUE, PauseQueue(name="b"))
    _, in_a = await asyncio.gather(resume, enqueue(runtime, queue="a"))
    assert (await asyncio.wait_for(a_then_b, 5))[1] == [in_a]
    assert (await asyncio.wait_for(only_b, 5))[1] == [in_b]


async def test_what_was_promised_to_a_claim_that_leaves_goes_to_the_next(clock: VirtualClock) -> None:
    hub = Hub(clock)
    first, second, third = (hub.register(ClaimWork(["a"], 2, "token", "tester", 1000)) for _ in range(3))
    waits = [asyncio.create_task(hub.wait(waiter, 10)) for waiter in (first, second, third)]
    await settle()
    hub.feed(Effects(ready={"a": 2}))
    assert [waiter.event.is_set() for waiter in (first, second, third)] == [True, False, False]
    waits[0].cancel()
    await settle()
    hub.leave(first, {})
    assert [waiter.event.is_set() for waiter in (second, third)] == [True, False]
    hub.close()
    await asyncio.gather(*waits[1:])


async def test_a_repeated_claim_gets_the_jobs_that_its_lost_reply_carried(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    waiting = asyncio.create_task(claim(runtime, wait="10s", operation="op-1"))
    await settle()
    id = await enqueue(runtime)
    other = await enqueue(runtime)
    first = await waiting
    again = await claim(runtime, wait="10s", operation="op-1")
    assert first == again
    assert first[1] == [id]
    assert (await settle_one(runtime, id, first[0])).state is State.SUCCEEDED
    assert await state(runtime, other) is State.READY


@pytest.mark.parametrize("host", ["inline", "thread"])
@pytest.mark.parametrize("seed", range(3))
async def test_no_wake_is_lost(store: Store, make_runtime: MakeRuntime, host: HostKind, seed: int) -> None:
    """Any lost wake-up leaves a job ready beside sleeping claims, and the test never ends."""
    runtime = await make_runtime(store, host=host)
    rng = random.Random(seed)
    queues = ["a", "b", "c"]
    total = 240
    taken: Counter[int] = Counter()
    done = asyncio.Event()

    async def claimer(number: int) -> None:
        chooser = random.Random(seed * 1000 + number)
        while not done.is_set():
            names = chooser.sample(queues, chooser.randint(1, 3)) if number >= 3 else [queues[number]]
            call = asyncio.create_task(claim(runtime, *names, limit=chooser.randint(1, 4), wait="60s"))
            if chooser.random() < 0.2:
                for _ in range(chooser.randint(0, 30)):
                    await asyncio.sleep(0)
                call.cancel()
            try:
                _, ids = await call
            except asyncio.CancelledError:
                continue
            taken.update(ids)
            if len(taken) == total:
                done.set()

    async def enqueuer(count: int) -> None:
        for _ in range(count):
            await enqueue(runtime, queue=rng.choice(queues), **({"delay": "20ms"} if rng.random() < 0.2 else {}))
            for _ in range(rng.randint(0, 5)):
                await asyncio.sleep(0)

    claimers = [asyncio.create_task(claimer(number)) for number in range(12)]
    async with asyncio.timeout(30):
        await asyncio.gather(*(enqueuer(total // 8) for _ in range(8)))
        await done.wait()
    await runtime.quiesce()
    await asyncio.gather(*claimers)
    assert set(taken.values()) == {1}


async def test_waiting_for_a_job_ends_with_the_job(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    id = await enqueue(runtime)
    token, _ = await claim(runtime)
    waiting = asyncio.create_task(runtime.handle(contract.WAIT_JOB, WaitJob(id=id, wait="20s")))
    await settle()
    assert not waiting.done()
    await settle_one(runtime, id, token)
    assert (await asyncio.wait_for(waiting, 5)).state is State.SUCCEEDED


async def test_waiting_for_a_job_ends_in_time(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    id = await enqueue(runtime)
    waiting = asyncio.create_task(runtime.handle(contract.WAIT_JOB, WaitJob(id=id, wait="20s")))
    await clock.advance(19_999)
    assert not waiting.done()
    await clock.advance(1)
    assert (await waiting).state is State.READY
