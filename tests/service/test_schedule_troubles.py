"""Schedules when something goes wrong around them: edits in the middle, keys that are held, zones that are gone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from roost.domain import schedule as rules
from roost.domain.schedule import Plan, ScheduleRule
from roost.engine.calls import FireSchedule
from roost.engine.calls import PutSchedule as PutAction
from roost.engine.store import Store
from roost.errors import InvalidZone, UniqueConflict
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.events import ListEvents
from roost.wire.jobs import JobRef, JobSummary, ListJobs, NewJob, Unique
from roost.wire.schedules import ListRuns, PutSchedule, Schedule, ScheduleRef
from tests.service.calls import claim, enqueue, ms, settle_one
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import START, VirtualClock

pytestmark = pytest.mark.feature("schedule-policies")

MINUTE = 60_000


async def put(runtime: Runtime, name: str = "tick", *, job: NewJob | None = None, **fields: Any) -> Schedule:
    request = PutSchedule(name=name, rule=ScheduleRule(**fields), job=job or NewJob(kind="tick"))
    return await runtime.handle(contract.PUT_SCHEDULE, request)


async def get(runtime: Runtime, name: str = "tick") -> Schedule:
    return await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name=name))


async def made(runtime: Runtime, name: str = "tick") -> list[JobSummary]:
    return (await runtime.handle(contract.LIST_JOBS, ListJobs(schedule=name, limit=500))).jobs[::-1]


async def outcomes(runtime: Runtime) -> list[tuple[str, int | None]]:
    page = await runtime.handle(contract.LIST_RUNS, ListRuns(name="tick", limit=500))
    return [(run.outcome, run.job) for run in page.runs][::-1]


async def test_a_schedule_that_cannot_be_planned_is_paused_and_keeps_no_other(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = await make_runtime(store, clock=clock)
    await put(runtime, every="1m", overlap="allow", zone="Africa/Tunis")
    await put(runtime, "other", every="1m", overlap="allow")
    plan = rules.plan

    def without_tunis(rule: ScheduleRule, *instants: int) -> Plan:
        if rule.zone == "Africa/Tunis":
            raise InvalidZone("Africa/Tunis is not a known time zone")
        return plan(rule, *instants)

    with monkeypatch.context() as gone:
        gone.setattr(rules, "plan", without_tunis)
        await clock.advance(3 * MINUTE)
    assert (len(await made(runtime)), len(await made(runtime, "other"))) == (0, 3)
    schedule = await get(runtime)
    assert (schedule.paused, ms(schedule.next_fire)) == (True, START + MINUTE)
    page = await runtime.handle(contract.LIST_EVENTS, ListEvents(type=["schedule_paused"]))
    [event] = page.events
    assert b"Africa/Tunis is not a known time zone" in bytes(event.data or b"")
    # The zone is back: what it missed is made up for by its policy, and the two of the last minute are on time.
    await runtime.handle(contract.RESUME_SCHEDULE, ScheduleRef(name="tick"))
    await clock.advance(1)
    assert len(await made(runtime)) == 3


async def test_editing_the_job_of_a_schedule_that_just_fired_does_not_fire_it_again(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    """What another node read of the schedule before it fired is old when its edit arrives."""
    runtime = await make_runtime(store, clock=clock)
    rule = ScheduleRule(every="1m", overlap="allow")
    await put(runtime, every="1m", overlap="allow")
    await clock.advance(MINUTE)
    assert len(await made(runtime)) == 1
    late = PutAction(
        name="tick",
        rule=rule,
        job=msgspec.json.encode(NewJob(kind="edited")).decode(),
        paused=None,
        remove_after_last=False,
        next_fire=START + MINUTE,
    )
    await runtime._core.act_for_itself(late, clock.now())
    assert ms((await get(runtime)).next_fire) == START + 2 * MINUTE
    await clock.advance(MINUTE)
    assert [job.kind for job in await made(runtime)] == ["tick", "edited"]


async def test_an_interval_that_waits_for_an_end_may_be_edited_meanwhile(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(store, clock=clock)
    await put(runtime, every="1m", interval="after_completion", overlap="allow")
    await clock.advance(MINUTE)
    token, [id] = await claim(runtime, lease="1h")
    # Another job: it still waits for the end of the one that runs.
    edited = await put(runtime, every="1m", interval="after_completion", overlap="allow", job=NewJob(kind="edited"))
    assert edited.next_fire is None
    await clock.advance(5 * MINUTE)
    assert len(await made(runtime)) == 1
    # Another rule: the end of the one that runs means nothing to it.
    edited = await put(runtime, every="10m")
    due = ms(edited.next_fire)
    assert due is not None
    await settle_one(runtime, id, token)
    await clock.advance(6_000)
    assert len(await made(runtime)) == 1
    await clock.advance(due - clock.now())
    assert len(await made(runtime)) == 2


async def test_an_interval_goes_on_when_the_job_it_waits_for_is_deleted(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(store, clock=clock)
    await put(runtime, every="1m", interval="after_completion")
    await clock.advance(MINUTE)
    [job] = await made(runtime)
    await runtime.handle(contract.DELETE_JOB, JobRef(id=job.id))
    await clock.advance(1)
    assert ms((await get(runtime)).next_fire) is not None
    await clock.advance(MINUTE)
    [job] = await made(runtime)


async def test_a_fire_whose_key_is_held_makes_nothing_and_waits_for_the_holder(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(store, clock=clock)
    holder = await enqueue(runtime, "tick", unique=Unique(key="one"))
    token, _ = await claim(runtime, lease="1h")
    job = NewJob(kind="tick", unique=Unique(key="one", on_conflict="reject"))
    await put(runtime, every="1m", interval="after_completion", job=job)
    with pytest.raises(UniqueConflict):
        await runtime.handle(contract.RUN_SCHEDULE, ScheduleRef(name="tick"))
    await clock.advance(10 * MINUTE)
    assert await outcomes(runtime) == [("skipped", holder)]
    await settle_one(runtime, holder, token)
    await clock.advance(1)
    assert ms((await get(runtime)).next_fire) == START + 11 * MINUTE
    await clock.advance(MINUTE)
    [_, mine] = await made(runtime)
    assert await outcomes(runtime) == [("skipped", holder), ("fired", mine.id)]


async def test_a_node_that_planned_an_instant_that_is_gone_makes_nothing(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(store, clock=clock)
    await put(runtime, every="1m")
    late = FireSchedule(name="tick", expected=START, fires=[], next_fire=START + 5)
    assert (await runtime._core.act_for_itself(late, clock.now())).count == 0
    assert ms((await get(runtime)).next_fire) == START + MINUTE
