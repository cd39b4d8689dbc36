"""Flow as a Python program writes it, through a server and embedded, on both engines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import roost
from roost.errors import InvalidRequest, JobFailed
from tests.e2e.stand import SECONDS, ended, eventually, until, working


@contextmanager
def working_aside(app: roost.App, queue: str) -> Iterator[None]:
    """A worker in a thread of its own, for programs without an event loop."""
    workers: list[roost.Worker] = []
    started = threading.Event()

    async def work() -> None:
        workers.append(await app.worker(queues=[queue], grace=1.0))
        started.set()
        await workers[0].run()

    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    assert started.wait(SECONDS)
    try:
        yield
    finally:
        workers[0].stop()
        thread.join(SECONDS)


@pytest.mark.feature("batches")
async def test_a_batch_calls_back_once_with_how_it_went(app: roost.App, queue: str) -> None:
    @app.job(name="page", queue=queue, retries=0)
    async def page(number: int) -> int:
        if number == 3:
            raise ValueError("poison")
        return number

    reported: list[Any] = []

    @app.job(name="report", queue=queue)
    async def report(word: str, ctx: roost.Context) -> None:
        batch = await ctx.batch()
        reported.append((word, batch.id, batch.total, batch.succeeded, batch.failed))

    async with app.batch(
        "pages", on_complete=report.call("complete"), on_success=report.call("good"), on_failure=report.call("bad")
    ) as batch:
        first = await batch.add(page.call(0))
        more = await batch.add_many([page.call(number) for number in range(1, 5)])
        await page.options(batch=batch).enqueue(5)
        assert (await batch.progress()).state == "open"
    async with working(app, queue):
        finished = await batch.wait(timeout=20)
        for id in finished.callbacks:
            await ended(app, id)
    assert [await handle.result() for handle in (first, *more[:2])] == [0, 1, 2]
    assert (finished.total, finished.succeeded, finished.failed) == (6, 5, 1)
    assert sorted(reported) == [("bad", batch.id, 6, 5, 1), ("complete", batch.id, 6, 5, 1)]


@pytest.mark.feature("batches")
async def test_a_batch_whose_block_fails_is_cancelled(app: roost.App, queue: str) -> None:
    @app.job(name="page", queue=queue)
    async def page(number: int) -> None: ...

    batch = app.batch("half")

    async def fill() -> None:
        async with batch:
            await batch.add(page.call(1))
            raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        await fill()
    progress = await batch.wait(timeout=20)
    assert (progress.total, progress.cancelled) == (1, 1)
    with pytest.raises(InvalidRequest, match="not open"):
        await app.batch().add(page.call(2))


@pytest.mark.feature("batches")
def test_a_batch_without_an_event_loop(app: roost.App, queue: str) -> None:
    @app.job(name="page", queue=queue)
    def page(number: int) -> int:
        return number

    @app.job(name="report", queue=queue)
    def report(ctx: roost.SyncContext) -> int:
        return ctx.batch().succeeded

    with app.batch(on_success=report.call()) as batch:
        handles = batch.add_many_sync([page.call(number) for number in range(3)])
        batch.add_sync(page.call(3))
    with working_aside(app, queue):
        assert [handle.result_sync(timeout=20) for handle in handles] == [0, 1, 2]
        finished = batch.wait_sync(timeout=20)
        assert finished.succeeded == 4
        assert bytes(app.sync_client.jobs.wait(finished.callbacks[0]).result or b"") == b"4"


@pytest.mark.feature("chains")
@pytest.mark.parametrize("way", ["raised", "returned"])
async def test_a_chain_hands_results_on_and_may_be_left_early(app: roost.App, queue: str, way: str) -> None:
    @app.job(name="start", queue=queue)
    async def start(number: int) -> int:
        return number

    @app.job(name="next", queue=queue)
    async def following(ctx: roost.Context) -> int | roost.Exit:
        [before] = await ctx.dependencies(int)
        if before >= 11 and way == "raised":
            raise roost.Exit(before * 100)
        return roost.Exit(before * 100) if before >= 11 else before + 10

    chain = await app.chain(start.call(1), following.call(), following.call(), following.call(), name="numbers")
    async with working(app, queue):
        batch = await chain.wait(timeout=20)
    assert (batch.chain, batch.succeeded, batch.skipped, batch.failed) == (True, 3, 1, 0)
    assert [await handle.result() for handle in chain.handles[:3]] == [1, 11, 1100]
    left = await chain.handles[3].job()
    assert (left.state, left.reason) == ("cancelled", "early_exit")
    with pytest.raises(JobFailed, match="early_exit"):
        await chain.handles[3].result()


@pytest.mark.feature("chains")
def test_a_chain_without_an_event_loop_ends_with_its_first_failure(app: roost.App, queue: str) -> None:
    @app.job(name="fine", queue=queue)
    def fine() -> str:
        return "fine"

    @app.job(name="fails", queue=queue, retries=0)
    def fails() -> None:
        raise ValueError("no")

    @app.job(name="after", queue=queue)
    def after(batch: int = 0) -> str:
        return "told"

    chain = app.chain_sync(fine.call(), fails.call(), fine.call(), on_failure=after.call())
    with working_aside(app, queue):
        batch = chain.wait_sync(timeout=20)
        assert (batch.succeeded, batch.failed, batch.cancelled) == (1, 1, 1)
        assert app.sync_client.jobs.wait(batch.callbacks[0]).state == "succeeded"


@pytest.mark.feature("dependencies")
async def test_a_graph_is_stored_whole_and_runs_in_order(app: roost.App, queue: str) -> None:
    @app.job(name="leaf", queue=queue)
    async def leaf(number: int) -> int:
        return number

    @app.job(name="sum", queue=queue)
    async def total(ctx: roost.Context) -> int:
        return sum(await ctx.dependencies(int))

    leaves = [leaf.call(number) for number in range(1, 5)]
    left = total.options(after=leaves[:2]).call()
    right = total.options(after=leaves[2:]).call()
    top = total.options(after=[left, right]).call()
    handles = await app.enqueue_all([top, left, right, *leaves])
    late = await total.options(after=[handles[0], *handles[3:5]]).enqueue()
    assert (await handles[0].job()).reason == "dependency"
    async with working(app, queue):
        assert await handles[0].result(timeout=20) == 10
        assert await late.result(timeout=20) == 13


@pytest.mark.feature("dependencies")
async def test_a_graph_that_cannot_be_is_refused_whole(app: roost.App, queue: str) -> None:
    @app.job(name="node", queue=queue)
    async def node() -> None: ...

    first = node.call()
    one = node.options(after=[first]).call()
    with pytest.raises(InvalidRequest, match="is not enqueued"):
        await app.enqueue_all([one])
    with pytest.raises(InvalidRequest, match="is not enqueued"):
        await node.options(after=[first]).enqueue()
    assert not (await app.client.jobs.list(queue=[queue])).jobs


@pytest.mark.feature("dependencies")
@pytest.mark.parametrize(
    ("policy", "state"), [("cancel", "cancelled"), ("fail", "failed"), ("run", "succeeded"), (None, "cancelled")]
)
async def test_what_follows_a_failure_is_the_dependent_s_to_say(
    app: roost.App, queue: str, policy: Any, state: str
) -> None:
    @app.job(name="fails", queue=queue, retries=0)
    async def fails() -> None:
        raise ValueError("no")

    @app.job(name="after", queue=queue)
    async def after() -> None: ...

    handle = await after.options(after=[await fails.enqueue()], after_failure=policy).enqueue()
    async with working(app, queue):
        assert (await ended(app, handle.id)).state == state


@pytest.mark.feature("children")
async def test_children_run_with_rules_of_their_own_while_their_parent_waits(app: roost.App, queue: str) -> None:
    @app.job(name="child", queue=queue, retries=3, retry_base="1ms")
    async def child(number: int, ctx: roost.Context) -> int:
        if number == 2 and ctx.failures < 2:
            raise ValueError("not yet")
        return number * 10

    @app.job(name="parent", queue=queue)
    async def parent(ctx: roost.Context) -> list[int]:
        children = await ctx.spawn_many(child, [(number,) for number in range(40)])
        return await ctx.wait_for(children)

    handle = await parent.enqueue()
    async with working(app, queue, concurrency=1):
        assert await handle.result(timeout=20) == [number * 10 for number in range(40)]
    job = await handle.job()
    children = (await app.client.jobs.children(handle.id, limit=100)).jobs
    assert (job.failures, len(children)) == (0, 40)
    assert {one.failures for one in children} == {0, 2}


@pytest.mark.feature("children")
def test_a_sync_parent_waits_for_its_children(app: roost.App, queue: str) -> None:
    @app.job(name="child", queue=queue)
    def child(number: int) -> int:
        return number * 10

    @app.job(name="parent", queue=queue)
    def parent(ctx: roost.SyncContext) -> list[int]:
        one = ctx.spawn(child, 1)
        return [one.result(), *ctx.wait_for([ctx.spawn(child, 2), ctx.spawn(child, 3)])]

    handle = parent.enqueue_sync()
    with working_aside(app, queue):
        assert handle.result_sync(timeout=20) == [10, 20, 30]
    assert len(app.sync_client.jobs.children(handle.id).jobs) == 3


@pytest.mark.feature("steps")
async def test_a_signal_goes_to_who_waits_for_it_or_will(app: roost.App, queue: str) -> None:
    @app.job(name="waits", queue=queue)
    async def waits(ctx: roost.Context) -> list[Any]:
        return [await ctx.wait(f"{queue}-early", type=int), await ctx.wait(f"{queue}-late")]

    handle = await waits.enqueue()
    other = await waits.enqueue()
    assert await app.signal(f"{queue}-early", 7) == 0
    async with working(app, queue):
        await until(app, handle.id, "waiting")
        await until(app, other.id, "waiting")
        assert await app.signal(f"{queue}-late", {"for": "one"}, job=handle) == 1
        assert await handle.result(timeout=20) == [7, {"for": "one"}]
        assert (await other.job()).state == "waiting"
        await app.signal(f"{queue}-late", "all")
        assert await other.result(timeout=20) == [7, "all"]


@pytest.mark.feature("steps")
async def test_programs_without_a_loop_signal_and_read_logs_alike(app: roost.App, queue: str) -> None:
    @app.job(name="waits", queue=queue)
    async def waits(ctx: roost.Context) -> Any:
        news = await ctx.wait(f"{queue}-news")
        ctx.log("came")
        return news

    def without_a_loop() -> Any:
        first, second = app.enqueue_all_sync([waits.call(), waits.call()])
        app.signal_sync(f"{queue}-news", [1], job=first)
        app.signal_sync(f"{queue}-news", [2], job=second)
        results = [handle.result_sync(timeout=20) for handle in (first, second)]
        told = [line.message for line in first.logs_sync()]
        assert told == [line.message for line in first.logs_sync(follow=True)]
        return results, told

    async with working(app, queue):
        assert await asyncio.to_thread(without_a_loop) == ([[1], [2]], ["came"])


@pytest.mark.feature("limits")
async def test_limits_are_made_of_the_call_s_arguments(app: roost.App, queue: str) -> None:
    running: dict[str, int] = {}
    most: dict[str, int] = {}

    @app.job(name="tenant", queue=queue, limits=[roost.Concurrency(f"{queue}:{{tenant}}", 2)])
    async def work(number: int, *, tenant: str, ctx: roost.Context) -> None:
        running[tenant] = running.get(tenant, 0) + 1
        most[tenant] = max(most.get(tenant, 0), running[tenant])
        await ctx.step("one", abs, number)
        running[tenant] -= 1

    handles = await work.enqueue_many([{"number": n, "tenant": f"t{n % 3}"} for n in range(30)])
    async with working(app, queue, concurrency=12):
        for handle in handles:
            await handle.result(timeout=20)
    assert most == {"t0": 2, "t1": 2, "t2": 2}


@pytest.mark.feature("enqueue")
async def test_every_form_carries_every_option(app: roost.App, queue: str) -> None:
    @app.job(
        name="full",
        queue=queue,
        timeout="1m",
        deadline="1h",
        ttl="30m",
        priority="high",
        retries=1,
        tags={"a": "b"},
        owner="ana",
        metadata={"trace": 1},
        limits=[roost.Rate(f"{queue}-{{number}}", "100/m", burst=50, cost="number")],
        unique=roost.Unique("number", within="1h"),
    )
    async def full(number: int) -> None: ...

    first = await full.enqueue(1)
    options = full.options(after=[first], parent=first, delay="1h", unique=roost.Unique("number", scope="queue"))
    many = await options.enqueue_many([(2,), options.arguments(3)])
    single = await options.enqueue(4)
    async with app.batch() as batch:
        in_batch = await batch.add(options.call(5))
    plain = await app.enqueue_all([options.call(6)])

    async def told(handle: roost.Handle[Any]) -> tuple[Any, ...]:
        job = await handle.job()
        return (
            job.timeout, job.priority, job.tags, job.owner, bytes(job.metadata or b""), job.retry, job.parent,
            job.state, job.reason, job.deadline_at is not None,
        )  # fmt: skip

    stories = {str(await told(handle)) for handle in (*many, single, in_batch, *plain)}
    assert len(stories) == 1
    assert "dependency" in stories.pop()
    assert (await in_batch.job()).batch == batch.id
    assert (await full.enqueue(1)).duplicate


class Bounced(LookupError): ...


class Throttled(Exception): ...


@pytest.mark.feature("retries")
async def test_each_kind_of_error_has_its_own_retries(app: roost.App, queue: str) -> None:
    """By class, derived classes included; what the handler says itself still goes first."""

    @app.job(
        name="send",
        queue=queue,
        retries=2,
        retry_base="1ms",
        errors=[roost.on_error(LookupError, retries=0), roost.on_error(Throttled, base="2h", backoff="fixed")],
    )
    async def send(how: str) -> None:
        raise {"bounced": Bounced(how), "throttled": Throttled(how), "other": OSError(how)}.get(
            how, roost.Retry(how, after="3h")
        )

    handles = {how: await send.enqueue(how) for how in ("bounced", "throttled", "other", "word")}
    jobs = {}
    async with working(app, queue):

        async def each_has_its_end() -> bool:
            jobs.update({how: await handle.job() for how, handle in handles.items()})
            over = all(jobs[how].state == "failed" for how in ("bounced", "other"))
            return over and all(jobs[how].reason == "retry" for how in ("throttled", "word"))

        await eventually(each_has_its_end, "each has its end")
    assert {how: job.failures for how, job in jobs.items()} == {"bounced": 1, "throttled": 1, "other": 3, "word": 1}
    waits = {how: _hours_until(jobs[how].run_at) for how in ("throttled", "word")}
    assert 1.5 < waits["throttled"] < 2.5 < waits["word"] < 3.1
    error = jobs["bounced"].error
    assert error is not None
    assert (error.type, error.bases) == (f"{__name__}.Bounced", ["LookupError"])
    rule = jobs["throttled"].retry
    assert rule is not None
    assert [one.types for one in rule.errors] == [("LookupError",), (f"{__name__}.Throttled",)]


def _hours_until(moment: str | None) -> float:
    assert moment is not None
    return (datetime.fromisoformat(moment) - datetime.now(UTC)) / timedelta(hours=1)


async def test_a_sleeping_worker_is_not_needed_for_anything_that_waits(app: roost.App, queue: str) -> None:
    """A parent, its child and a signal with one handler at a time: each waits without it."""

    @app.job(name="inner", queue=queue)
    async def inner(ctx: roost.Context) -> str:
        return str(await ctx.wait(f"{queue}-go"))

    @app.job(name="outer", queue=queue)
    async def outer(ctx: roost.Context) -> str:
        child = await ctx.spawn(inner)
        return await child.result()

    handle = await outer.enqueue()
    async with working(app, queue, concurrency=1):

        async def both_wait() -> bool:
            jobs = (await app.client.jobs.list(queue=[queue], state=["waiting"])).jobs
            return sorted(str(job.reason) for job in jobs) == ["dependency", "event"]

        await eventually(both_wait, "both wait")
        await app.signal(f"{queue}-go", "went")
        assert await handle.result(timeout=20) == "went"


@pytest.mark.feature("progress-result")
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_a_result_in_pieces_is_stored_once_over_all_attempts(app: roost.App, queue: str, kind: str) -> None:
    @app.job(name="async", queue=queue, retries=2, retry_base="1ms")
    async def on_loop(ctx: roost.Context) -> str:
        await ctx.results.append("one")
        await ctx.results.extend([{"two": 2}, None])
        if ctx.attempt == 1:
            raise RuntimeError("again")
        await ctx.results.append("four")
        ctx.summary("x" * 5000)
        return "done"

    @app.job(name="sync", queue=queue, retries=2, retry_base="1ms")
    def in_thread(ctx: roost.SyncContext) -> str:
        ctx.results.append("one")
        ctx.results.extend([{"two": 2}, None])
        if ctx.attempt == 1:
            raise RuntimeError("again")
        ctx.results.append("four")
        ctx.summary("x" * 5000)
        return "done"

    handle = await (on_loop if kind == "async" else in_thread).enqueue()
    async with working(app, queue):
        await handle.result(timeout=20)
    job = await handle.job()
    assert (job.chunks, job.attempt, len(job.summary or "")) == (4, 2, 4000)
    page = (await app.client.jobs.chunks(handle.id)).chunks
    told = [(chunk.number, chunk.attempt, bytes(chunk.chunk).decode()) for chunk in page]
    assert told == [(1, 1, '"one"'), (2, 1, '{"two":2}'), (3, 1, "null"), (4, 2, '"four"')]


@pytest.mark.feature("dependencies")
@pytest.mark.feature("resume")
async def test_what_a_job_came_after_stays_apart_from_what_it_waits_for(app: roost.App, queue: str) -> None:
    @app.job(name="number", queue=queue)
    async def number(value: int) -> int:
        return value

    @app.job(name="both", queue=queue)
    async def both(ctx: roost.Context) -> list[list[int]]:
        before = await ctx.dependencies(int)
        children = await ctx.spawn_many(number, [(10,), (20,)])
        waited = await ctx.wait_for(children)
        return [before, waited, await ctx.dependencies(int)]

    first = await number.enqueue(1)
    handle = await both.options(after=[first]).enqueue()
    async with working(app, queue):
        assert await handle.result(timeout=20) == [[1], [10, 20], [1]]
