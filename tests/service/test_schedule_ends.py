"""What a schedule is watched for, how it ends, and how its past is filled in; on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from roost.domain.retry import RetryRule
from roost.domain.schedule import ScheduleRule
from roost.domain.states import State
from roost.engine.store import Store
from roost.errors import InvalidRequest, NotFound
from roost.service.core import RuntimeSettings
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.attempts import Outcome, SettleJobs
from roost.wire.jobs import ErrorInfo, JobRef, ListJobs, NewJob
from roost.wire.schedules import BackfillSchedule, ListRuns, PutSchedule, Schedule, ScheduleRef
from tests.service.calls import claim, settle_one, state
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import START, VirtualClock

MINUTE = 60_000
SELDOM = RuntimeSettings(safety_seconds=10_000_000)
"""For hours of virtual time: the loops are on time by what they are told, not by looking often."""


async def put(runtime: Runtime, *, job: NewJob | None = None, **rule: Any) -> Schedule:
    remove = rule.pop("remove_after_last", False)
    request = PutSchedule(
        name="tick", rule=ScheduleRule(**rule), job=job or NewJob(kind="tick"), remove_after_last=remove
    )
    return await runtime.handle(contract.PUT_SCHEDULE, request)


async def made(runtime: Runtime) -> list[int]:
    """The schedule's jobs, oldest first."""
    page = await runtime.handle(contract.LIST_JOBS, ListJobs(schedule="tick", limit=500))
    return [job.id for job in page.jobs][::-1]


async def alarms(runtime: Runtime, id: int) -> list[str]:
    """What the clock said of a job's schedule."""
    events = (await runtime.handle(contract.JOB_EVENTS, JobRef(id=id))).events
    return [event.type for event in events if event.type.startswith("schedule_")]


@pytest.mark.feature("schedule-jobs")
@pytest.mark.parametrize("remove", [False, True])
async def test_a_schedule_ends_after_its_last_run(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock, remove: bool
) -> None:
    runtime = await make_runtime(store, clock=clock, settings=SELDOM)
    await put(runtime, every="1m", overlap="allow", max_runs=3, remove_after_last=remove)
    await clock.advance(90_000)
    await runtime.handle(contract.RUN_SCHEDULE, ScheduleRef(name="tick"))
    await clock.advance(10 * MINUTE)
    assert len(await made(runtime)) == 4, "a run by hand is none of its runs"
    if remove:
        with pytest.raises(NotFound):
            await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name="tick"))
        return
    ended = await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name="tick"))
    assert (ended.runs, ended.next_fire) == (3, None)
    with pytest.raises(InvalidRequest) as refused:
        await put(runtime, every="2m", max_runs=3)
    assert refused.value.path == "rule.max_runs"
    assert (await put(runtime, every="1m", overlap="allow", max_runs=4)).next_fire is not None
    await clock.advance(10 * MINUTE)
    assert len(await made(runtime)) == 5


@pytest.mark.feature("schedule-jobs")
async def test_a_one_shot_retries_like_any_job(store: Store, make_runtime: MakeRuntime, clock: VirtualClock) -> None:
    runtime = await make_runtime(store, clock=clock, settings=SELDOM)
    at = (datetime.fromtimestamp(START / 1000, UTC) + timedelta(minutes=1)).isoformat()
    await put(runtime, at=at, job=NewJob(kind="tick", retry=RetryRule(retries=1, base="5s", jitter=0.0)))
    await clock.advance(MINUTE)
    token, [id] = await claim(runtime)
    failed = Outcome(id=id, token=token, outcome="fail", error=ErrorInfo(type="Oops"))
    await runtime.handle(contract.SETTLE, SettleJobs(outcomes=[failed]))
    await clock.advance(5_000)
    assert await state(runtime, id) is State.READY
    token, [again] = await claim(runtime)
    assert again == id
    await settle_one(runtime, id, token)
    assert await made(runtime) == [id], "one instant is one job, however often it is tried"


