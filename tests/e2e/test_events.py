"""The feed and logs as users read them: over HTTP and embedded, with and without an event loop, on both engines."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing

import msgspec
import pytest

import roost
from roost.domain.states import State
from roost.errors import InvalidCursor, NotFound
from roost.wire.events import FeedEvent
from roost.wire.jobs import NewJob
from tests.e2e.stand import SECONDS, Stand, working

pytestmark = pytest.mark.feature("events")


async def test_an_application_sees_its_jobs_live(app: roost.App, queue: str) -> None:
    @app.job(name=f"greet.{queue}", queue=queue)
    async def greet(name: str, ctx: roost.Context) -> str:
        ctx.log(f"hello {name}")
        ctx.log("bye")
        return name

    client = app.client
    seen: list[tuple[str, int | None]] = []

    async def watch(wanted: int) -> None:
        async with aclosing(client.events(queue=[queue])) as events:
            async for event in events:
                assert isinstance(event, FeedEvent)
                seen.append((event.type, event.job))
                if sum(type == "succeeded" for type, _ in seen) == wanted:
                    return

    watching = asyncio.create_task(watch(2))
    await asyncio.sleep(0)
    newest = (await client.events.list(limit=1)).cursor
    assert newest
    async with working(app):
        first = await greet.enqueue(name="ana")
        lines = [line.message async for line in first.logs(follow=True)]
        assert lines == ["hello ana", "bye"]
        assert [line.message async for line in first.logs()] == lines
        assert [line.message async for line in first.logs(follow=True, after=1)] == ["bye"]
        second = await greet.enqueue(name="ben")
        await asyncio.wait_for(watching, SECONDS)
    for handle in (first, second):
        of_job = [type for type, job in seen if job == handle.id]
        assert [type for type in of_job if type in ("created", "started", "succeeded")][-2:] == ["started", "succeeded"]
        page = await client.events.list(job=[handle.id], limit=1000)
        states = [event.state for event in page.events if event.state is not None]
        assert states == [State.READY, State.RUNNING, State.SUCCEEDED]


def test_the_same_without_an_event_loop(stand: Stand, queue: str) -> None:
    with closing(stand.app()) as app:
        client = app.sync_client
        ids = [client.jobs.enqueue(NewJob(kind="call", queue=queue, input=msgspec.Raw(b"{}"))).id for _ in range(3)]
        with closing(client.events(after="0", queue=[queue], type=["created"])) as events:
            found = [next(events) for _ in ids]
        assert [event.job for event in found if isinstance(event, FeedEvent)] == ids
        with closing(client.events(after=found[0].id, queue=[queue])) as events:  # type: ignore[union-attr]
            again = next(events)
            assert isinstance(again, FeedEvent)
            assert again.job == ids[1]
        client.jobs.cancel(ids[0])
        assert list(client.jobs.follow_logs(ids[0])) == []
        with pytest.raises(InvalidCursor):
            next(client.events(after="behind"))
        with pytest.raises(NotFound):
            next(client.jobs.follow_logs(10**9))


async def test_many_iterators_end_without_a_trace(app: roost.App, queue: str) -> None:
    client = app.client
    streams = [client.events(queue=[queue]) for _ in range(20)]
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0.2)
    (job,) = [await client.jobs.enqueue(NewJob(kind="call", queue=queue, input=msgspec.Raw(b"{}")))]
    found = await asyncio.wait_for(asyncio.gather(*waiting), SECONDS)
    assert {event.job for event in found if isinstance(event, FeedEvent)} == {job.id}
    for stream in streams:
        await stream.aclose()
