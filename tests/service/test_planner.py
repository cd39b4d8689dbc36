"""Schedules become jobs: on time, once, and by their policies."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from roost.domain.schedule import ScheduleRule
from roost.domain.states import State
from roost.engine.calls import Action, FireSchedules
from roost.engine.store import Store
from roost.errors import InvalidRequest, NotFound
from roost.service.core import RuntimeSettings
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.jobs import JobSummary, ListJobs, NewJob
from roost.wire.schedules import ListRuns, PreviewSchedule, PutSchedule, Schedule, ScheduleRef
from tests.service.calls import claim, ms, settle_one, state
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import START, VirtualClock
from tests.service.watched_store import WatchedStore

pytestmark = [pytest.mark.feature("schedule-policies"), pytest.mark.feature("schedule-runs")]

MINUTE = 60_000
SELDOM = RuntimeSettings(safety_seconds=3600)
"""For days of virtual time: the loops are on time by what they are told, not by looking often."""


async def put(runtime: Runtime, name: str = "tick", *, kind: str = "tick", **fields: Any) -> Schedule:
    put_fields = {key: fields.pop(key) for key in ("paused", "remove_after_last") if key in fields}
    request = PutSchedule(name=name, rule=ScheduleRule(**fields), job=NewJob(kind=kind), **put_fields)
    return await runtime.handle(contract.PUT_SCHEDULE, request)


async def jobs(runtime: Runtime, name: str = "tick") -> list[JobSummary]:
    """The schedule's jobs, oldest first."""
    page = await runtime.handle(contract.LIST_JOBS, ListJobs(schedule=name, limit=500))
    return page.jobs[::-1]


async def outcomes(runtime: Runtime, name: str = "tick") -> list[str]:
    """What became of its fires, oldest first."""
    page = await runtime.handle(contract.LIST_RUNS, ListRuns(name=name, limit=500))
    return [run.outcome for run in page.runs][::-1]


async def finish(runtime: Runtime) -> int:
    """Claim one job and end it well."""
    token, [id] = await claim(runtime)
    await settle_one(runtime, id, token)
    return id


