"""Leases kept and lost: heartbeats, a server that does not answer, workers that die."""

from __future__ import annotations

import asyncio
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
from roost.errors import OutcomeUnknown, Overloaded, RoostError, Unavailable
from roost.sdk._async.client import AsyncClient
from roost.sdk.beating import beat_transport
from roost.sdk.transport import AsyncTransport, Transport
from roost.wire.attempts import Heartbeat
from roost.wire.contract import CLAIM, HEARTBEAT, SETTLE, Operation
from tests.sdk.harness import Bench

pytestmark = pytest.mark.feature("leases")

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

    async with bench.running(lease="1s", concurrency=1):
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


@pytest.mark.feature("resume")
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
