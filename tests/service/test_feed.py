"""Followers of the feed: woken by commits, idle at no cost, never losing anything however slow they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from roost.domain.feed import Position
from roost.engine.batch import Effects
from roost.engine.calls import PruneFeed
from roost.engine.store import Store
from roost.errors import Unavailable
from roost.service import feed as service
from roost.service.core import RuntimeSettings
from roost.service.feed import EVERYTHING, EventFilter, Subscription
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.events import FollowEvents, FollowLogs, ListEvents
from roost.wire.streams import EVENT_STREAM, LOG_STREAM, Message
from tests.service.calls import claim, enqueue, settle_one
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock, settle
from tests.service.watched_store import WatchedStore
from tests.support.feed import Replay

pytestmark = pytest.mark.feature("events")


class Reads:
    """Counts what is asked of the store's feed."""

    def __init__(self, runtime: Runtime) -> None:
        self.count = 0
        reader: Any = runtime._core.reader
        real: Callable[..., Any] = reader.feed
        newest: Callable[..., Any] = reader.feed_newest

        def feed(after: Position | None, limit: int) -> Any:
            self.count += 1
            return real(after, limit)

        def feed_newest() -> Any:
            self.count += 1
            return newest()

        reader.feed, reader.feed_newest = feed, feed_newest


async def take(subscription: Subscription, count: int) -> list[int | None]:
    """The jobs of the next ``count`` events."""
    found: list[int | None] = []
    while len(found) < count:
        events = await asyncio.wait_for(subscription.next(), 20)
        assert events, "the subscription ended"
        found += [event.job for event in events]
    assert len(found) == count
    return found


async def test_two_hundred_idle_readers_cost_one_reader(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False, settings=RuntimeSettings(safety_seconds=3600))
    reads = Reads(runtime)
    start = await runtime.feed.newest()
    subscriptions = [runtime.feed.subscribe(EVERYTHING, start) for _ in range(200)]
    waiting = [asyncio.create_task(subscription.next()) for subscription in subscriptions]
    await settle()
    await settle()
    reads.count = 0
    await clock.advance(3_000_000)
    assert reads.count == 0, "nobody polls"
    id = await enqueue(runtime)
    assert [[event.job for event in events] for events in await asyncio.gather(*waiting)] == [[id]] * 200
    assert reads.count <= 2, "one reads for all"
    for subscription in subscriptions:
        subscription.close()
        subscription.close()
    await settle()
    assert runtime.feed.listeners == 0
    reads.count = 0
    await enqueue(runtime)
    await clock.advance(10_000_000)
    assert reads.count == 0, "without listeners nobody follows"