async def test_a_schedule_fires_at_its_instants(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    schedule = await put(runtime, every="1m", overlap="allow")
    assert ms(schedule.next_fire) == START + MINUTE
    await clock.advance(MINUTE - 1)
    assert await jobs(runtime) == []
    await clock.advance(1)
    assert len(await jobs(runtime)) == 1
    await clock.advance(4 * MINUTE)
    created = [ms(each.created_at) for each in await jobs(runtime)]
    assert created == [START + place * MINUTE for place in range(1, 6)]
    assert await outcomes(runtime) == ["fired"] * 5


async def test_fires_close_together_share_a_transaction(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    names = [f"close-{place}" for place in range(30)]
    for name in names:
        await put(runtime, name, every="1m", overlap="allow")
        await clock.advance(5)
    sizes: list[int] = []
    act = runtime._core.act_for_itself

    async def counted(action: Action, *words: Any) -> Any:
        if isinstance(action, FireSchedules):
            sizes.append(len(action.fires))
        return await act(action, *words)

    monkeypatch.setattr(runtime._core, "act_for_itself", counted)
    await clock.advance(MINUTE + 50)
    made = [job for name in names for job in await jobs(runtime, name)]
    assert sum(sizes) == len(made) == 30
    # Over 150 ms: the first at once, then one transaction every 50 ms.
    assert len(sizes) <= 5
    late = [ms(job.created_at) - (START + MINUTE + 5 * place) for place, job in enumerate(made)]
    assert late[0] == 0
    assert max(late) <= 50


async def test_cron_fires_on_the_wall_clock_of_its_zone(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, settings=SELDOM)
    await put(runtime, cron="30 8 * * *", zone="America/New_York")
    preview = await runtime.handle(contract.PREVIEW_SCHEDULE, PreviewSchedule(name="tick", count=2))
    assert [text[10:16] for text in preview.local] == ["T08:30"] * 2
    await clock.advance(24 * 60 * MINUTE)
    [job] = await jobs(runtime)
    assert ms(job.created_at) == ms(preview.fires[0])


@pytest.mark.parametrize(
    ("overlap", "after_two", "after_end"),
    [
        ("skip", ["fired", "skipped"], ["fired", "skipped"]),
        ("allow", ["fired", "fired"], ["fired", "fired"]),
        ("queue", ["fired", "queued"], ["fired", "queued", "fired"]),
    ],
)
async def test_a_fire_while_the_last_job_is_unfinished(
    memory_store: WatchedStore,
    make_runtime: MakeRuntime,
    clock: VirtualClock,
    overlap: str,
    after_two: list[str],
    after_end: list[str],
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    await put(runtime, every="1m", overlap=overlap)
    await clock.advance(MINUTE)
    token, [id] = await claim(runtime, lease="1h")
    await clock.advance(MINUTE)
    assert await outcomes(runtime) == after_two
    await clock.advance(10_000)
    await settle_one(runtime, id, token)
    await clock.advance(1)
    assert await outcomes(runtime) == after_end


async def test_only_one_fire_queues_behind_an_unfinished_job(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    await put(runtime, every="1m", overlap="queue")
    await clock.advance(MINUTE)
    token, [id] = await claim(runtime, lease="1h")
    await clock.advance(5 * MINUTE)
    assert await outcomes(runtime) == ["fired", "queued", "skipped", "skipped", "skipped", "skipped"]
    await clock.advance(10_000)
    await settle_one(runtime, id, token)
    await clock.advance(10)
    assert await outcomes(runtime) == ["fired", "queued", "skipped", "skipped", "skipped", "skipped", "fired"]
    assert len(await jobs(runtime)) == 2


async def test_replace_ends_the_previous_job(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    await put(runtime, every="1m", overlap="replace")
    await clock.advance(2 * MINUTE)
    first, second = await jobs(runtime)
    assert (first.state, first.reason) == (State.CANCELLED, "overlap_replaced")
    assert second.state is State.READY


@pytest.mark.parametrize(
    ("missed", "expected"),
    [("latest", ["missed", "fired"]), ("none", ["missed"]), ("all", ["fired"] * 10)],
)
async def test_fires_missed_in_a_downtime(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock, missed: str, expected: list[str]
) -> None:
    before = await make_runtime(memory_store, clock=clock, loops=False)
    await put(before, every="1h", overlap="allow", missed=missed)
    await clock.advance(10 * 60 * MINUTE + 10 * MINUTE)
    runtime = await make_runtime(memory_store, clock=clock)
    await clock.advance(1)
    assert await outcomes(runtime) == expected
    schedule = await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name="tick"))
    assert ms(schedule.next_fire) == START + 11 * 60 * MINUTE


async def test_an_interval_after_completion_counts_from_the_end(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    await put(runtime, every="1m", interval="after_completion")
    await clock.advance(MINUTE)
    token, [id] = await claim(runtime, lease="1h")
    await clock.advance(5 * MINUTE + 7_000)
    assert len(await jobs(runtime)) == 1
    await settle_one(runtime, id, token)
    await clock.advance(1)
    schedule = await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name="tick"))
    assert ms(schedule.next_fire) == START + 7 * MINUTE + 7_000
    await clock.advance(MINUTE)
    assert len(await jobs(runtime)) == 2
    await finish(runtime)
    await clock.advance(MINUTE)
    assert len(await jobs(runtime)) == 3


async def test_jitter_delays_the_job_and_not_the_schedule(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    await put(runtime, every="1m", jitter="30s", overlap="allow")
    await clock.advance(3 * MINUTE)
    delays = [ms(job.run_at) - ms(job.created_at) for job in await jobs(runtime)]
    assert all(0 < delay <= 30_000 for delay in delays)
    assert len(set(delays)) == 3
    await clock.advance(30_000)
    assert [job.state for job in await jobs(runtime)] == [State.READY] * 3


async def test_a_schedule_without_another_fire_is_removed_when_it_asked_for_that(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, settings=SELDOM)
    await put(runtime, "once", at="2026-11-18T12:00:00Z", remove_after_last=True)
    await put(runtime, "kept", at="2026-11-18T12:00:00Z")
    await clock.advance(2 * 86_400_000)
    assert [len(await jobs(runtime, name)) for name in ("once", "kept")] == [1, 1]
    assert (await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name="kept"))).next_fire is None
    with pytest.raises(NotFound):
        await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name="once"))
    assert await outcomes(runtime, "once") == ["fired"]


