"""What time does to jobs: promoted on the minute, reaped with grace, pruned by rule; nothing at all when idle."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from roost.domain.records import QueueRules
from roost.domain.states import State
from roost.engine.calls import Promote, Prune, PruneOld, Reap
from roost.errors import NotFound, Unavailable
from roost.service.core import RuntimeSettings
from roost.wire import contract
from roost.wire.attempts import NewHold
from roost.wire.holds import ListHolds
from roost.wire.queues import EditQueue
from tests.service.calls import beat_one, claim, enqueue, job, settle_one, state
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock
from tests.service.watched_store import WatchedStore


@pytest.mark.feature("delay-expiry")
async def test_a_delayed_job_becomes_ready_when_it_is_due(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    later = await enqueue(runtime, delay="1h")
    sooner = await enqueue(runtime, delay="10s")
    await clock.advance(9_999)
    assert await state(runtime, sooner) is State.WAITING
    await clock.advance(1)
    assert [await state(runtime, id) for id in (sooner, later)] == [State.READY, State.WAITING]
    await clock.advance(3_590_000)
    assert await state(runtime, later) is State.READY
    assert sum(isinstance(call.action, Promote) for call in memory_store.calls) == 2


@pytest.mark.feature("delay-expiry")
async def test_a_due_job_starts_in_a_claim_that_waits_for_it(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    waiting = asyncio.create_task(claim(runtime, wait="30s"))
    id = await enqueue(runtime, delay="7s")
    await clock.advance(6_999)
    assert not waiting.done()
    await clock.advance(1)
    assert waiting.done()
    assert (await waiting)[1] == [id]


async def test_more_due_jobs_than_one_pass_takes_are_all_promoted(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.service.promoter.LIMIT", 3)
    runtime = await make_runtime(memory_store, clock=clock)
    ids = [await enqueue(runtime, delay="1s") for _ in range(10)]
    await clock.advance(1_000)
    assert {await state(runtime, id) for id in ids} == {State.READY}


@pytest.mark.feature("delay-expiry")
async def test_expiry_and_deadline_fire_by_the_clock(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    expiring = await enqueue(runtime, ttl="20s")
    overdue = await enqueue(runtime, deadline="30s", queue="other")
    await clock.advance(19_999)
    assert await state(runtime, expiring) is State.READY
    await clock.advance(1)
    assert await state(runtime, expiring) is State.EXPIRED
    await clock.advance(10_000)
    ended = await job(runtime, overdue)
    assert (ended.state, ended.reason) == (State.CANCELLED, "duration_limit")


async def test_a_hold_expires_to_its_declared_outcome(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    id = await enqueue(runtime)
    token, _ = await claim(runtime)
    question = NewHold(title="Send it?", subject=msgspec.Raw(b'{"to":"ana"}'), expires="1m")
    await settle_one(runtime, id, token, outcome="hold", hold=question)
    assert len((await runtime.handle(contract.LIST_HOLDS, ListHolds())).holds) == 1
    await clock.advance(59_999)
    assert await state(runtime, id) is State.HELD
    await clock.advance(1)
    ended = await job(runtime, id)
    assert (ended.state, ended.reason) == (State.FAILED, "hold_denied")


async def test_a_lease_that_runs_out_is_reaped_and_the_job_starts_again(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    await clock.advance(60_000)
    id = await enqueue(runtime)
    token, _ = await claim(runtime, lease="15s")
    await clock.advance(10_000)
    assert (await beat_one(runtime, id, token)).error is None
    await clock.advance(14_999)
    assert await state(runtime, id) is State.RUNNING
    await clock.advance(2)
    found = await job(runtime, id)
    assert (found.state, found.failures, found.attempts[0].outcome) == (State.READY, 1, "lost")
    refused = (await settle_one(runtime, id, token)).error
    assert refused is not None
    assert refused.code == "lease_lost"


async def test_after_a_start_no_lease_is_reaped_for_a_whole_lease(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    before = await make_runtime(memory_store, clock=clock, loops=False)
    id = await enqueue(before)
    token, _ = await claim(before, lease="15s")
    await clock.advance(3_600_000)
    runtime = await make_runtime(memory_store, clock=clock)
    await clock.advance(14_990)
    assert await state(runtime, id) is State.RUNNING
    assert (await beat_one(runtime, id, token)).error is None
    await clock.advance(14_990)
    assert await state(runtime, id) is State.RUNNING
    await clock.advance(20)
    assert await state(runtime, id) is State.READY


@pytest.mark.parametrize("jump", [3_600_000, 86_400_000, 1_500])
async def test_a_jump_of_the_wall_clock_never_ends_a_lease(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock, jump: int
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    await clock.advance(60_000)
    id = await enqueue(runtime)
    token, _ = await claim(runtime, lease="15s")
    await clock.advance(13_000)
    clock.jump(jump)
    await clock.advance(10_000)
    assert await state(runtime, id) is State.RUNNING
    assert (await beat_one(runtime, id, token)).error is None
    assert all(call.action.granted_after for call in memory_store.calls if isinstance(call.action, Reap))
    await clock.advance(60_000)
    assert await state(runtime, id) is State.READY


async def test_a_store_that_came_back_gives_workers_time_to_be_heard(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    await clock.advance(60_000)
    id = await enqueue(runtime)
    token, _ = await claim(runtime, lease="15s")
    await clock.advance(14_000)
    memory_store.failures.append(Unavailable("gone"))
    with pytest.raises(Unavailable):
        await beat_one(runtime, id, token)
    await enqueue(runtime, queue="other")
    await clock.advance(14_000)
    assert await state(runtime, id) is State.RUNNING
    assert (await beat_one(runtime, id, token)).error is None
    await clock.advance(13_000)
    assert await state(runtime, id) is State.RUNNING


async def test_loops_survive_a_lost_store(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    id = await enqueue(runtime, delay="10s")
    memory_store.failures += [Unavailable("gone")] * 4
    await clock.advance(10_500)
    with pytest.raises(Unavailable, match="gone"):
        runtime.ready()
    await clock.advance(10_000)
    assert await state(runtime, id) is State.READY
    runtime.ready()


async def test_an_idle_server_writes_nothing(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    await settle_one(runtime, await enqueue(runtime), (await claim(runtime))[0])
    # Until it has told which workers it heard.
    await clock.advance(60_000)
    memory_store.calls.clear()
    memory_store.batches.clear()
    await clock.advance(300_000)
    assert memory_store.calls == []
    assert memory_store.batches == []


@pytest.mark.feature("retention")
async def test_old_jobs_are_forgotten_as_their_queue_says(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(
        memory_store, clock=clock, settings=RuntimeSettings(retention_ms=86_400_000, safety_seconds=600)
    )
    rules = QueueRules(retention="1h", retention_failed="2h")
    await runtime.handle(contract.EDIT_QUEUE, EditQueue(name="short", rules=rules))
    kept = await enqueue(runtime)
    await settle_one(runtime, kept, (await claim(runtime))[0])
    short = await enqueue(runtime, queue="short")
    await settle_one(runtime, short, (await claim(runtime, "short"))[0])
    failed = await enqueue(runtime, queue="short")
    await settle_one(runtime, failed, (await claim(runtime, "short"))[0], outcome="fail", fatal=True)
    ready = await enqueue(runtime, queue="short")
    await clock.advance(3_500_000)
    assert await state(runtime, short) is State.SUCCEEDED
    await clock.advance(800_000)
    with pytest.raises(NotFound):
        await job(runtime, short)
    assert await state(runtime, failed) is State.FAILED
    await clock.advance(3_700_000)
    with pytest.raises(NotFound):
        await job(runtime, failed)
    assert [await state(runtime, id) for id in (kept, ready)] == [State.SUCCEEDED, State.READY]
    await clock.advance(86_400_000)
    with pytest.raises(NotFound):
        await job(runtime, kept)
    assert any(isinstance(call.action, PruneOld) for call in memory_store.calls)


@pytest.mark.feature("retention")
async def test_pruning_takes_small_sets(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.service.pruner.LIMIT", 4)
    settings = RuntimeSettings(retention_ms=60_000)
    runtime = await make_runtime(memory_store, clock=clock, settings=settings)
    ids = [await enqueue(runtime) for _ in range(10)]
    token, _ = await claim(runtime, limit=10)
    for id in ids:
        await settle_one(runtime, id, token)
    await clock.advance(700_000)
    pruned = [call for call in memory_store.calls if isinstance(call.action, Prune)]
    assert len(pruned) >= 3
    for id in ids:
        with pytest.raises(NotFound):
            await job(runtime, id)
