"""Handlers with children, waits and results in pieces, and a death at every place of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

import roost
from roost.crashes import CrashEverywhere
from roost.errors import JobFailed, ResultTimeout
from roost.testing import Harness
from tests.sdk.harness import Bench

pytestmark = [pytest.mark.feature("children"), pytest.mark.feature("steps"), pytest.mark.feature("resume")]

app = roost.App("sqlite:////nowhere/at/all.db")
calls: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    calls.clear()


@app.job(name="double", retries=3)
async def double(number: int) -> int:
    return number * 2


@app.job(name="picky", retries=0)
def picky(number: int) -> int:
    if number == 3:
        raise ValueError("not this one")
    return number


@dataclass
class Answer:
    text: str


@app.job(name="typed", retries=3)
async def typed(number: int) -> Answer:
    return Answer(str(number))


async def square(number: int) -> int:
    calls.append(f"square {number}")
    return number * number


@app.job(name="family", retries=3)
async def family(numbers: list[int], ctx: roost.Context) -> dict[str, Any]:
    """Everything that resumes: steps, children one by one and many, a map, a sleep, a wait and chunks."""
    first = await ctx.spawn(double, numbers[0])
    second = await ctx.spawn(double.options(delay="10m"), numbers[0])
    many = await ctx.spawn_many(double, [(number,) for number in numbers])
    await ctx.results.append("started")
    squares = await ctx.map("square", square, numbers, concurrency=2)
    await ctx.sleep("1h")
    doubled = await ctx.wait_for(many)
    await ctx.results.append(doubled)
    decision = await ctx.wait("decision", type=str, timeout="7d")
    ctx.summary(f"{len(doubled)} doubled")
    return {
        "first": [await first.result(), await second.result()],
        "doubled": doubled,
        "squares": squares,
        "decision": decision,
    }


@app.job(name="sync_family", retries=3)
def sync_family(numbers: list[int], ctx: roost.SyncContext) -> list[Any]:
    child = ctx.spawn_named("eldest", double, numbers[0])
    many = ctx.spawn_many(double, [(number,) for number in numbers], name="others")
    return [child.result(), *ctx.wait_for(many), ctx.wait("decision", timeout="1d")]


RESULT = {"first": [2, 2], "doubled": [2, 4, 6], "squares": [1, 4, 9], "decision": "go"}


async def test_a_death_anywhere_changes_nothing(crash_everywhere: CrashEverywhere) -> None:
    async def decide(harness: Harness) -> None:
        await harness.client.signals.send("decision", "go")

    assert await crash_everywhere.with_meanwhile(decide)(family, [1, 2, 3]) == RESULT


async def test_a_death_anywhere_changes_nothing_for_a_sync_handler(crash_everywhere: CrashEverywhere) -> None:
    async def decide(harness: Harness) -> None:
        await harness.client.signals.send("decision", "go")

    assert await crash_everywhere.with_meanwhile(decide)(sync_family, [1, 2]) == [2, 2, 4, "go"]


@app.job(name="keyed", retries=3, unique=roost.Unique("number"))
async def keyed(number: int) -> int:
    return number


@app.job(name="keyed_parent", retries=3)
async def keyed_parent(ctx: roost.Context) -> list[int]:
    one = await ctx.spawn(keyed, 1)
    two = await ctx.spawn_named("two", keyed.options(deadline="1h"), 2)
    return await ctx.wait_for([one, two])


async def test_children_with_keys_of_their_own_are_started_once_too(crash_everywhere: CrashEverywhere) -> None:
    """Their keys are free again as soon as they have ended, which may be before their start is recorded."""
    assert await crash_everywhere(keyed_parent) == [1, 2]


@app.job(name="careless", retries=3)
async def careless(ctx: roost.Context) -> int:
    calls.append("run")
    return len(calls) + await ctx.step("one", square, 1)


@app.job(name="scatters", retries=3)
async def scatters(ctx: roost.Context) -> None:
    """Enqueues by itself, not as a child: once more in each attempt."""
    await app.client.jobs.enqueue(double.new_job(1))
    await ctx.step("one", square, 1)


@app.job(name="once", retries=0)
async def once(ctx: roost.Context) -> int:
    return await ctx.step("one", square, 1)


@app.job(name="asks", retries=3)
async def asks(ctx: roost.Context) -> None:
    await ctx.approve("Go", show="on")


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (careless, r"with a death at place 1: step 'one' \(in flight\) it succeeded with"),
        (scatters, "with a death at place 1"),
        (once, r"failed \(lost\)"),
    ],
)
async def test_what_does_not_survive_is_told(crash_everywhere: CrashEverywhere, job: Any, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        await crash_everywhere(job)


async def test_what_waits_for_somebody_says_so(crash_everywhere: CrashEverywhere) -> None:
    with pytest.raises(AssertionError, match="nobody helps it on"):
        await crash_everywhere(asks)


async def test_a_child_that_fails_is_the_parent_s_to_handle(
    roost_app: Callable[..., Any], roost_worker: Harness
) -> None:
    roost_app(app)

    @app.job(name="tolerant")
    async def tolerant(ctx: roost.Context) -> list[str]:
        children = await ctx.spawn_many(picky, [(number,) for number in (1, 3)])
        found = await ctx.wait_for(children, return_failures=True)
        with pytest.raises(JobFailed, match="ValueError: not this one"):
            await ctx.wait_for(children)
        with pytest.raises(JobFailed):
            await children[1].result()
        return [str(one) for one in found]

    handle = await tolerant.enqueue()
    await roost_worker.drain()
    one, three = await handle.result()
    assert one == "1"
    assert "(picky) failed (attempts_exhausted): ValueError: not this one" in three
    assert [str(job.state) for job in roost_worker.jobs(picky)] == ["succeeded", "failed"]
    assert {job.parent for job in roost_worker.jobs(picky)} == {handle.id}


async def test_a_wait_ends_in_time_and_no_worker_is_occupied_meanwhile(bench: Bench) -> None:
    @bench.app.job(name="patient")
    async def patient(ctx: roost.Context) -> str:
        try:
            return str(await ctx.wait("never", timeout="1h"))
        except ResultTimeout as error:
            calls.append(error.message)
        child = await ctx.spawn(slow)
        try:
            return str(await child.result(timeout="1h"))
        except ResultTimeout:
            return "gave up twice"

    @bench.app.job(name="slow", queue="nobody")
    async def slow() -> None: ...

    @bench.app.job(name="quick")
    async def quick() -> str:
        return "quick"

    job = await bench.enqueue(patient)
    async with bench.running(concurrency=1):
        waiting = await bench.until(job, "waiting")
        assert waiting.reason == "event"
        assert (await bench.ended(await bench.enqueue(quick))).state == "succeeded"
        bench.clock.advance(3601)
        async with asyncio.timeout(20):
            while (await bench.job(job)).reason != "dependency":
                await asyncio.sleep(0.01)
        bench.clock.advance(3601)
        ended = await bench.ended(job)
    assert bytes(ended.result or b"") == b'"gave up twice"'
    assert (ended.failures, ended.attempt) == (0, 3)
    assert calls == ["signal 'never' did not come within 1h"] * 2


async def test_chunks_and_summary_are_there_for_readers(roost_app: Callable[..., Any], roost_worker: Harness) -> None:
    roost_app(app)

    @app.job(name="pieces", retries=1, retry_base="1ms")
    async def pieces(ctx: roost.Context) -> str:
        await ctx.results.append({"page": 1})
        await ctx.results.extend([2, 3])
        if ctx.attempt == 1:
            raise RuntimeError("again")
        await ctx.results.append(4)
        ctx.summary("four pieces")
        return "done"

    handle = await pieces.enqueue()
    await roost_worker.drain()
    roost_worker.clock.advance("1m")
    await roost_worker.drain()
    job = await handle.job()
    assert (job.state, job.summary, job.chunks) == ("succeeded", "four pieces", 4)


async def test_a_handler_waits_for_jobs_of_others_by_their_handles(
    roost_app: Callable[..., Any], roost_worker: Harness
) -> None:
    roost_app(app)
    stranger = await typed.enqueue(4)

    @app.job(name="patient_with_handles", retries=2)
    async def patient(ctx: roost.Context) -> list[str]:
        [found] = await ctx.wait_for([stranger])
        [again] = await ctx.wait_for([stranger.id])
        return [type(found).__name__, found.text, again.text]

    @app.job(name="patient_thread_with_handles", retries=2)
    def patient_thread(ctx: roost.SyncContext) -> str:
        return ctx.wait_for([stranger])[0].text

    handles: list[Any] = [await patient.enqueue(), await patient_thread.enqueue()]
    await roost_worker.drain()
    assert [await handle.result() for handle in handles] == [["Answer", "4", "4"], "4"]


async def test_waiting_for_what_one_enqueues_oneself_is_refused_for_it_would_never_end(
    roost_app: Callable[..., Any], roost_worker: Harness
) -> None:
    roost_app(app)

    @app.job(name="hasty", retries=5)
    async def hasty(ctx: roost.Context) -> list[int]:
        return await ctx.wait_for([await double.enqueue(4)])

    @app.job(name="hasty_thread", retries=5)
    def hasty_thread(ctx: roost.SyncContext) -> list[int]:
        return ctx.wait_for(double.enqueue_many_sync([(1,), (2,)]))

    for handle in (await hasty.enqueue(), await hasty_thread.enqueue()):
        await roost_worker.drain()
        ended = await handle.job()
        assert ended.error is not None
        assert (ended.state, ended.attempt) == ("failed", 1)
        assert "start it with ctx.spawn" in ended.error.message


@pytest.mark.feature("dependencies")
async def test_a_handler_that_would_wait_for_ever_for_who_waits_for_it_is_told(
    roost_app: Callable[..., Any], roost_worker: Harness
) -> None:
    roost_app(app)

    @app.job(name="behind_its_parent", retries=5)
    async def behind(ctx: roost.Context) -> None: ...

    @app.job(name="circular", retries=5)
    async def circular(ctx: roost.Context) -> None:
        await ctx.wait_for([await ctx.spawn(behind.options(after=[ctx.job_id], after_failure="run"))])

    handle = await circular.enqueue()
    await roost_worker.drain()
    job = await handle.job()
    assert (job.state, job.failures) == ("failed", 1)
    assert job.error is not None
    assert f"job {handle.id} waits for job" in job.error.message
    [child] = (await app.client.jobs.children(handle.id)).jobs
    assert child.state == "succeeded", "nobody is left waiting"