async def test_running_now_shifts_nothing(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    before = await put(runtime, every="1m", overlap="allow")
    await clock.advance(20_000)
    enqueued = await runtime.handle(contract.RUN_SCHEDULE, ScheduleRef(name="tick"))
    assert await state(runtime, enqueued.id) is State.READY
    after = await runtime.handle(contract.GET_SCHEDULE, ScheduleRef(name="tick"))
    assert after.next_fire == before.next_fire
    await clock.advance(40_000)
    assert await outcomes(runtime) == ["run_now", "fired"]


async def test_a_paused_schedule_keeps_its_next_fire_and_resumes_by_its_missed_policy(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock)
    before = await put(runtime, every="10m")
    paused = await runtime.handle(contract.PAUSE_SCHEDULE, ScheduleRef(name="tick"))
    assert paused.next_fire == before.next_fire
    await clock.advance(35 * MINUTE)
    assert await jobs(runtime) == []
    await runtime.handle(contract.RESUME_SCHEDULE, ScheduleRef(name="tick"))
    await clock.advance(1)
    assert await outcomes(runtime) == ["missed", "fired"]


async def test_declaring_a_schedule_again_changes_nothing(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    first = await put(runtime, every="1h")
    await clock.advance(3 * 60 * MINUTE)
    assert await put(runtime, every="1h") == first
    edited = await put(runtime, every="2h")
    assert ms(edited.next_fire) > clock.now()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"every": "1m", "cron": "* * * * *"}, "rule"),
        ({"cron": "61 * * * *"}, "rule.cron"),
        ({"every": "1m", "zone": "Mars/Olympus"}, "rule.zone"),
        ({"at": "2001-01-01T00:00:00Z"}, "rule"),
    ],
)
async def test_a_schedule_that_cannot_fire_is_refused(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock, fields: dict[str, str], path: str
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    with pytest.raises(InvalidRequest) as refused:
        await put(runtime, **fields)
    assert refused.value.path == path


async def test_a_template_that_could_not_be_enqueued_is_refused(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    request = PutSchedule(
        name="tick", rule=ScheduleRule(every="1m"), job=NewJob(kind="tick", timeout="soon", input=msgspec.Raw(b"1"))
    )
    with pytest.raises(InvalidRequest) as refused:
        await runtime.handle(contract.PUT_SCHEDULE, request)
    assert refused.value.path == "job.timeout"


async def test_many_nodes_fire_each_instant_once(store: Store, make_runtime: MakeRuntime, clock: VirtualClock) -> None:
    nodes = [await make_runtime(store, clock=clock) for _ in range(3)]
    for number in range(5):
        await put(nodes[0], f"tick-{number}", every="1m", overlap="allow")
    await put(nodes[0], "queued", every="1m", overlap="queue")
    await clock.advance(10 * MINUTE)
    for number in range(5):
        assert await outcomes(nodes[number % 3], f"tick-{number}") == ["fired"] * 10
    [job] = await jobs(nodes[1], "queued")
    token, ids = await claim(nodes[2], limit=100)
    assert job.id in ids
    await clock.advance(10_000)
    await settle_one(nodes[2], job.id, token)
    await clock.advance(6_000)
    assert len(await jobs(nodes[0], "queued")) == 2
