"""The feed as a service: read from any position, or follow it.

One task for each node follows the log while anybody listens, woken by commits. It keeps the latest events in a ring
that all subscribers share; a subscriber is a position and a filter, nothing else. One that falls behind the ring reads
the store by itself until it has caught up: nothing is lost, and a slow reader costs no memory.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from roost.domain.feed import Happening, Position, check_types, parse_position
from roost.errors import CursorTooOld, Unavailable
from roost.service.clock import give_way
from roost.wire.codec import encode, timestamp
from roost.wire.events import EventPage, FeedEvent, FollowEvents, ListEvents

if TYPE_CHECKING:
    from roost.service.core import CallInfo, Core

log = logging.getLogger("roost.service.feed")

PAGE = 500
"""Events read from the store at a time."""
RING = 8192
"""Events the node keeps for its subscribers, at most."""
SCAN = 20_000
"""Events one call looks through for those that match."""
_RETRY_SECONDS = 1.0
"""After the store could not be read."""
_GAP_SECONDS = (0.01, 0.5)
"""How soon to look again at a gap nobody told the end of: at first, and at last."""


class EventFilter(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader wants to hear of; empty: all."""

    types: frozenset[str] = frozenset()
    queues: frozenset[str] = frozenset()
    jobs: frozenset[int] = frozenset()
    kinds: frozenset[str] = frozenset()

    def matches(self, event: Happening) -> bool:
        """Whether the reader wants this one."""
        return (
            (not self.types or event.type in self.types)
            and (not self.jobs or event.job in self.jobs)
            and (not self.queues or event.queue in self.queues)
            and (not self.kinds or event.kind in self.kinds)
        )


EVERYTHING = EventFilter()


class FeedPage(msgspec.Struct, kw_only=True):
    """Events in order, where to go on, and whether there is more to read at once."""

    events: list[Happening]
    start: Position
    """Where reading began."""
    cursor: Position
    more: bool
    gap: bool = False
    """Something newer waits behind a transaction whose end is not known yet."""


class Feed:
    """The node's feed: `read` from the store, `subscribe` to what comes."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._ring: list[Happening] = []
        self._places: list[Position] = []
        """Of the ring's events."""
        self._tail: Position | None = None
        """The ring begins behind it."""
        self._head: Position | None = None
        """How far the follower has read; None: it does not run."""
        self._news = asyncio.Event()
        self._subscriptions: set[Subscription] = set()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read(self, after: Position | None, limit: int) -> FeedPage:
        """Up to ``limit`` events behind ``after`` (None: from the oldest kept), in the order of their commits.

        Raises `CursorTooOld` where some of them are kept no more, `Overloaded`, `Unavailable`.
        """
        found = await self._core.read(self._core.reader.feed, after, limit)
        return FeedPage(events=found.events, start=found.start, cursor=found.position, more=found.more, gap=found.gap)

    async def newest(self) -> Position:
        """The position behind all that is committed now: following from here misses nothing that comes."""
        return await self._core.read(self._core.reader.feed_newest)

    def subscribe(self, wanted: EventFilter, after: Position) -> Subscription:
        """Follow the feed from behind ``after``; close what you get."""
        if self._closed:
            raise Unavailable("the server is shutting down", help="try again, or on another node")
        subscription = Subscription(self, wanted, after)
        self._subscriptions.add(subscription)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._follow(), name="roost-feed")
        return subscription

    # --- what wakes it ------------------------------------------------------------------------------------------------

    def heed(self) -> None:
        """Something was committed, here or elsewhere."""
        self._news.set()

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        self._news.set()
        for subscription in self._subscriptions:
            subscription.news.set()

    @property
    def closed(self) -> bool:
        """Whether the node goes down."""
        return self._closed

    @property
    def listeners(self) -> int:
        """How many subscriptions are open."""
        return len(self._subscriptions)

    # --- the follower -------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        core, started = self._core, False
        pause = _GAP_SECONDS[0]
        try:
            while self._subscriptions and not self._closed:
                self._news.clear()
                try:
                    if self._head is None:
                        self._begin(await self.newest())
                    found = await core.read(core.reader.feed, self._head, PAGE)
                except CursorTooOld:
                    # Pruned under our feet, or restored: begin anew; subscribers find out by themselves.
                    self._head, started = None, False
                    self._wake()
                    await core.clock.wait(self._news, _RETRY_SECONDS)
                    continue
                except Exception as error:
                    log.warning("the feed cannot be read, trying again: %s", error)
                    await core.clock.wait(self._news, _RETRY_SECONDS)
                    continue
                if found.events:
                    self._add(found.events)
                if found.position != self._head or not started:
                    started = True
                    self._head = found.position
                    self._wake()
                if found.more:
                    continue
                # Hints are only hints: somebody who listens must not wait for ever for one that was lost.
                wait = core.settings.safety_seconds
                if found.gap:
                    wait, pause = pause, min(pause * 2, _GAP_SECONDS[1])
                else:
                    pause = _GAP_SECONDS[0]
                await core.clock.wait(self._news, wait)
        finally:
            self._task = None
            self._head = self._tail = None
            self._ring, self._places = [], []
            for subscription in self._subscriptions:
                subscription.news.set()

    def _begin(self, at: Position) -> None:
        self._ring, self._places = [], []
        self._head = self._tail = at

    def _add(self, events: list[Happening]) -> None:
        self._ring += events
        self._places += [event.position for event in events]
        extra = len(self._ring) - RING
        # In large pieces, so that dropping costs little.
        if extra > RING // 4:
            self._tail = self._places[extra - 1]
            del self._ring[:extra], self._places[:extra]

    def _wake(self) -> None:
        for subscription in self._subscriptions:
            subscription.news.set()

    # --- subscribers --------------------------------------------------------------------------------------------------

    def recent(self, after: Position, limit: int) -> FeedPage | None:
        """What the ring has behind ``after``; None where it begins later or nobody follows."""
        head, tail = self._head, self._tail
        if head is None or tail is None or after < tail:
            return None
        start = bisect_right(self._places, after)
        events = self._ring[start : start + limit]
        more = start + limit < len(self._ring)
        return FeedPage(events=events, start=after, cursor=events[-1].position if more else max(head, after), more=more)

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._core.clock.monotonic()

    async def wait(self, news: asyncio.Event, seconds: float | None) -> bool:
        """Wait for ``news``; False when the time is over."""
        return await self._core.clock.wait(news, seconds)

    def leave(self, subscription: Subscription) -> None:
        """It listens no more; without anybody who does the follower ends."""
        self._subscriptions.discard(subscription)
        if not self._subscriptions:
            self._news.set()


