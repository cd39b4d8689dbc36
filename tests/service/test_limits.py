"""Limits through the service: whoever waits for a job learns of room in the commit, or the moment, that makes it."""

from __future__ import annotations

import asyncio

import pytest

from roost.domain.records import FairRule, LimitRule, QueueRules
from roost.domain.states import State
from roost.engine.store import Store
from roost.engine.work import ordering
from roost.errors import InvalidRequest
from roost.service import ranker
from roost.wire import contract
from roost.wire.jobs import CloneJob, Limit
from roost.wire.limits import EditLimit, ListLimits
from roost.wire.queues import EditQueue
from tests.service.calls import claim, enqueue, job, settle_one, state
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock, settle
from tests.service.watched_store import WatchedStore

pytestmark = pytest.mark.feature("limits")

ONE = [Limit(key="press", concurrency=1)]


async def test_a_slot_that_is_given_back_wakes_a_claim(store: Store, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(store)
    first, second = [await enqueue(runtime, limits=ONE) for _ in range(2)]
    token, ids = await claim(runtime, limit=5)
    assert ids == [first]
    waiting = asyncio.create_task(claim(runtime, wait="30s"))
    while await state(runtime, second) is not State.WAITING:
        await asyncio.sleep(0)
    await settle_one(runtime, first, token)
    assert (await asyncio.wait_for(waiting, 10))[1] == [second]


@pytest.mark.parametrize("of", ["key", "queue"])
async def test_a_rate_wakes_a_claim_when_it_allows_more(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock, of: str
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    limits = None
    if of == "queue":
        await runtime.handle(contract.EDIT_QUEUE, EditQueue(name="default", rules=QueueRules(rate="1/s")))
    else:
        limits = [Limit(key="vendor", rate="1/s")]
    ids = [await enqueue(runtime, limits=limits) for _ in range(3)]
    assert (await claim(runtime, limit=5))[1] == ids[:1]
    for id in ids[1:]:
        waiting = asyncio.create_task(claim(runtime, wait="30s"))
        await clock.advance(900)
        assert not waiting.done()
        await clock.advance(150)
        await settle()
        assert waiting.done(), "within a moment of its time"
        assert waiting.result()[1] == [id]


async def test_a_queues_slot_wakes_a_claim(store: Store, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(store)
    await runtime.handle(contract.EDIT_QUEUE, EditQueue(name="default", rules=QueueRules(concurrency=1)))
    first, second = [await enqueue(runtime) for _ in range(2)]
    token, ids = await claim(runtime, limit=5)
    assert ids == [first]
    waiting = asyncio.create_task(claim(runtime, wait="30s"))
    await settle()
    await settle_one(runtime, first, token)
    assert (await asyncio.wait_for(waiting, 10))[1] == [second]


async def test_queue_rules_reach_the_jobs_of_the_next_call(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store)
    rules = QueueRules(limits=[LimitRule(key="{kind}", concurrency=1)])
    await runtime.handle(contract.EDIT_QUEUE, EditQueue(name="default", rules=rules))
    mine = [await enqueue(runtime, "a"), await enqueue(runtime, "a"), await enqueue(runtime, "b")]
    assert (await claim(runtime, limit=5))[1] == [mine[0], mine[2]]
    told = (await runtime.handle(contract.LIST_LIMITS, ListLimits())).limits
    assert {each.key: (each.running, each.waiting) for each in told} == {"a": (1, 1), "b": (1, 0)}
    await runtime.handle(contract.EDIT_LIMIT, EditLimit(key="a", concurrency=2))
    assert (await claim(runtime, limit=5))[1] == [mine[1]]


async def test_pages_of_limits_hold_each_key_once(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store)
    keys = [f"tenant:{number:02}/é" for number in range(7)]
    for key in keys:
        await runtime.handle(contract.EDIT_LIMIT, EditLimit(key=key, concurrency=1))
    found: list[str] = []
    cursor = None
    while True:
        page = await runtime.handle(contract.LIST_LIMITS, ListLimits(prefix="tenant:", limit=3, cursor=cursor))
        found += [each.key for each in page.limits]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == keys
    with pytest.raises(InvalidRequest):
        await runtime.handle(contract.EDIT_LIMIT, EditLimit(key="queue:default", concurrency=1))


async def test_a_clone_counts_against_the_limits_of_its_original(
    memory_store: WatchedStore, make_runtime: MakeRuntime
) -> None:
    runtime = await make_runtime(memory_store)
    first = await enqueue(runtime, limits=ONE)
    assert (await job(runtime, first)).limits == ONE
    copy = await runtime.handle(contract.CLONE_JOB, CloneJob(id=first))
    assert (await claim(runtime, limit=5))[1] == [first]
    assert await state(runtime, copy.id) is State.WAITING


@pytest.mark.feature("fairness")
async def test_a_long_line_is_put_into_a_new_order_behind_the_edit(
    store: Store, make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "SET", 5)
    monkeypatch.setattr(ranker, "SET", 5)
    monkeypatch.setattr(ranker, "READ_AT_ONCE", 10)
    runtime = await make_runtime(store)
    many = [await enqueue(runtime, tags={"tenant": "many"}) for _ in range(20)]
    few = [await enqueue(runtime, tags={"tenant": "few"}) for _ in range(2)]
    rules = QueueRules(fairness=FairRule(key="{tags.tenant}"))
    await runtime.handle(contract.EDIT_QUEUE, EditQueue(name="default", rules=rules))
    async with asyncio.timeout(30):
        while store.reader.rankings():
            await asyncio.sleep(0.01)
    assert (await claim(runtime, limit=5))[1] == [many[0], few[0], many[1], few[1], many[2]]
