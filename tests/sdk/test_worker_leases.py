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
from roost.domain.admission import SAVED_LIMIT
from roost.errors import (
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    Overloaded,
    RequestTimeout,
    RoostError,
    StoreError,
    TooLarge,
    Unavailable,
)
from roost.sdk._async.client import AsyncClient
from roost.sdk.beating import beat_transport
from roost.sdk.transport import AsyncTransport, Transport
from roost.wire.attempts import Heartbeat
from roost.wire.codec import encode
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

    failures = iter(
        [Unavailable("restarting"), RoostError("failed inside"), RequestTimeout("slow"), StoreError("away")]
    )
    faulty.refuse = lambda name: next(failures, None) if name == CLAIM.name else None
    job = await bench.enqueue(work)
    await bench.drain()
    assert (await bench.job(job)).state == "succeeded"
    assert faulty.calls[CLAIM.name] > 4


async def test_a_claim_that_is_refused_for_good_ends_the_worker(bench: Bench, faulty: Faulty) -> None:
    faulty.refuse = times(1, CLAIM, InvalidRequest("a lease is from 1s to 1h"))
    with pytest.raises(InvalidRequest):
        await bench.drain()


async def test_a_server_that_fails_over_an_outcome_again_and_again_fails_its_job_alone(
    bench: Bench, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.sdk.settling.FAILED_CALLS", 2)
    real = faulty.send

    async def send(operation: Operation[Any, Any], request: Any, operation_id: str | None = None) -> Any:
        if operation is SETTLE and any(bytes(one.result or b"") == b"13" for one in request.outcomes):
            raise RoostError("failed inside")
        return await real(operation, request, operation_id)

    monkeypatch.setattr(faulty, "send", send)

    @bench.app.job
    async def work(number: int) -> int:
        return number

    jobs = {number: await bench.enqueue(work, number) for number in (12, 13, 14)}
    await bench.drain()
    ended = {number: await bench.job(job) for number, job in jobs.items()}
    assert {number: job.state.value for number, job in ended.items()} == {
        12: "succeeded",
        13: "failed",
        14: "succeeded",
    }
    assert ended[13].error is not None
    assert ended[13].error.type == "OutcomeRefused"


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
@pytest.mark.feature("steps")
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
        # Three calls, and the one that was in flight: it ran as well, and everybody can see that.
        steps = await bench.client.jobs.all_steps(job)
        assert steps.live == {"llm": 4}
        assert [(step.name, step.attempt) for step in steps.steps] == [("one", 1), ("two", 2), ("three", 2)]
        assert [(mark.name, mark.attempt, mark.ended) for mark in steps.unrecorded] == [("two", 1, "lost")]
        told = await bench.client.jobs.explain(job)
        (fact,) = [fact for fact in told.facts if fact.text.startswith("Step two")]
        assert fact.text == "Step two (llm) was started in attempt 1, which ended (lost) before it was recorded."
        number = int(fact.event.split()[1])
        events = await bench.client.jobs.events(job)
        assert [(event.type, event.number) for event in events if event.type == "step_started"] == [
            ("step_started", number)
        ]
    finally:
        await bench.close()


# --- what handlers tell, on a bad network -----------------------------------------------------------------------------


@pytest.mark.feature("progress-result")
async def test_what_was_told_once_is_there_once_although_its_answer_was_lost(bench: Bench, faulty: Faulty) -> None:
    lost = threading.Event()
    answers = iter([OutcomeUnknown("the answer was lost"), Unavailable("a proxy gave up"), OutcomeUnknown("again")])

    def lose(name: str) -> RoostError | None:
        if name != HEARTBEAT.name:
            return None
        error = next(answers, None)
        if error is None:
            lost.set()
        return error

    @bench.app.job
    async def talk(ctx: roost.Context) -> None:
        for line in range(5):
            ctx.log(f"line {line}")
        ctx.progress(1, 3)
        async with asyncio.timeout(20):
            while not lost.is_set():
                # What is said meanwhile waits its turn: it neither overtakes nor changes what is repeated.
                ctx.log("meanwhile")
                await asyncio.sleep(0.05)
        ctx.log("last")

    faulty.lose = lose
    job = await bench.enqueue(talk)
    await bench.drain()
    messages = [line.message for line in (await bench.client.jobs.logs(job)).lines]
    assert messages[:5] == [f"line {line}" for line in range(5)]
    assert messages[-1] == "last"
    assert set(messages[5:-1]) == {"meanwhile"}
    assert (await bench.job(job)).attempt == 1


@pytest.mark.parametrize(
    "refusals",
    [
        [Unavailable("down"), Overloaded("busy"), RequestTimeout("slow")],
        [StoreError("away"), RoostError("failed inside"), NotFound("what?")],
    ],
    ids=["not now", "failed"],
)
async def test_no_refusal_but_a_lost_lease_stops_a_handler(
    bench: Bench, faulty: Faulty, refusals: list[RoostError]
) -> None:
    again = asyncio.Event()
    loop = asyncio.get_running_loop()
    left = iter(refusals)

    def refuse(name: str) -> RoostError | None:
        if name != HEARTBEAT.name:
            return None
        error = next(left, None)
        if error is None:
            loop.call_soon_threadsafe(again.set)
        return error

    @bench.app.job
    async def talk(ctx: roost.Context) -> None:
        ctx.log("hello")
        async with asyncio.timeout(20):
            await again.wait()

    faulty.refuse = refuse
    job = await bench.enqueue(talk)
    await bench.drain(lease="3s")
    ended = await bench.job(job)
    assert (ended.state, ended.attempt) == ("succeeded", 1)
    assert [line.message for line in (await bench.client.jobs.logs(job)).lines] == ["hello"]


async def test_what_is_too_large_is_dropped_alone_and_said_so(
    bench: Bench, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server in between that takes less than Roost's own."""
    monkeypatch.setattr("roost.sdk.core.SAVED_LIMIT", 2**30)
    real = faulty.send

    async def small(operation: Operation[Any, Any], request: Any, operation_id: str | None = None) -> Any:
        if operation is HEARTBEAT and len(encode(request)) > 20_000:
            raise TooLarge("more than 20,000 bytes")
        return await real(operation, request, operation_id)

    monkeypatch.setattr(faulty, "send", small)

    @bench.app.job
    async def talk(ctx: roost.Context) -> None:
        for line in range(30):
            ctx.log(f"{line:02} " + "x" * 4000)
        ctx.progress(1, 2)
        ctx.save("x" * 30_000)

    job = await bench.enqueue(talk)
    await bench.drain()
    ended = await bench.job(job)
    assert (ended.state, ended.attempt, ended.saved) == ("succeeded", 1, None)
    assert ended.progress is not None
    lines = [line.message for line in (await bench.client.jobs.logs(job)).lines]
    assert [line[:2] for line in lines[:30]] == [f"{line:02}" for line in range(30)]
    assert lines[30:] == ["what the handler told was refused and is dropped: more than 20,000 bytes"]


async def test_a_state_that_is_too_large_is_refused_to_the_handler(bench: Bench) -> None:
    refused: list[str] = []

    @bench.app.job
    async def hoard(ctx: roost.Context) -> Any:
        ctx.save({"page": 3})
        try:
            ctx.save("x" * SAVED_LIMIT)
        except TooLarge as error:
            refused.append(error.path)
        return await ctx.saved()

    job = await bench.enqueue(hoard)
    await bench.drain()
    ended = await bench.job(job)
    assert (refused, bytes(ended.result or b"")) == (["state"], b'{"page":3}')


async def test_a_state_that_the_server_refuses_costs_neither_lease_nor_log_lines(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roost.sdk.core.SAVED_LIMIT", 2**30)

    @bench.app.job(retries=0)
    async def talk(ctx: roost.Context) -> str:
        ctx.save("x" * (SAVED_LIMIT + 1))
        ctx.log("before")
        ctx.log("after")
        return "whole"

    job = await bench.enqueue(talk)
    await bench.drain()
    ended = await bench.job(job)
    assert (ended.attempt, bytes(ended.result or b""), ended.saved) == (1, b'"whole"', None)
    lines = [line.message for line in (await bench.client.jobs.logs(job)).lines]
    assert lines[:2] == ["before", "after"]
    assert "was refused and is dropped" in lines[2]
