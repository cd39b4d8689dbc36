"""Ends are carried on at once by the node that made them, and by any other where it died before it did."""

from __future__ import annotations

import pytest

from roost.domain.states import State
from roost.engine.calls import AdvanceFlow
from roost.errors import Unavailable
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.batches import BatchRef, NewBatch
from roost.wire.jobs import Job, JobRef, NewJob
from tests.service.calls import claim, enqueue, settle_one
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock
from tests.service.watched_store import WatchedStore

pytestmark = [pytest.mark.feature("dependencies"), pytest.mark.feature("batches")]


async def get(runtime: Runtime, id: int) -> Job:
    return await runtime.handle(contract.GET_JOB, JobRef(id=id))


async def test_what_follows_an_end_does_not_wait_for_a_timer(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    need = await enqueue(runtime)
    waiting = await enqueue(runtime, queue="later", after=[need])
    token, _ = await claim(runtime)
    await settle_one(runtime, need, token)
    await clock.advance(1)
    assert (await get(runtime, waiting)).state is State.READY


async def test_a_waiting_claim_gets_the_released_job(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    import asyncio

    runtime = await make_runtime(memory_store, clock=clock)
    need = await enqueue(runtime)
    waiting = await enqueue(runtime, queue="later", after=[need])
    token, _ = await claim(runtime)
    asked = asyncio.create_task(claim(runtime, "later", wait="30s"))
    await clock.advance(1)
    await settle_one(runtime, need, token)
    await clock.advance(1)
    assert (await asked)[1] == [waiting]


async def test_another_node_carries_on_what_a_dead_one_left(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    dead = await make_runtime(memory_store, clock=clock, loops=False)
    callback = NewJob(kind="called", queue="cb")
    batch = await dead.handle(contract.CREATE_BATCH, NewBatch(jobs=[NewJob(kind="a")], on_complete=callback))
    token, _ = await claim(dead)
    await settle_one(dead, batch.jobs[0], token)
    assert (await dead.handle(contract.GET_BATCH, BatchRef(id=batch.id))).state == "sealed"
    other = await make_runtime(memory_store, clock=clock)
    await clock.advance(1)
    told = await other.handle(contract.GET_BATCH, BatchRef(id=batch.id))
    assert (told.state, len(told.callbacks)) == ("finished", 1)
    # One that lives takes up within its safety period what a dead one leaves later.
    need = await enqueue(dead)
    waiting = await enqueue(dead, queue="later", after=[need])
    token, _ = await claim(dead)
    await settle_one(dead, need, token)
    await clock.advance(10_000)
    assert (await get(other, waiting)).state is State.READY


async def test_a_store_that_fails_for_a_moment_is_tried_again(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    need = await enqueue(runtime)
    waiting = await enqueue(runtime, queue="later", after=[need])
    token, _ = await claim(runtime)
    real = memory_store.enter
    failed: list[bool] = []

    def enter() -> None:
        if memory_store.calls and isinstance(memory_store.calls[-1].action, AdvanceFlow) and not failed:
            failed.append(True)
            raise Unavailable("not now")
        real()

    memory_store.enter = enter  # type: ignore[method-assign]
    await settle_one(runtime, need, token)
    await clock.advance(1_000)
    assert failed
    assert (await get(runtime, waiting)).state is State.READY


async def test_no_carrying_on_where_nobody_waits(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    for _ in range(5):
        await settle_one(runtime, await enqueue(runtime), (await claim(runtime))[0])
    await clock.advance(60_000)
    assert not [call for call in memory_store.calls if isinstance(call.action, AdvanceFlow)]
