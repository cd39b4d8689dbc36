"""The worker: what it claims, how handlers are cancelled and limited, how it shuts down."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
from collections import Counter
from contextlib import suppress

import pytest

import roost
from roost.errors import ConfigurationError, NotFound, RoostError
from roost.sdk._async.client import AsyncClient
from roost.sdk.core import job_logger
from roost.wire.jobs import NewJob
from tests.sdk.harness import Bench


async def test_a_thousand_jobs_run_once_each_and_never_more_at_a_time_than_allowed(bench: Bench) -> None:
    ran: Counter[int] = Counter()
    inside = most = 0

    @bench.app.job
    async def count(number: int) -> int:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        if number % 100 == 0:
            await asyncio.sleep(0)
        ran[number] += 1
        inside -= 1
        return number

    jobs = [count.new_job(number) for number in range(1000)]
    ids = [answer.id for answer in await bench.client.jobs.enqueue_many(jobs)]
    await bench.drain(concurrency=7)
    assert ran == Counter(dict.fromkeys(range(1000), 1))
    assert most <= 7
    for index in (0, 500, 999):
        assert bytes((await bench.job(ids[index])).result or b"") == str(index).encode()


async def test_jobs_are_taken_as_they_come_and_the_worker_is_known(bench: Bench) -> None:
    @bench.app.job
    async def echo(text: str) -> str:
        return text

    async with bench.running(name="w-1"):
        first = await bench.ended(await bench.enqueue(echo, "one"))
        second = await bench.ended(await bench.enqueue(echo, "two"))
        async with asyncio.timeout(10):
            while not (known := await bench.client.workers.list()):
                await asyncio.sleep(0.01)
    assert [bytes(job.result or b"") for job in (first, second)] == [b'"one"', b'"two"']
    assert (known[0].id, known[0].queues, known[0].pid) == ("w-1", ["default"], os.getpid())


async def test_kinds_without_a_handler_are_given_back_and_said_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    @bench.app.job
    async def known() -> None: ...

    strange = (await bench.client.jobs.enqueue(NewJob(kind="somebody.elses"))).id
    job = await bench.enqueue(known)
    await bench.drain()
    assert (await bench.job(job)).state == "succeeded"
    left = await bench.job(strange)
    assert (left.state, left.failures) == ("ready", 0)
    assert any("no handler for 'somebody.elses'" in record.getMessage() for record in caplog.records)


async def test_what_a_handler_leaves_in_its_context_variables_does_not_reach_the_next(bench: Bench) -> None:
    variable = contextvars.ContextVar("variable", default="clean")
    seen: list[str] = []

    @bench.app.job
    async def dirty() -> None:
        seen.append(variable.get())
        variable.set("dirty")

    for _ in range(3):
        await bench.enqueue(dirty)
    await bench.drain(concurrency=1)
    assert seen == ["clean"] * 3


async def test_log_records_of_a_handler_carry_its_ids(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    @bench.app.job
    async def talk() -> None:
        job_logger.info("in a handler")

    caplog.set_level(logging.INFO, "roost.job")
    job = await bench.enqueue(talk)
    await bench.drain()
    (record,) = [record for record in caplog.records if record.getMessage() == "in a handler"]
    assert (record.__dict__["job_id"], record.__dict__["attempt"]) == (job, 1)


@pytest.mark.feature("cancel-move-clone")
async def test_a_cancelled_handler_has_its_chance(bench: Bench) -> None:
    began = asyncio.Event()

    @bench.app.job
    async def polite(ctx: roost.Context) -> str:
        began.set()
        await ctx.wait_cancelled()
        assert ctx.cancelled
        return "tidied up"

    job = await bench.enqueue(polite)
    async with bench.running(lease="1s", grace=30.0):
        await began.wait()
        await bench.client.jobs.cancel(job)
        ended = await bench.ended(job)
    assert (ended.state, ended.reason) == ("cancelled", "requested")


async def test_a_handler_that_ignores_the_cancel_is_cancelled_after_the_grace(bench: Bench) -> None:
    began = asyncio.Event()
    thrown: list[type[BaseException]] = []

    @bench.app.job
    async def busy() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            thrown.append(type(error))
            raise

    job = await bench.enqueue(busy)
    async with bench.running(lease="1s", grace=0.1):
        await began.wait()
        await bench.client.jobs.cancel(job)
        ended = await bench.ended(job)
    assert (ended.state, thrown) == ("cancelled", [asyncio.CancelledError])


@pytest.mark.feature("time-limits")
@pytest.mark.feature("time-limits")
async def test_a_time_limit_cancels_an_async_handler(bench: Bench) -> None:
    @bench.app.job(timeout="50ms", retries=0)
    async def slow() -> None:
        await asyncio.Event().wait()

    job = await bench.enqueue(slow)
    await bench.drain()
    ended = await bench.job(job)
    assert (ended.state, ended.reason, ended.attempts[0].outcome) == ("failed", "time_limit", "timed_out")


async def test_an_async_handler_that_swallows_its_cancel_is_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.sdk.supervision.PATIENCE", 0.1)
    go_on = asyncio.Event()

    @bench.app.job(timeout="50ms", retries=0)
    async def stubborn() -> str:
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    @bench.app.job
    async def next_one() -> None: ...

    first = await bench.enqueue(stubborn)
    async with bench.running(concurrency=1):
        ended = await bench.ended(first)
        assert (ended.reason, ended.error is not None and "may run on" in ended.error.message) == ("time_limit", True)
        # Its lane was given up with it: the only slot is free again.
        assert (await bench.ended(await bench.enqueue(next_one))).state == "succeeded"
        go_on.set()
    assert (await bench.job(first)).result is None


@pytest.mark.feature("time-limits")
@pytest.mark.feature("time-limits")
async def test_a_deadline_ends_the_whole_job(bench: Bench) -> None:
    @bench.app.job(deadline="300ms", retries=9, retry_base="1ms")
    async def slow() -> None:
        await asyncio.Event().wait()

    job = await bench.enqueue(slow)
    async with bench.running():
        ended = await bench.ended(job)
    assert (ended.state, ended.reason) == ("cancelled", "duration_limit")


@pytest.mark.feature("shutdown")
async def test_shutdown_lets_handlers_end_and_releases_the_others(bench: Bench) -> None:
    began = asyncio.Semaphore(0)
    stopping = asyncio.Event()

    @bench.app.job
    async def quick() -> str:
        began.release()
        await stopping.wait()
        return "in time"

    @bench.app.job
    async def endless() -> None:
        began.release()
        await asyncio.Event().wait()

    ending, running, waiting = [await bench.enqueue(one) for one in (quick, endless, endless)]
    async with bench.running(concurrency=2, grace=0.3) as worker:
        await began.acquire()
        await began.acquire()
        worker.stop()
        stopping.set()
    states = {id: await bench.job(id) for id in (ending, running, waiting)}
    assert states[ending].state == "succeeded"
    assert [(states[id].state, states[id].failures) for id in (running, waiting)] == [("ready", 0), ("ready", 0)]
    assert states[running].attempts[-1].outcome == "released"


async def test_a_result_that_is_refused_fails_its_job_alone(bench: Bench) -> None:
    @bench.app.job(retries=3)
    async def write(length: int) -> str:
        return "x" * length

    large = await bench.enqueue(write, 5_000_000)
    small = [await bench.enqueue(write, 10) for _ in range(5)]
    await bench.drain()
    refused = await bench.job(large)
    assert (refused.state, refused.reason) == ("failed", "fatal")
    assert refused.error is not None
    assert refused.error.type == "OutcomeRefused"
    assert {(await bench.job(job)).state for job in small} == {"succeeded"}


def test_a_worker_that_cannot_work_is_refused() -> None:
    client = AsyncClient.connect("http://127.0.0.1:1")
    registry = roost.App("sqlite://:memory:").registry
    with pytest.raises(ConfigurationError):
        roost.Worker(registry, client, queues=[])
    with pytest.raises(RoostError, match="not a duration"):
        roost.Worker(registry, client, queues=["default"], lease="soon")


@pytest.mark.feature("shutdown")
async def test_a_worker_that_is_asked_to_drain_ends_with_its_last_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.sdk.worker.DRAIN_HEEDED_AFTER", 0.0)
    began, may_end = asyncio.Event(), asyncio.Event()

    @bench.app.job
    async def long() -> str:
        began.set()
        await may_end.wait()
        return "whole"

    job = await bench.enqueue(long)
    await bench.embedded.start_loops()
    # Its own grace is over at once: who drains takes the time that the jobs take.
    worker = bench.worker(name="old", lease="1s", grace=0.0)
    running = asyncio.create_task(worker.run())
    await asyncio.wait_for(began.wait(), 20)
    async with asyncio.timeout(20):
        while not await bench.client.workers.list():
            await asyncio.sleep(0.01)
    await bench.client.workers.drain("old")
    [known] = await bench.client.workers.list()
    assert (known.id, known.draining) == ("old", True)
    async with asyncio.timeout(20):
        while not worker._draining:
            await asyncio.sleep(0.01)
    late = await bench.enqueue(long)
    assert not running.done()
    may_end.set()
    await asyncio.wait_for(running, 20)
    ended = await bench.job(job)
    assert (ended.state, ended.attempt, bytes(ended.result or b"")) == ("succeeded", 1, b'"whole"')
    assert (await bench.job(late)).state == "ready"
    # Started again under its name it works again.
    async with bench.running(name="old"):
        assert (await bench.ended(late)).state == "succeeded"
        [known] = await bench.client.workers.list()
        assert not known.draining


@pytest.mark.feature("shutdown")
async def test_a_worker_that_drains_may_still_be_told_to_hurry(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.sdk.worker.DRAIN_HEEDED_AFTER", 0.0)
    began = asyncio.Event()

    @bench.app.job
    async def endless() -> None:
        began.set()
        await asyncio.Event().wait()

    job = await bench.enqueue(endless)
    async with bench.running(name="old", lease="1s", grace=0.1) as worker:
        await asyncio.wait_for(began.wait(), 20)
        async with asyncio.timeout(20):
            while not worker._draining:
                with suppress(NotFound):  # until it has registered
                    await bench.client.workers.drain("old")
                await asyncio.sleep(0.05)
    assert [attempt.outcome for attempt in (await bench.job(job)).attempts] == ["released"]
    with pytest.raises(NotFound):
        await bench.client.workers.drain("nobody")
