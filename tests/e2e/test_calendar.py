"""Schedules across clock changes, by the real planner and store, on a clock that the test moves."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from roost.domain.schedule import ScheduleRule
from roost.engine.opening import open_store
from roost.service.core import RuntimeSettings
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.jobs import ListJobs, NewJob
from roost.wire.schedules import ListRuns, PreviewRule, PutSchedule, ScheduleRef
from tests.service.virtual_clock import START, VirtualClock, settle

pytestmark = [pytest.mark.feature("cron"), pytest.mark.feature("schedule-policies")]

SELDOM = RuntimeSettings(safety_seconds=10_000_000)
"""For days of virtual time: the loops are on time by what they are told, not by looking often."""


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def clock_at(text: str) -> VirtualClock:
    clock = VirtualClock()
    clock.jump(ms(text) - START)
    return clock


@asynccontextmanager
async def node(store_url: str, clock: VirtualClock, *, loops: bool = True) -> AsyncIterator[Runtime]:
    """A node with a store of its own, on the test's clock."""
    store = open_store(store_url, "server", rng=random.Random(1).random)
    runtime = Runtime(
        store, clock=_Shared(clock, store.now_offset()), rng=random.Random(2).random, host="inline", settings=SELDOM
    )
    await runtime.start(loops=loops)
    await settle()
    try:
        yield runtime
    finally:
        await runtime.stop()
        store.close()


class _Shared(VirtualClock):
    """The test's clock less what the store adds: the machine's distance from the database's clock is not virtual."""

    def __init__(self, clock: VirtualClock, offset: int) -> None:
        self._clock = clock
        self._offset = offset
        self.monotonic, self.wait = clock.monotonic, clock.wait  # type: ignore[method-assign]

    def now(self) -> int:
        return self._clock.now() - self._offset


async def put(runtime: Runtime, name: str, rule: ScheduleRule) -> None:
    await runtime.handle(contract.PUT_SCHEDULE, PutSchedule(name=name, rule=rule, job=NewJob(kind="tick", queue=name)))


async def fired(runtime: Runtime, name: str) -> list[str]:
    """The instants of the schedule's jobs, each of which is there."""
    runs = (await runtime.handle(contract.LIST_RUNS, ListRuns(name=name, limit=500))).runs[::-1]
    made = [run for run in runs if run.outcome == "fired"]
    jobs = (await runtime.handle(contract.LIST_JOBS, ListJobs(schedule=name, limit=500))).jobs[::-1]
    assert [run.job for run in made] == [job.id for job in jobs]
    return [run.fire_at.replace(".000Z", "Z") for run in made]


def every(minutes: int, first: str, last: str) -> list[str]:
    step = minutes * 60_000
    return [
        f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}" for at in range(ms(first), ms(last) + 1, step)
    ]


class Case(NamedTuple):
    name: str
    start: str
    end: str
    rule: dict[str, Any]
    fires: list[str]


NEW_YORK: dict[str, Any] = {"zone": "America/New_York"}
SPRING = ("2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z")
AUTUMN = ("2026-10-31T12:00:00Z", "2026-11-02T12:00:00Z")
HOWE: dict[str, Any] = {"zone": "Australia/Lord_Howe"}
APIA = ("2011-12-28T00:00:00Z", "2012-01-01T12:00:00Z")

