"""Handlers that do what no handler should: each fails alone, says why, and takes neither worker nor neighbour along."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

import roost
from roost.sdk.app import App
from tests.sdk.harness import Bench

pytestmark = pytest.mark.feature("leases")


class Unreadable(Exception):
    def __str__(self) -> NoReturn:
        raise SystemExit("no message")


def quit_(number: int = 0) -> int:
    if number:
        return number
    sys.exit("a step")


def exhausted() -> int:
    return next(iter(()))


def hostile(app: App) -> dict[str, tuple[Any, str]]:
    """The jobs, and the type of the error that each fails with; empty for one that succeeds."""

    @app.job(retries=0)
    async def interrupt() -> None:
        raise KeyboardInterrupt

    @app.job(retries=0)
    async def leave() -> None:
        sys.exit(3)

    @app.job(retries=0)
    def leave_in_a_thread() -> None:
        sys.exit(3)

    @app.job(retries=0)
    async def leave_in_a_step(ctx: roost.Context) -> int:
        return await ctx.step("quit", quit_)

    @app.job(retries=0)
    async def leave_in_a_map(ctx: roost.Context) -> list[int]:
        return await ctx.map("quit", quit_, [1, 0, 2])

    @app.job(retries=0)
    async def exhaust(ctx: roost.Context) -> int:
        return await ctx.step("next", exhausted)

    @app.job(retries=0)
    async def say_nothing() -> None:
        raise Unreadable

    @app.job(retries=0)
    async def close_the_loop() -> None:
        asyncio.get_running_loop().close()

    @app.job(retries=0)
    async def cancel_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    @app.job(retries=0)
    async def leave_a_cancel_behind() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    @app.job(retries=0)
    async def neighbour() -> None:
        await asyncio.sleep(0)

    return {
        "interrupt": (interrupt, "KeyboardInterrupt"),
        "leave": (leave, "SystemExit"),
        "leave_in_a_thread": (leave_in_a_thread, "SystemExit"),
        "leave_in_a_step": (leave_in_a_step, "SystemExit"),
        "leave_in_a_map": (leave_in_a_map, "SystemExit"),
        "exhaust": (exhaust, "RuntimeError"),
        "say_nothing": (say_nothing, "Unreadable"),
        "close_the_loop": (close_the_loop, "RuntimeError"),
        "cancel_itself": (cancel_itself, "CancelledError"),
        "leave_a_cancel_behind": (leave_a_cancel_behind, ""),
        "neighbour": (neighbour, ""),
    }


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[Any], None]]:
    """Sets who hears Ctrl-C, until the test is over."""
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


async def test_what_a_handler_does_to_itself_stays_with_it(bench: Bench, ctrl_c: Callable[[Any], None]) -> None:
    ctrl_c(lambda *_: None)
    jobs = hostile(bench.app)
    # One after the other in one lane: what one leaves behind would meet the next.
    ids = {name: await bench.enqueue(job) for name, (job, _) in jobs.items()}
    async with asyncio.timeout(30):
        await bench.drain(concurrency=1)
    for name, (_, error) in jobs.items():
        job = await bench.job(ids[name])
        told = "" if job.error is None else job.error.type.rpartition(".")[2]
        assert (name, job.state.value, told) == (name, "failed" if error else "succeeded", error)
        assert job.attempt == 1


@pytest.mark.feature("shutdown")
@pytest.mark.feature("resume")
def test_a_ctrl_c_that_meets_a_handler_is_no_failure_of_its_job(ctrl_c: Callable[[Any], None]) -> None:
    """Without a signal handler of its own a program is interrupted wherever it happens to be."""
    ctrl_c(signal.default_int_handler)
    app = App("sqlite://:memory:")
    attempts: list[int] = []

    @app.job(retries=0)
    async def long(ctx: roost.Context) -> int:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            raise KeyboardInterrupt
        return ctx.attempt

    bench = Bench(app=app)
    loop = asyncio.new_event_loop()
    try:
        job = loop.run_until_complete(bench.enqueue(long))
        working = loop.create_task(bench.drain())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(working)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(working)
        loop.run_until_complete(bench.drain())
        ended = loop.run_until_complete(bench.job(job))
        # Until it hears of its own end the worker may have claimed it again, and given it back.
        *before, last = [attempt.outcome for attempt in ended.attempts]
        assert (ended.state, ended.failures, len(attempts), last) == ("succeeded", 0, 2, "succeeded")
        assert {*before} == {"released"}
        loop.run_until_complete(bench.close())
    finally:
        loop.close()
