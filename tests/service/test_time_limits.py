"""Deadlines, expiries and delays outlive the process that stored them, and nobody has to look for them to hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from roost.domain.duration import parse_duration
from roost.domain.records import QueueRules
from roost.domain.states import State
from roost.engine.opening import open_store
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.jobs import JobRef, NewJob
from roost.wire.queues import EditQueue
from tests.service.virtual_clock import START, VirtualClock


@pytest.fixture(params=["sqlite", "postgresql"])
def lived(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """The URL of a store that outlives a runtime."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/roost.db"
    url: str = request.getfixturevalue("postgres_store")
    return lambda: url


async def lives(url: str, clock: VirtualClock, *, loops: bool = True) -> tuple[Runtime, Callable[[], None]]:
    store = open_store(url, "server", rng=random.Random(1).random)
    runtime = Runtime(store, clock=clock, rng=random.Random(2).random, host="inline")
    await runtime.start(loops=loops)
    return runtime, store.close


@pytest.mark.feature("time-limits")
@pytest.mark.parametrize("deadline", ["1h", "24h", "7d"])
@pytest.mark.parametrize("whose", ["job", "queue"])
async def test_a_deadline_outlives_a_restart(lived: Callable[[], str], deadline: str, whose: str) -> None:
    clock = VirtualClock()
    runtime, close = await lives(lived(), clock)
    if whose == "queue":
        await runtime.handle(contract.EDIT_QUEUE, EditQueue(name="q", rules=QueueRules(deadline=deadline)))
    wish = NewJob(kind="k", queue="q", deadline=deadline if whose == "job" else None)
    id = (await runtime.handle(contract.ENQUEUE, wish)).id
    await runtime.stop()
    close()
    clock.jump(parse_duration(deadline) - 60_000)
    runtime, close = await lives(lived(), clock)
    await clock.advance(30_000)
    assert (await runtime.handle(contract.GET_JOB, JobRef(id=id))).state is State.READY
    await clock.advance(30_000)
    job = await runtime.handle(contract.GET_JOB, JobRef(id=id))
    assert (job.state, job.reason) == (State.CANCELLED, "duration_limit")
    await runtime.stop()
    close()


@pytest.mark.feature("delay-expiry")
async def test_a_delay_ends_and_a_ttl_counts_from_it_across_a_restart(lived: Callable[[], str]) -> None:
    clock = VirtualClock()
    runtime, close = await lives(lived(), clock)
    delayed = await runtime.handle(contract.ENQUEUE, NewJob(kind="k", delay="1h", ttl="10m"))
    run_at = datetime.fromtimestamp(START / 1000, UTC) + timedelta(hours=1)
    timed = await runtime.handle(contract.ENQUEUE, NewJob(kind="k", run_at=run_at, ttl="10m"))
    await runtime.stop()
    close()
    clock.jump(3_600_000 - 1_000)
    runtime, close = await lives(lived(), clock)
    for id in (delayed.id, timed.id):
        job = await runtime.handle(contract.GET_JOB, JobRef(id=id))
        assert (job.state, job.run_at, job.expires_at) == (
            State.WAITING,
            _text(START + 3_600_000),
            _text(START + 4_200_000),
        )
    await clock.advance(1_000)
    assert [await _state(runtime, id) for id in (delayed.id, timed.id)] == [State.READY, State.READY], "at the moment"
    await clock.advance(599_999)
    assert await _state(runtime, delayed.id) is State.READY
    await clock.advance(1)
    assert [await _state(runtime, id) for id in (delayed.id, timed.id)] == [State.EXPIRED, State.EXPIRED]
    await runtime.stop()
    close()


async def _state(runtime: Runtime, id: int) -> State:
    return (await runtime.handle(contract.GET_JOB, JobRef(id=id))).state


def _text(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"