CASES = [
    Case("02:30 that is skipped fires after the gap", *SPRING, {**NEW_YORK, "cron": "30 2 * * *"},
         ["2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"]),
    Case("02:30 that is skipped does not fire", *SPRING, {**NEW_YORK, "cron": "30 2 * * *", "gap": "skip"},
         ["2026-03-09T06:30:00Z"]),
    Case("01:30 that comes twice fires the first time", *AUTUMN, {**NEW_YORK, "cron": "30 1 * * *"},
         ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"]),
    Case("01:30 that comes twice fires twice", *AUTUMN, {**NEW_YORK, "cron": "30 1 * * *", "fold": "both"},
         ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z", "2026-11-02T06:30:00Z"]),
    Case("hourly in spring", "2026-03-08T04:30:00Z", "2026-03-08T10:30:00Z", {**NEW_YORK, "cron": "0 * * * *"},
         every(60, "2026-03-08T05:00:00Z", "2026-03-08T10:00:00Z")),
    Case("hourly in autumn", "2026-11-01T03:30:00Z", "2026-11-01T09:30:00Z", {**NEW_YORK, "cron": "@hourly"},
         every(60, "2026-11-01T04:00:00Z", "2026-11-01T09:00:00Z")),
    Case("every quarter in spring", "2026-03-08T05:50:00Z", "2026-03-08T08:20:00Z",
         {**NEW_YORK, "cron": "*/15 * * * *"}, every(15, "2026-03-08T06:00:00Z", "2026-03-08T08:15:00Z")),
    Case("every quarter in autumn", "2026-11-01T04:50:00Z", "2026-11-01T07:20:00Z",
         {**NEW_YORK, "cron": "*/15 * * * *"}, every(15, "2026-11-01T05:00:00Z", "2026-11-01T07:15:00Z")),
    # Lord Howe moves its clocks by 30 minutes, at 02:00
    Case("a half-hour gap", "2026-10-03T03:00:00Z", "2026-10-05T03:00:00Z", {**HOWE, "cron": "15 2 * * *"},
         ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]),
    Case("a half-hour fold", "2026-04-04T03:00:00Z", "2026-04-05T03:00:00Z", {**HOWE, "cron": "45 1 * * *"},
         ["2026-04-04T14:45:00Z"]),
    Case("both times of a half-hour fold", "2026-04-04T03:00:00Z", "2026-04-05T03:00:00Z",
         {**HOWE, "cron": "45 1 * * *", "fold": "both"}, ["2026-04-04T14:45:00Z", "2026-04-04T15:15:00Z"]),
    Case("every quarter through a half-hour fold", "2026-04-04T14:20:00Z", "2026-04-04T16:20:00Z",
         {**HOWE, "cron": "*/15 * * * *"}, every(15, "2026-04-04T14:30:00Z", "2026-04-04T16:15:00Z")),
    # Apia had no 30 December 2011
    Case("a day that is skipped fires after it", *APIA, {"zone": "Pacific/Apia", "cron": "0 12 * * *"},
         ["2011-12-28T22:00:00Z", "2011-12-29T22:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T22:00:00Z",
          "2011-12-31T22:00:00Z"]),
    Case("a day that is skipped does not fire", *APIA, {"zone": "Pacific/Apia", "cron": "0 12 * * *", "gap": "skip"},
         ["2011-12-28T22:00:00Z", "2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z", "2011-12-31T22:00:00Z"]),
    Case("Sunday is 0", "2026-03-14T04:00:00Z", "2026-03-16T14:00:00Z", {**NEW_YORK, "cron": "0 9 * * 0"},
         ["2026-03-15T13:00:00Z"]),
    Case("Sunday is 7", "2026-03-14T04:00:00Z", "2026-03-16T14:00:00Z", {**NEW_YORK, "cron": "0 9 * * 7"},
         ["2026-03-15T13:00:00Z"]),
    Case("working days", "2026-03-06T13:00:00Z", "2026-03-09T14:00:00Z", {**NEW_YORK, "cron": "0 9 * * MON-FRI"},
         ["2026-03-06T14:00:00Z", "2026-03-09T13:00:00Z"]),
    Case("a day or a weekday", "2026-03-12T23:00:00Z", "2026-03-15T01:00:00Z", {"cron": "0 0 15 * 5"},
         ["2026-03-13T00:00:00Z", "2026-03-15T00:00:00Z"]),
    Case("29 February", "2028-02-28T12:00:00Z", "2028-03-01T12:00:00Z", {"cron": "0 0 29 2 *"},
         ["2028-02-29T00:00:00Z"]),
    Case("no 29 February", "2027-02-28T12:00:00Z", "2027-03-01T12:00:00Z", {"cron": "0 0 29 2 *"}, []),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_jobs_come_when_the_wall_clock_says(store_url: str, case: Case) -> None:
    clock = clock_at(case.start)
    rule = ScheduleRule(overlap="allow", **case.rule)
    async with node(store_url, clock) as runtime:
        promised = (await runtime.handle(contract.PREVIEW_RULE, PreviewRule(rule=rule, count=20))).fires
        await put(runtime, "s", rule)
        await clock.advance(ms(case.end) - ms(case.start))
        assert await fired(runtime, "s") == case.fires
        kept = [fire for fire in promised if ms(fire) <= ms(case.end)]
        assert [fire.replace(".000Z", "Z") for fire in kept] == case.fires
        following = (await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name="s"))).next_fire
        assert following == promised[len(case.fires)]


@pytest.mark.parametrize(
    ("missed", "made", "dropped"),
    [
        ("latest", ["2026-11-01T09:00:00Z"], 5),
        ("all", every(60, "2026-11-01T04:00:00Z", "2026-11-01T09:00:00Z"), 0),
        ("none", [], 6),
    ],
)
async def test_a_downtime_across_a_clock_change(store_url: str, missed: Any, made: list[str], dropped: int) -> None:
    clock = clock_at("2026-11-01T03:30:00Z")
    rule = ScheduleRule(cron="0 * * * *", zone="America/New_York", overlap="allow", missed=missed)
    async with node(store_url, clock) as runtime:
        await put(runtime, "s", rule)
    await clock.advance(6 * 3_600_000)
    async with node(store_url, clock) as runtime:
        await clock.advance(1000)
        assert await fired(runtime, "s") == made
        runs = (await runtime.handle(contract.LIST_RUNS, ListRuns(name="s"))).runs
        assert [run.outcome for run in runs].count("missed") == (1 if dropped else 0)
        await clock.advance(3_600_000)
        assert await fired(runtime, "s") == [*made, "2026-11-01T10:00:00Z"]


async def test_two_nodes_on_one_database_fire_each_instant_once(postgres_url: str) -> None:
    clock = clock_at("2026-11-01T03:30:00Z")
    rules = {
        "quarter": ScheduleRule(cron="*/15 * * * *", zone="America/New_York", overlap="allow"),
        "twice": ScheduleRule(cron="30 1 * * *", zone="America/New_York", overlap="allow", fold="both"),
        "often": ScheduleRule(every="7m", overlap="allow"),
    }
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node(postgres_url, clock)) for _ in range(2)]
        for name, rule in rules.items():
            await put(nodes[0], name, rule)
        for _ in range(6):
            await clock.advance(3_600_000)
        assert await fired(nodes[1], "quarter") == every(15, "2026-11-01T03:45:00Z", "2026-11-01T09:30:00Z")
        assert await fired(nodes[1], "twice") == ["2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"]
        assert await fired(nodes[1], "often") == every(7, "2026-11-01T03:37:00Z", "2026-11-01T09:27:00Z")
        for name in rules:
            runs = (await nodes[0].handle(contract.LIST_RUNS, ListRuns(name=name, limit=500))).runs
            assert {run.outcome for run in runs} == {"fired"}
            assert len({run.fire_at for run in runs}) == len(runs)
