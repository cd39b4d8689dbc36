"""What handlers are given by their worker: made when needed, closed at the end, also where that is bad."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated

import pytest

import roost
from roost.errors import ConfigurationError
from roost.sdk.depends import AppScope, OffLoop, OnLoop
from roost.sdk.styles import drive
from tests.sdk import injected
from tests.sdk.harness import Bench

told: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    told.clear()


class Db:
    def __init__(self, name: str) -> None:
        self.name = name


def plain() -> Db:
    return Db("plain")


async def awaited() -> Db:
    return Db("awaited")


def session() -> Iterator[Db]:
    told.append("open")
    try:
        yield Db("session")
        told.append("commit")
    except BaseException as error:
        told.append(f"rollback {type(error).__name__}")
        raise
    finally:
        told.append("close")


async def async_session() -> AsyncIterator[Db]:
    told.append("open")
    try:
        yield Db("async")
        told.append("commit")
    except BaseException as error:
        told.append(f"rollback {type(error).__name__}")
        raise
    finally:
        await asyncio.sleep(0)
        told.append("close")


async def pool() -> AsyncIterator[Db]:
    told.append("pool open")
    yield Db("pool")
    told.append("pool closed")


def repository(
    pool: Annotated[Db, roost.Depends(pool, scope="app")], db: Annotated[Db, roost.Depends(session)]
) -> list[str]:
    return [pool.name, db.name]


async def test_every_kind_of_function_gives_an_async_handler_its_value(bench: Bench) -> None:
    @bench.app.job
    async def names(
        first: int,
        one: Annotated[Db, roost.Depends(plain)],
        two: Annotated[Db, roost.Depends(awaited)],
        three: Annotated[Db, roost.Depends(session)],
        four: Annotated[Db, roost.Depends(async_session)],
    ) -> list[str]:
        told.append("runs")
        return [str(first), one.name, two.name, three.name, four.name]

    job = await bench.enqueue(names, 1)
    await bench.drain()
    ended = await bench.job(job)
    assert (ended.error, bytes(ended.result or b"")) == (None, b'["1","plain","awaited","session","async"]')
    assert bytes(ended.input) == b'{"first":1}'
    assert told == ["open", "open", "runs", "commit", "close", "commit", "close"]


async def test_a_sync_handler_gets_them_in_its_thread_and_async_ones_from_the_loop(bench: Bench) -> None:
    threads: list[int] = []

    def where() -> Iterator[int]:
        threads.append(threading.get_ident())
        yield threading.get_ident()
        threads.append(threading.get_ident())

    def names(mine: int, db: Annotated[Db, roost.Depends(async_session)]) -> list[str]:
        return [str(mine == threading.get_ident()), db.name]

    names.__annotations__["mine"] = Annotated[int, roost.Depends(where)]
    job = await bench.enqueue(bench.app.job(names, name="names"))
    await bench.drain()
    ended = await bench.job(job)
    assert (ended.error, bytes(ended.result or b"")) == (None, b'["True","async"]')
    assert threads[0] == threads[1] != threading.get_ident()
    assert told == ["open", "commit", "close"]


@pytest.mark.parametrize("dependency", [session, async_session])
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_they_are_closed_after_an_error_and_told_of_it(bench: Bench, kind: str, dependency: object) -> None:
    async def fails(db: Annotated[Db, roost.Depends(dependency)]) -> None:  # type: ignore[arg-type]  # both are functions
        raise ValueError("no")

    def fails_too(db: Annotated[Db, roost.Depends(dependency)]) -> None:  # type: ignore[arg-type]  # as above
        raise ValueError("no")

    # Annotations are resolved by name, and these names are this test's own.
    handler = fails if kind == "async" else fails_too
    handler.__annotations__["db"] = Annotated[Db, roost.Depends(dependency)]  # type: ignore[arg-type]  # as above
    job = await bench.enqueue(bench.app.job(handler, name="fails", retries=0))  # type: ignore[call-overload]  # either kind
    await bench.drain()
    ended = await bench.job(job)
    assert ended.error is not None
    assert (ended.state, ended.error.type) == ("failed", "ValueError")
    assert told == ["open", "rollback ValueError", "close"]


async def test_they_are_closed_after_a_cancel(bench: Bench) -> None:
    @bench.app.job
    async def waits(db: Annotated[Db, roost.Depends(async_session)], ctx: roost.Context) -> None:
        ctx.progress(1)
        await asyncio.sleep(60)

    job = await bench.enqueue(waits)
    async with bench.running(lease="1s"):
        async with asyncio.timeout(20):
            while (await bench.job(job)).progress is None:
                await asyncio.sleep(0.01)
        await bench.client.jobs.cancel(job)
        ended = await bench.ended(job)
    assert (ended.state, ended.reason) == ("cancelled", "requested")
    assert told == ["open", "rollback CancelledError", "close"]


async def test_what_fails_while_it_is_closed_fails_the_job(bench: Bench) -> None:
    def commits() -> Iterator[Db]:
        yield Db("x")
        raise RuntimeError("the commit failed")

    async def works(db: Db) -> str:
        return "done"

    works.__annotations__["db"] = Annotated[Db, roost.Depends(commits)]
    job = await bench.enqueue(bench.app.job(works, name="works", retries=0))
    await bench.drain()
    ended = await bench.job(job)
    assert ended.error is not None
    assert (ended.state, ended.error.message) == ("failed", "the commit failed")


async def test_a_worker_s_value_is_made_once_and_closed_with_it(bench: Bench) -> None:
    @bench.app.job
    async def uses(number: int, both: Annotated[list[str], roost.Depends(repository)]) -> list[str]:
        return both

    @bench.app.job
    def uses_too(number: int, both: Annotated[list[str], roost.Depends(repository)]) -> list[str]:
        return both

    jobs = [await bench.enqueue(uses, number) for number in range(3)]
    jobs += [await bench.enqueue(uses_too, number) for number in range(3)]
    await bench.drain()
    assert {bytes((await bench.job(job)).result or b"") for job in jobs} == {b'["pool","session"]'}
    assert [one for one in told if one.startswith("pool")] == ["pool open", "pool closed"]
    assert told[-1] == "pool closed"
    await bench.enqueue(uses, 9)
    await bench.drain()
    assert told.count("pool open") == told.count("pool closed") == 2


async def test_a_cancel_of_one_who_makes_a_worker_s_value_or_waits_for_it_is_nobody_else_s() -> None:
    scope = AppScope()
    begun: list[asyncio.Event] = []

    async def make() -> str:
        begun.append(asyncio.Event())
        await begun[-1].wait()
        return f"made by the {len(begun)}."

    maker, waiter, other = (asyncio.create_task(scope.value(pool, make, OnLoop())) for _ in range(3))
    beside = OffLoop(asyncio.get_running_loop())
    in_thread = asyncio.create_task(asyncio.to_thread(drive, scope.value(pool, lambda: beside.wait(make()), beside)))
    await asyncio.sleep(0)
    waiter.cancel()
    await asyncio.wait([waiter])
    maker.cancel()
    await asyncio.wait([maker])
    async with asyncio.timeout(20):
        while len(begun) < 2:
            await asyncio.sleep(0)
        begun[1].set()
        assert {await other, await in_thread} == {"made by the 2."}
        assert await scope.value(pool, make, OnLoop()) == "made by the 2."
    assert (maker.cancelled(), waiter.cancelled()) == (True, True)


async def test_one_job_shares_a_value_among_those_who_need_it(bench: Bench) -> None:
    def user(db: Annotated[Db, roost.Depends(session)]) -> Db:
        return db

    async def same(one: Db, two: Db) -> bool:
        return one is two

    same.__annotations__.update(one=Annotated[Db, roost.Depends(session)], two=Annotated[Db, roost.Depends(user)])
    job = await bench.enqueue(bench.app.job(same, name="same"))
    await bench.drain()
    assert bytes((await bench.job(job)).result or b"") == b"true"
    assert told.count("open") == 1


async def test_tests_put_another_function_in_its_place(bench: Bench) -> None:
    @bench.app.job
    async def name(db: Annotated[Db, roost.Depends(plain)]) -> str:
        return db.name

    bench.app.overrides[plain] = lambda: Db("a stand-in")
    job = await bench.enqueue(name)
    await bench.drain()
    assert bytes((await bench.job(job)).result or b"") == b'"a stand-in"'


async def test_what_nobody_can_make_is_refused_when_the_worker_starts(bench: Bench) -> None:
    def needs(number: int) -> int:
        return number

    def of_a_job(ctx: roost.Context) -> int:
        return 1

    def shared(one: int) -> int:
        return one

    def first(one: int) -> int:
        return one

    first.__annotations__["one"] = Annotated[int, roost.Depends(first)]
    shared.__annotations__["one"] = Annotated[int, roost.Depends(plain)]
    for get, scope, message in (
        (needs, "job", "takes number, which nobody gives it"),
        (of_a_job, "app", "cannot take a job's context"),
        (shared, "app", "cannot depend on plain"),
        (first, "job", "depends on itself"),
    ):

        def handler(value: int) -> None: ...

        handler.__annotations__["value"] = Annotated[int, roost.Depends(get, scope=scope)]  # type: ignore[arg-type]  # one of two words
        app = roost.App("sqlite://:memory:")
        app.job(handler, name="handler")
        with pytest.raises(ConfigurationError, match=message):
            app.registry.check()


async def test_a_process_of_its_own_has_them_too(tmp_path: Path) -> None:
    bench = Bench(app=injected.app)
    notes = tmp_path / "notes"
    jobs = [await bench.enqueue(injected.sync_uses, str(notes)), await bench.enqueue(injected.async_uses, str(notes))]
    await bench.drain(concurrency=1)
    results = [bytes((await bench.job(job)).result or b"") for job in jobs]
    await bench.close()
    assert results == [b'"around pool 1"', b'"around pool 1"']
    assert notes.read_text().split() == ["open", "close", "open", "close", "closed"]
