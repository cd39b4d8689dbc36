"""What users test their programs with."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

import roost
from roost.errors import ConfigurationError
from roost.testing import Harness, VirtualClock

app = roost.App("sqlite:////nowhere/at/all.db")
calendar = roost.App("sqlite:////nowhere/at/all.db")
ran: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()


@app.job(name="welcome")
async def welcome(user: str, *, day: int = 0) -> str:
    ran.append(user)
    return f"welcome, {user}"


@app.job(name="both")
async def both(users: list[str]) -> None:
    await welcome.enqueue_many([(user,) for user in users])


@app.job(name="slow")
async def slow(ctx: roost.Context) -> str:
    ran.append("before")
    await ctx.sleep("10m")
    ran.append("after")
    return "slept"


@app.job(name="flaky", retries=2, backoff="fixed", retry_base="1h")
def flaky() -> None:
    ran.append("try")
    if len(ran) < 3:
        raise ValueError("not yet")


@calendar.schedule("0 8 * * *", name="morning")
async def morning() -> None:
    ran.append("morning")


async def test_jobs_run_when_drained_and_with_what_they_enqueue(
    roost_app: Callable[..., Any], roost_worker: Harness, assert_enqueued: Any, refute_enqueued: Any
) -> None:
    roost_app(app)
    handle = await both.enqueue(["ana", "ben"])
    refute_enqueued(welcome)
    assert ran == []
    await roost_worker.drain()
    assert sorted(ran) == ["ana", "ben"]
    assert await handle.status() is roost.State.SUCCEEDED
    assert assert_enqueued(welcome, user="ben").kind == "welcome"
    assert_enqueued("welcome")
    refute_enqueued(welcome, user="cleo")
    with pytest.raises(AssertionError, match=r"user='cleo'.*enqueued:\s+both"):
        assert_enqueued(welcome, user="cleo")
    with pytest.raises(AssertionError, match="is a welcome"):
        refute_enqueued(welcome, user="ana")


async def test_only_the_clock_lets_time_pass(
    roost_app: Callable[..., Any], roost_worker: Harness, roost_clock: VirtualClock
) -> None:
    roost_app(app)
    later = await welcome.options(delay="1h").enqueue("ana")
    await roost_worker.drain()
    assert await later.status() is roost.State.WAITING
    roost_clock.advance("59m")
    await roost_worker.drain()
    assert ran == []
    roost_clock.advance("1m")
    await roost_worker.drain()
    assert ran == ["ana"]
    assert await later.result() == "welcome, ana"


async def test_retries_and_sleeps_wait_for_the_clock(
    roost_app: Callable[..., Any], roost_worker: Harness, roost_clock: VirtualClock
) -> None:
    roost_app(app)
    began = time.monotonic()
    sleeper = await slow.enqueue()
    await roost_worker.drain()
    assert ran == ["before"]
    roost_clock.advance("10m")
    await roost_worker.drain()
    assert await sleeper.result() == "slept"
    ran.clear()
    retried = await flaky.enqueue()
    for _ in range(4):
        await roost_worker.drain()
        roost_clock.advance("2h")
    assert ran == ["try"] * 3
    assert await retried.status() is roost.State.SUCCEEDED
    assert time.monotonic() - began < 30


async def test_schedules_fire_by_the_clock() -> None:
    clock = VirtualClock(datetime(2026, 1, 1, 12, tzinfo=UTC))
    with Harness(clock) as harness, harness.bound(calendar):
        await harness.drain()
        for day in (2, 3, 4):
            clock.travel(datetime(2026, 1, day, 7, 59, 59, tzinfo=UTC))
            await harness.drain()
            assert len(ran) == day - 2
            clock.advance(1)
            await harness.drain()
        assert ran == ["morning"] * 3
        with pytest.raises(ValueError, match="is past"):
            clock.travel(datetime(2020, 1, 1, tzinfo=UTC))


def test_programs_without_an_event_loop_are_tested_the_same_way() -> None:
    with app.testing() as harness:
        handle = welcome.enqueue_sync("ana", day=3)
        harness.assert_enqueued(welcome, day=3)
        harness.drain_sync()
        assert handle.result_sync(timeout=5) == "welcome, ana"
    assert app.url == "sqlite:////nowhere/at/all.db"


async def test_a_job_nobody_handles_is_told_and_one_that_never_ends_too(roost_worker: Harness) -> None:
    other = roost.App("sqlite:////nowhere/at/all.db")

    @other.job(name="again")
    async def again() -> None:
        raise roost.Snooze(0)

    with roost_worker.bound(other):
        await again.enqueue()
        with pytest.raises(AssertionError, match="still jobs to run"):
            await roost_worker.drain(timeout=0.5)
    with roost_worker.bound(app), pytest.raises(ConfigurationError, match="nobody handles 'again'"):
        await roost_worker.drain()


async def test_two_applications_share_the_tests_store(roost_app: Callable[..., Any], roost_worker: Harness) -> None:
    other = roost_app(roost.App())
    roost_app(app)

    @other.job(name="first")
    async def first() -> None:
        await welcome.enqueue("ana")

    await first.enqueue()
    await roost_worker.drain()
    assert ran == ["ana"]
    assert [job.kind for job in roost_worker.jobs()] == ["first", "welcome"]