async def test_a_lost_hint_is_made_up_for(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    subscription = runtime.feed.subscribe(EVERYTHING, await runtime.feed.newest())
    waiting = asyncio.create_task(subscription.next())
    await settle()
    runtime.feed.heed = lambda: None  # type: ignore[method-assign]
    id = await enqueue(runtime)
    await settle()
    assert not waiting.done()
    await clock.advance(10_000)
    assert [event.job for event in await waiting] == [id]
    subscription.close()


async def test_another_nodes_commit_wakes(store: Store, make_runtime: MakeRuntime) -> None:
    """Over the store's own signals where it has any; here by the hint itself."""
    runtime = await make_runtime(store, loops=False)
    subscription = runtime.feed.subscribe(EVERYTHING, await runtime.feed.newest())
    waiting = asyncio.create_task(subscription.next())
    await settle()
    runtime._heed_others(Effects(fed=True))
    runtime._heed_others(None)
    id = await enqueue(runtime)
    assert [event.job for event in await asyncio.wait_for(waiting, 20)] == [id]
    subscription.close()


async def test_a_slow_reader_loses_nothing_and_costs_no_memory(
    memory_store: WatchedStore, make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "RING", 64)
    monkeypatch.setattr(service, "PAGE", 16)
    runtime = await make_runtime(memory_store, loops=False)
    start = await runtime.feed.newest()
    slow, quick = runtime.feed.subscribe(EVERYTHING, start), runtime.feed.subscribe(EVERYTHING, start)
    filtered = runtime.feed.subscribe(EventFilter(types=frozenset({"succeeded"})), start)
    await settle()
    ids = []
    for _ in range(300):
        ids.append(await enqueue(runtime))
        assert await take(quick, 1) == ids[-1:]
        assert len(runtime.feed._ring) <= 64 + 16 + 1
    token, (last,) = await claim(runtime)
    await settle_one(runtime, last, token)
    assert await take(filtered, 1) == [last]
    # It did not read for all that time; what the ring dropped the store has.
    assert await take(slow, 302) == [*ids, last, last]
    for subscription in (slow, quick, filtered):
        subscription.close()


async def test_readers_at_every_place_while_jobs_live(store: Store, make_runtime: MakeRuntime) -> None:
    """Followers join, sleep and leave at random; each sees what a reader of the whole feed sees from its place on."""
    runtime = await make_runtime(store, loops=False)
    start = await runtime.feed.newest()
    seen: list[list[str]] = []

    async def follow(after: Position, total: int) -> list[str]:
        subscription = runtime.feed.subscribe(EVERYTHING, after)
        found: list[str] = []
        while len(found) < total:
            found += [str(event.position) for event in await asyncio.wait_for(subscription.next(), 20)]
        subscription.close()
        return found

    async def work(count: int) -> None:
        for _ in range(count):
            await enqueue(runtime)
            token, ids = await claim(runtime)
            for id in ids:
                await settle_one(runtime, id, token)

    first = asyncio.create_task(follow(start, 90))
    await asyncio.gather(*(work(10) for _ in range(3)))
    whole = await first
    assert len(set(whole)) == 90
    for place in range(0, 90, 7):
        page = await runtime.handle(contract.LIST_EVENTS, ListEvents(after=whole[place], limit=1000))
        assert [event.id for event in page.events] == whole[place + 1 :]
        if place < 89:
            seen.append(await follow(Position(*map(int, whole[place].split("."))), 89 - place))
            assert seen[-1] == whole[place + 1 :]
    replay = Replay()
    replay.read(store.reader)
    replay.check(store.reader)


async def test_pages_with_filters_say_where_to_go_on(
    memory_store: WatchedStore, make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "PAGE", 8)
    monkeypatch.setattr(service, "SCAN", 24)
    runtime = await make_runtime(memory_store, loops=False)
    wanted = []
    for number in range(60):
        id = await enqueue(runtime, queue="rare" if number % 20 == 19 else "usual")
        if number % 20 == 19:
            wanted.append(id)
    found, cursor, pages = [], None, 0
    while True:
        request = ListEvents(after=cursor, limit=1, queue=["rare"])
        page = await runtime.handle(contract.LIST_EVENTS, request)
        assert len(page.events) <= 1
        found += [event.job for event in page.events]
        cursor, pages = page.cursor, pages + 1
        if not page.more:
            break
    assert found == wanted
    assert 3 <= pages <= 8


async def test_who_is_away_for_too_long_is_told(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    for _ in range(5):
        await enqueue(runtime)
        await clock.advance(1000)
    await runtime._core.act_for_itself(PruneFeed(before=clock.now() - 2500))
    messages = runtime.follow(EVENT_STREAM, FollowEvents(), "1")
    assert [message.name for message in await anext(messages)] == [""]
    assert [message.name for message in await anext(messages)] == ["reset"]
    assert [message.id for message in await anext(messages)] == ["3"]
    assert [message.id for message in await anext(messages)] == ["4.0", "5.0"]
    await messages.aclose()


async def test_a_silent_stream_says_that_it_is_there_and_moves_its_position_on(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    messages = runtime.follow(EVENT_STREAM, FollowEvents(type=["failed"]))
    assert await anext(messages) == [Message("0")]
    for _ in range(4):
        await enqueue(runtime)
    waiting = asyncio.ensure_future(anext(messages))
    await clock.advance(14_900)
    assert not waiting.done()
    await clock.advance(200)
    assert await waiting == [Message("4")], "a reader that comes back need not look through what did not match"
    await messages.aclose()


async def test_a_log_that_sleeps_a_minute_is_still_followed(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    id = await enqueue(runtime)
    token, _ = await claim(runtime)
    messages = runtime.follow(LOG_STREAM, FollowLogs(id=id))
    found: list[Message] = []

    async def follow() -> None:
        async for piece in messages:
            found.extend(piece)

    following = asyncio.ensure_future(follow())
    await clock.advance(60_000)
    assert [message.name for message in found] == [""] * 5, "one at once, then one every 15 s"
    await settle_one(runtime, id, token)
    await asyncio.wait_for(following, 20)
    assert found[-1].name == "end"
    assert runtime.feed.listeners == 0


async def test_a_node_that_goes_down_ends_all_streams(memory_store: WatchedStore, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(memory_store, loops=False)
    id = await enqueue(runtime)
    streams = [runtime.follow(EVENT_STREAM, FollowEvents()), runtime.follow(LOG_STREAM, FollowLogs(id=id))]

    async def drain(stream: Any) -> None:
        async for _ in stream:
            pass

    draining = [asyncio.ensure_future(drain(stream)) for stream in streams]
    await settle()
    await settle()
    assert not any(task.done() for task in draining)
    await runtime.quiesce()
    await asyncio.wait_for(asyncio.gather(*draining), 20)
    with pytest.raises(Unavailable):
        runtime.follow(EVENT_STREAM, FollowEvents())


async def test_a_store_that_fails_for_a_while_loses_nothing(
    memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    subscription = runtime.feed.subscribe(EVERYTHING, await runtime.feed.newest())
    waiting = asyncio.create_task(subscription.next())
    await settle()
    reader: Any = runtime._core.reader
    real = reader.feed

    def fail(after: Position | None, limit: int) -> Any:
        raise Unavailable("gone for a moment")

    reader.feed = fail
    id = await enqueue(runtime)
    await settle()
    assert not waiting.done()
    reader.feed = real
    await clock.advance(1000)
    assert [event.job for event in await waiting] == [id]
    subscription.close()
