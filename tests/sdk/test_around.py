"""Code around every job: ordered, sync or async, around handlers of both kinds."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import roost
from tests.sdk.harness import Bench

Call = Callable[[], Any]
AsyncCall = Callable[[], Coroutine[Any, Any, Any]]

told: list[str] = []
threads: list[bool] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    told.clear()
    threads.clear()


def surround(app: roost.App) -> None:
    @app.around
    async def first(job: roost.RunningJob, call: AsyncCall) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        told.append(f"first {job.kind} {job.arguments}")
        value = await call()
        told.append("first ends")
        return f"<{value}>"

    @app.around
    def second(job: roost.RunningJob, call: Call) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        told.append(f"second {job.attempt}")
        value = call()
        told.append("second ends")
        return f"({value})"


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_the_first_is_the_outermost_whatever_the_handler_is(bench: Bench, kind: str) -> None:
    surround(bench.app)

    @bench.app.job(name="async")
    async def on_loop(word: str, ctx: roost.Context) -> str:
        await ctx.step("one", str.upper, word)
        return word

    @bench.app.job(name="sync")
    def in_thread(word: str, ctx: roost.SyncContext) -> str:
        ctx.step("one", str.upper, word)
        return word

    job = await bench.enqueue(on_loop if kind == "async" else in_thread, "x")
    await bench.drain()
    ended = await bench.job(job)
    assert (ended.error, bytes(ended.result or b"")) == (None, b'"<(x)>"')
    assert told == [f"first {kind} {{'word': 'x'}}", "second 1", "second ends", "first ends"]
    # An async one never leaves the loop, a sync one never blocks it.
    assert threads == [True, False]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_errors_and_words_about_the_job_pass_through(bench: Bench, kind: str) -> None:
    surround(bench.app)

    def end(ctx: Any) -> None:
        if ctx.attempt == 1:
            raise roost.Snooze("1h")
        raise ValueError("no")

    @bench.app.job(name="async", retries=0)
    async def on_loop(ctx: roost.Context) -> None:
        end(ctx)

    @bench.app.job(name="sync", retries=0)
    def in_thread(ctx: roost.SyncContext) -> None:
        end(ctx)

    job = await bench.enqueue(on_loop if kind == "async" else in_thread)
    await bench.drain()
    assert (await bench.job(job)).reason == "snoozed"
    async with bench.running():
        bench.clock.advance(3601)
        ended = await bench.ended(job)
    assert ended.error is not None
    assert (ended.state, ended.error.type) == ("failed", "ValueError")
    assert "first ends" not in told


async def test_as_many_jobs_as_there_is_room_for_block_threads_at_a_time(bench: Bench) -> None:
    # More than asyncio's own pool has threads: both the middleware and the step would wait there for each other.
    many = min(32, (os.cpu_count() or 1) + 4) + 1
    together = threading.Barrier(many)

    @bench.app.around
    def blocking(job: roost.RunningJob, call: Callable[[], Any]) -> Any:
        together.wait(20)
        return call()

    @bench.app.job(retries=0)
    async def on_loop(number: int, ctx: roost.Context) -> int:
        return await ctx.step("together", together.wait, 20) >= 0

    jobs = [await bench.enqueue(on_loop, number) for number in range(many)]
    await bench.drain(concurrency=many)
    assert {(await bench.job(job)).state for job in jobs} == {"succeeded"}


async def test_one_may_answer_in_the_handler_s_place(bench: Bench) -> None:
    @bench.app.around
    async def cached(job: roost.RunningJob, call: AsyncCall) -> Any:
        return 7 if job.arguments["number"] == 1 else await call()

    @bench.app.job
    async def same(number: int) -> int:
        return number

    jobs = [await bench.enqueue(same, number) for number in (1, 2)]
    await bench.drain()
    assert [bytes((await bench.job(job)).result or b"") for job in jobs] == [b"7", b"2"]


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_cancel_reaches_the_handler_behind_a_sync_one(bench: Bench, kind: str) -> None:
    surround(bench.app)

    @bench.app.job(name="async")
    async def on_loop(ctx: roost.Context) -> None:
        ctx.progress(1)
        try:
            await asyncio.sleep(60)
        finally:
            told.append("stopped")

    @bench.app.job(name="sync")
    def in_thread(ctx: roost.SyncContext) -> None:
        ctx.progress(1)
        ctx.wait_cancelled()
        told.append("stopped")

    job = await bench.enqueue(on_loop if kind == "async" else in_thread)
    async with bench.running(lease="1s", grace=0.5):
        async with asyncio.timeout(20):
            while (await bench.job(job)).progress is None:
                await asyncio.sleep(0.01)
        await bench.client.jobs.cancel(job)
        ended = await bench.ended(job)
    assert (ended.state, ended.reason) == ("cancelled", "requested")
    assert "stopped" in told