@pytest.mark.feature("schedule-alarm")
async def test_a_job_that_starts_or_ends_too_late_raises_an_alarm(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(store, clock=clock, settings=SELDOM)
    await put(runtime, every="1h", overlap="allow", alarm_after="5m", alarm_unfinished_after="20m")
    await clock.advance(60 * MINUTE)
    (punctual,) = await made(runtime)
    await settle_one(runtime, punctual, (await claim(runtime))[0])
    await clock.advance(30 * MINUTE)
    assert await alarms(runtime, punctual) == ["schedule_on_time"]

    await clock.advance(30 * MINUTE)
    late = (await made(runtime))[-1]
    await clock.advance(6 * MINUTE)
    assert await alarms(runtime, late) == ["schedule_late"], "nobody started it in time"
    await settle_one(runtime, late, (await claim(runtime))[0])
    await clock.advance(20 * MINUTE)
    assert await alarms(runtime, late) == ["schedule_late", "schedule_on_time"], "yet it ended in time"

    await clock.advance(34 * MINUTE)
    slow = (await made(runtime))[-1]
    token, _ = await claim(runtime, lease="1h")
    await clock.advance(21 * MINUTE)
    assert await alarms(runtime, slow) == ["schedule_late"], "it started, and did not end"
    await settle_one(runtime, slow, token)
    await clock.advance(10 * MINUTE)
    assert await alarms(runtime, slow) == ["schedule_late"], "an alarm is raised once"


@pytest.mark.feature("schedule-alarm")
async def test_an_instant_without_a_job_raises_an_alarm_too(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(store, clock=clock, settings=SELDOM)
    await put(runtime, every="10m", overlap="skip", alarm_after="1m")
    await clock.advance(10 * MINUTE)
    await claim(runtime, lease="1h")
    before = store.reader.due().job_at
    assert before is not None, "the clock is to look again"
    await clock.advance(10 * MINUTE)
    due = store.reader.due().job_at
    assert due == before + 10 * MINUTE
    await clock.advance(2 * MINUTE)
    assert store.reader.due().job_at is None, "the skipped instant was looked at"


@pytest.mark.feature("schedule-policies")
async def test_the_past_is_filled_in_once(store: Store, make_runtime: MakeRuntime, clock: VirtualClock) -> None:
    runtime = await make_runtime(store, clock=clock, settings=SELDOM)
    await put(runtime, cron="0 * * * *")
    await clock.advance(60 * MINUTE)
    (regular,) = await made(runtime)
    now = datetime.fromtimestamp(clock.now() / 1000, UTC)
    asked = BackfillSchedule(name="tick", first=now - timedelta(hours=5), last=now, limit=3)
    preview = await runtime.handle(
        contract.BACKFILL_SCHEDULE, BackfillSchedule(name="tick", first=asked.first, last=asked.last, dry_run=True)
    )
    assert len(preview.fires) >= 5
    assert await made(runtime) == [regular], "a preview makes nothing"
    first = await runtime.handle(contract.BACKFILL_SCHEDULE, asked)
    assert (first.fires, first.more) == (preview.fires[:3], True)
    again = await runtime.handle(contract.BACKFILL_SCHEDULE, asked)
    assert again.jobs == []
    rest = await runtime.handle(contract.BACKFILL_SCHEDULE, BackfillSchedule(name="tick", first=asked.first, last=now))
    assert regular not in rest.jobs
    runs = (await runtime.handle(contract.LIST_RUNS, ListRuns(name="tick"))).runs
    assert sorted(run.fire_at for run in runs) == preview.fires
    assert len({run.job for run in runs}) == len(preview.fires), "each instant has a job of its own"
    schedule = await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name="tick"))
    assert schedule.last_job == regular, "the schedule itself is where it was"


@pytest.mark.feature("schedule-policies")
@pytest.mark.parametrize(
    ("first", "last", "path"), [(-60, -120, "last"), (-60, 60, "last")], ids=["backwards", "the future"]
)
async def test_what_cannot_be_filled_in_is_refused(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock, first: int, last: int, path: str
) -> None:
    runtime = await make_runtime(store, clock=clock, settings=SELDOM)
    await put(runtime, cron="* * * * *")
    now = datetime.fromtimestamp(clock.now() / 1000, UTC)
    request = BackfillSchedule(name="tick", first=now + timedelta(minutes=first), last=now + timedelta(minutes=last))
    with pytest.raises(InvalidRequest) as refused:
        await runtime.handle(contract.BACKFILL_SCHEDULE, request)
    assert refused.value.path == path
    assert await made(runtime) == []