class Subscription:
    """One reader's place in the feed."""

    def __init__(self, feed: Feed, wanted: EventFilter, after: Position) -> None:
        self._feed = feed
        self._wanted = wanted
        self.position = after
        """Everything up to here was handed over, or does not match."""
        self.news = asyncio.Event()

    @property
    def closed(self) -> bool:
        """Whether the node goes down: nothing more will come."""
        return self._feed.closed

    async def newest(self) -> Position:
        """See `Feed.newest`."""
        return await self._feed.newest()

    async def next(self, seconds: float | None = None) -> list[Happening]:
        """The next events that match, in order; empty where none came for ``seconds``, and where it is `closed`.

        Raises `CursorTooOld` where this reader was so slow that what it missed is kept no more.
        """
        until = None if seconds is None else self._feed.monotonic() + seconds
        while not self._feed.closed:
            self.news.clear()
            page = self._feed.recent(self.position, PAGE) or await self._feed.read(self.position, PAGE)
            moved = page.cursor > self.position
            self.position = page.cursor
            found = [event for event in page.events if self._wanted.matches(event)]
            if found:
                return found
            left = None if until is None else until - self._feed.monotonic()
            if left is not None and left <= 0:
                break
            if page.more:
                # Others have their turn while one looks through a long past.
                await give_way()
            elif page.gap:
                await self._feed.wait(self.news, _GAP_SECONDS[1] if left is None else min(left, _GAP_SECONDS[1]))
            elif not moved:
                await self._feed.wait(self.news, left)
        return []

    async def __aiter__(self) -> AsyncIterator[Happening]:
        while found := await self.next():
            for event in found:
                yield event

    def close(self) -> None:
        """Listen no more; twice does no harm."""
        self._feed.leave(self)


def wire(event: Happening) -> FeedEvent:
    """An event as the API tells it."""
    return FeedEvent(
        id=str(event.position),
        at=timestamp(event.at),
        type=event.type,
        job=event.job,
        queue=event.queue,
        kind=event.kind,
        state=event.state,
        actor=event.actor,
        data=msgspec.Raw(encode(event.data)) if event.data else None,
    )


def filter_of(request: ListEvents | FollowEvents) -> EventFilter:
    """What a request wants to hear of; raises `InvalidRequest` for a type that no event has."""
    check_types(request.type or (), "type")
    return EventFilter(
        types=frozenset(request.type or ()),
        queues=frozenset(request.queue or ()),
        jobs=frozenset(request.job or ()),
        kinds=frozenset(request.kind or ()),
    )


async def page(core: Core, request: ListEvents, call: CallInfo) -> EventPage:
    """Events behind a position; raises `InvalidCursor`, `CursorTooOld`."""
    wanted = filter_of(request)
    position = None if request.after is None else parse_position(request.after)
    events: list[FeedEvent] = []
    scanned = 0
    while True:
        missing = request.limit - len(events)
        found = await core.feed.read(position, missing if wanted == EVERYTHING else PAGE)
        scanned += len(found.events)
        for event in found.events:
            position = event.position
            if wanted.matches(event):
                events.append(wire(event))
                if len(events) == request.limit:
                    break
        else:
            position = found.cursor
            if found.more and scanned < SCAN and len(events) < request.limit:
                continue
        more = found.more or position < found.cursor
        return EventPage(events=events, cursor=str(position), more=more)
