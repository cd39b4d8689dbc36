"""What a fire does while a job of the schedule is unfinished, with workers that really take their time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest

import roost
from roost.domain.schedule import ScheduleRule
from roost.wire.schedules import Run
from tests.e2e.stand import ended, eventually, working

pytestmark = pytest.mark.feature("schedule-policies")

Overlap = Literal["skip", "allow", "queue", "replace"]


@dataclass
class Watch:
    """What the handlers did."""

    running: int = 0
    most: int = 0
    started: int = 0
    cancelled: int = 0
    may_end: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def scheduled(
    app: roost.App, queue: str, overlap: Overlap
) -> AsyncIterator[tuple[Watch, Callable[[], Awaitable[list[Run]]]]]:
    """A schedule that fires every 200 ms, whose jobs run until they may end."""
    watch = Watch()

    @app.job(name=f"tick.{queue}", queue=queue)
    async def tick() -> None:
        watch.started += 1
        watch.running += 1
        watch.most = max(watch.most, watch.running)
        try:
            await watch.may_end.wait()
        except asyncio.CancelledError:
            watch.cancelled += 1
            raise
        finally:
            watch.running -= 1

    async def runs() -> list[Run]:
        return (await app.client.schedules.runs(queue, limit=500)).runs[::-1]

    async with working(app, queue, lease="2s"):
        await app.client.schedules.put(queue, ScheduleRule(every="200ms", overlap=overlap), tick.new_job())
        try:
            yield watch, runs
        finally:
            await app.client.schedules.delete(queue)
            watch.may_end.set()


async def test_skip_never_runs_two_at_once(app: roost.App, queue: str) -> None:
    async with scheduled(app, queue, "skip") as (watch, runs):

        async def skipped() -> bool:
            return [run.outcome for run in await runs()].count("skipped") >= 2

        async def fired_again() -> bool:
            return [run.outcome for run in await runs()].count("fired") >= 3

        await eventually(skipped, "two fires are skipped")
        assert [run.outcome for run in await runs()][:3] == ["fired", "skipped", "skipped"]
        assert watch.started == 1
        watch.may_end.set()
        await eventually(fired_again, "the schedule goes on")
        assert watch.most == 1


async def test_allow_runs_them_beside_each_other(app: roost.App, queue: str) -> None:
    async with scheduled(app, queue, "allow") as (watch, runs):

        async def three() -> bool:
            return watch.running >= 3

        await eventually(three, "three run at once")
        assert {run.outcome for run in await runs()} == {"fired"}


async def test_queue_lets_one_wait(app: roost.App, queue: str) -> None:
    async with scheduled(app, queue, "queue") as (watch, runs):

        async def waiting() -> bool:
            return [run.outcome for run in await runs()].count("skipped") >= 2

        await eventually(waiting, "one is queued, others are skipped")
        outcomes = [run.outcome for run in await runs()]
        assert outcomes[:2] == ["fired", "queued"]
        assert set(outcomes[2:]) == {"skipped"}
        assert watch.started == 1
        watch.may_end.set()

        async def went_on() -> bool:
            return watch.started >= 2

        await eventually(went_on, "the queued one runs")
        assert watch.most == 1


async def test_replace_cancels_the_one_before(app: roost.App, queue: str) -> None:
    async with scheduled(app, queue, "replace") as (watch, runs):

        async def replaced() -> bool:
            return watch.cancelled >= 1

        await eventually(replaced, "a running handler is cancelled")
        first = (await runs())[0]
        assert first.job is not None
        job = await ended(app, first.job)
        assert (job.state, job.reason) in {("cancelled", "overlap_replaced"), ("cancelled", "requested")}
        watch.may_end.set()
