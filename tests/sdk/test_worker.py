"""The worker: claims, leases, cancels, limits, shutdown and what happens when the server does not answer."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import roost
from roost.errors import ConfigurationError, OutcomeUnknown, Overloaded, RoostError, Unavailable
from roost.sdk._async.client import AsyncClient
from roost.sdk.beating import beat_transport
from roost.sdk.core import job_logger
from roost.sdk.transport import AsyncTransport, Transport
from roost.wire.attempts import Heartbeat
from roost.wire.contract import CLAIM, HEARTBEAT, SETTLE, Operation
from roost.wire.jobs import NewJob
from tests.sdk.harness import Bench

Failure = Callable[[str], RoostError | None]


class Faulty:
    """The real transport behind a bad network: calls are refused on their way out, or their answers are lost."""

    repeatable = False

    def __init__(self, real: AsyncTransport) -> None:
        self.real = real
        self.refuse: Failure = lambda _: None
        self.lose: Failure = lambda _: None
        self.calls: Counter[str] = Counter()

    async def send(self, operation: Operation[Any, Any], request: Any, operation_id: str | None = None) -> Any:
        self.calls[operation.name] += 1
        if (error := self.refuse(operation.name)) is not None:
            raise error
        reply = await self.real.send(operation, request, operation_id)
        if (error := self.lose(operation.name)) is not None:
            raise error
        return reply

    async def aclose(self) -> None: ...


def times(count: int, operation: Operation[Any, Any], error: RoostError) -> Failure:
    left = [count]

    def failure(name: str) -> RoostError | None:
        if name != operation.name or left[0] == 0:
            return None
        left[0] -= 1
        return error

    return failure


@pytest.fixture
def faulty(bench: Bench) -> Faulty:
    """The network of the workers of `bench`."""
    transport = Faulty(bench.client.transport)
    bench.client = AsyncClient(transport)
    return transport


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
        assert (await bench.ended(first)).reason == "time_limit"
        # Its lane was given up with it: the only slot is free again.
        assert (await bench.ended(await bench.enqueue(next_one))).state == "succeeded"
        go_on.set()
    assert (await bench.job(first)).result is None


async def test_a_deadline_ends_the_whole_job(bench: Bench) -> None:
    @bench.app.job(deadline="300ms", retries=9, retry_base="1ms")
    async def slow() -> None:
        await asyncio.Event().wait()

    job = await bench.enqueue(slow)
    async with bench.running():
        ended = await bench.ended(job)
    assert (ended.state, ended.reason) == ("cancelled", "duration_limit")


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


async def test_a_lost_lease_stops_the_handler_and_drops_its_result(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    began, stopped = asyncio.Event(), asyncio.Event()

    @bench.app.job(retries=3)
    async def long(ctx: roost.Context) -> int:
        if ctx.attempt == 1:
            began.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                stopped.set()
                return -1
        return ctx.attempt

    job = await bench.enqueue(long)
    async with bench.running(lease="3s"):
        await began.wait()
        bench.clock.advance(60)
        ended = await bench.ended(job)
        await asyncio.wait_for(stopped.wait(), 10)
    assert (bytes(ended.result or b""), ended.failures) == (b"2", 1)
    assert [attempt.outcome for attempt in ended.attempts] == ["lost", "succeeded"]
    assert any("lease of" in record.getMessage() and "is lost" in record.getMessage() for record in caplog.records)


async def test_a_handler_is_stopped_when_its_lease_is_surely_over(bench: Bench, faulty: Faulty) -> None:
    began, stopped = asyncio.Event(), asyncio.Event()

    @bench.app.job
    async def long() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    await bench.enqueue(long)
    async with bench.running(lease="1s"):
        await began.wait()
        faulty.refuse = lambda _: Unavailable("no network")
        await asyncio.wait_for(stopped.wait(), 10)
        faulty.refuse = lambda _: None


async def test_a_handler_that_hogs_the_loop_keeps_its_lease(bench: Bench) -> None:
    @bench.app.job
    async def hog() -> int:
        turns = 0
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            turns += 1
        return turns

    job = await bench.enqueue(hog)
    async with bench.running(lease="1s"):
        ended = await bench.ended(job)
    assert (ended.state, ended.attempt, ended.failures) == ("succeeded", 1, 0)


async def test_a_handler_that_hogs_the_loop_beyond_its_limit_loses_its_lease(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.sdk.supervision.PATIENCE", 0.1)

    @bench.app.job(timeout="100ms", retries=1)
    async def hog(ctx: roost.Context) -> int:
        turns, until = 0, time.monotonic() + 4
        while ctx.attempt == 1 and time.monotonic() < until:
            turns += 1
        return ctx.attempt

    async with bench.running(lease="1s"):
        # Beyond the time after its start in which the store reaps nothing.
        bench.clock.advance(16)
        ended = await bench.ended(await bench.enqueue(hog))
    assert bytes(ended.result or b"") == b"2"
    assert [attempt.outcome for attempt in ended.attempts] == ["lost", "succeeded"]


async def test_settles_are_repeated_until_they_are_answered(bench: Bench, faulty: Faulty) -> None:
    ran: Counter[int] = Counter()

    @bench.app.job
    async def work(number: int) -> int:
        ran[number] += 1
        return number

    faulty.refuse = times(2, SETTLE, Overloaded("too much"))
    faulty.lose = times(2, SETTLE, OutcomeUnknown("the answer was lost"))
    jobs = [await bench.enqueue(work, number) for number in range(20)]
    await bench.drain()
    assert ran == Counter(dict.fromkeys(range(20), 1))
    assert {(await bench.job(job)).state for job in jobs} == {"succeeded"}
    assert faulty.calls[SETTLE.name] >= 5


async def test_claims_are_repeated_while_the_server_is_away(bench: Bench, faulty: Faulty) -> None:
    @bench.app.job
    async def work() -> None: ...

    faulty.refuse = times(3, CLAIM, Unavailable("restarting"))
    job = await bench.enqueue(work)
    await bench.drain()
    assert (await bench.job(job)).state == "succeeded"
    assert faulty.calls[CLAIM.name] > 3


async def test_a_job_that_comes_after_a_long_wait_has_a_fresh_lease(bench: Bench, faulty: Faulty) -> None:
    @bench.app.job
    async def work() -> None: ...

    async with bench.running(lease="1s"):
        async with asyncio.timeout(20):
            while faulty.calls[CLAIM.name] < 5:
                await asyncio.sleep(0.01)
        ended = await bench.ended(await bench.enqueue(work))
    assert (ended.state, ended.attempt) == ("succeeded", 1)


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


async def test_all_leases_are_renewed_in_one_call(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []
    enough, all_running = threading.Event(), asyncio.Semaphore(0)
    go_on = asyncio.Event()

    class Counted:
        repeatable = False

        def __init__(self, real: Transport) -> None:
            self.real = real

        def send(self, operation: Operation[Any, Any], request: Any, operation_id: str | None = None) -> Any:
            if operation is HEARTBEAT:
                assert isinstance(request, Heartbeat)
                beats.append(len(request.beats))
                if len(beats) == 3:
                    enough.set()
            return self.real.send(operation, request, operation_id)

        def close(self) -> None:
            self.real.close()

    monkeypatch.setattr(
        "roost.sdk.worker.beat_transport", lambda transport, seconds: Counted(beat_transport(transport, seconds))
    )

    @bench.app.job
    async def wait() -> None:
        all_running.release()
        await go_on.wait()

    for _ in range(20):
        await bench.enqueue(wait)
    async with bench.running(lease="1s", concurrency=20):
        for _ in range(20):
            await all_running.acquire()
        assert await asyncio.to_thread(enough.wait, 20)
        go_on.set()
    assert beats[1:3] == [20, 20]


async def test_a_worker_that_was_killed_resumes_without_repeating_recorded_steps(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    program = (
        "import asyncio, sys\n"
        "from tests.sdk import killed\n"
        "from tests.sdk.harness import Bench\n"
        "asyncio.run(Bench(sys.argv[1], app=killed.app).drain(lease='1s'))\n"
    )
    from tests.sdk import killed

    notes = tmp_path / "notes"
    bench = Bench(url, app=killed.app)
    job = await bench.enqueue(killed.three_steps, str(notes))
    await bench.close()
    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program, url)
    assert await asyncio.wait_for(worker.wait(), 30) == -signal.SIGKILL
    assert notes.read_text() == "one\ntwo\n"

    bench = Bench(url, app=killed.app)
    try:
        async with bench.running(lease="1s"):
            # A store that was just opened waits for heartbeats before it takes anybody for dead.
            bench.clock.advance(16)
            ended = await bench.ended(job)
        assert (ended.state, bytes(ended.result or b"")) == ("succeeded", b'["one","two","three"]')
        assert [attempt.outcome for attempt in ended.attempts] == ["lost", "succeeded"]
        assert notes.read_text() == "one\ntwo\ntwo\nthree\n"
    finally:
        await bench.close()


def test_a_worker_that_cannot_work_is_refused() -> None:
    client = AsyncClient.connect("http://127.0.0.1:1")
    registry = roost.App("sqlite://:memory:").registry
    with pytest.raises(ConfigurationError):
        roost.Worker(registry, client, queues=[])
    with pytest.raises(RoostError, match="not a duration"):
        roost.Worker(registry, client, queues=["default"], lease="soon")
