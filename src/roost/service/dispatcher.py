"""From the feed to deliveries: each endpoint's place moves in the transaction that stores what it is to be sent.

So every event becomes one delivery however many nodes read it and whenever one dies. Sending is apart: each endpoint
has a sender of its own, and one that hangs keeps no other waiting.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable

import msgspec

from roost.domain.feed import EventType, Happening, Position, parse_position
from roost.domain.states import State
from roost.domain.targets import Allowed
from roost.engine.hooks import AdvanceWebhook, Cursor, NewDelivery, PruneDeliveries
from roost.errors import CursorTooOld
from roost.service.core import Core
from roost.service.feed import FeedPage
from roost.service.webhook_http import Poster
from roost.service.webhook_sending import Sender
from roost.wire.codec import encode, timestamp

log = logging.getLogger("roost.service.webhooks")

PAGE = 500
"""Events one transaction makes deliveries of."""
PAGE_WITH_RESULTS = 50
GROUP_MS = 20
"""Commits of so long share a look at the feed."""
UNKNOWN_MS = 1_000
"""The same while there is no endpoint: another node may make the first one."""
GAP_MS = 50
"""A gap in the feed is looked at again after this long."""
IDLE_MS = 100
"""A sender that got nothing is followed by the next after this long."""
QUIET_MS = 30_000
"""A place that moved past events nobody wants is stored this often at most."""
QUIET_ROWS = 5_000
KEEP_MS = 30 * 86_400_000
"""Deliveries that ended are kept this long."""
_PRUNE_PERIOD_MS = 3_600_000
NOISE = frozenset((EventType.PROGRESS, EventType.LOGGED, EventType.STEP))
"""Not sent to an endpoint that names no events."""


class _Place(msgspec.Struct):
    """How far this node has looked for an endpoint; ``stored`` is what the store says."""

    stored: str
    seen: Position
    stored_at: int


class Dispatcher:
    """The work of the webhooks' loop."""

    def __init__(self, core: Core, poster: Poster | None = None) -> None:
        self._core = core
        settings = core.settings
        self._poster = poster or Poster(Allowed(settings.webhook_allow), seconds=settings.webhook_seconds)
        self._hint: Callable[[int], None] = lambda at: None
        self._places: dict[str, _Place] = {}
        self._senders: dict[str, tuple[Sender, asyncio.Task[None]]] = {}
        self._endpoints = False
        self._next_prune = 0
        self._stopped = False

    def wake_by(self, hint: Callable[[int], None]) -> None:
        """Call ``hint`` with the moment at which there is something to do."""
        self._hint = hint

    def heed(self) -> None:
        """The feed has grown."""
        self._hint(self._core.now() + (GROUP_MS if self._endpoints else UNKNOWN_MS))

    async def stop(self) -> None:
        """Let what is being sent end, for a moment; what is not told then is sent again."""
        self._stopped = True
        for sender, _ in self._senders.values():
            sender.stop()
        if self._senders:
            await asyncio.wait([task for _, task in self._senders.values()])

    async def __call__(self) -> int | None:
        """One look at all endpoints; when the next is wanted."""
        core = self._core
        cursors = await core.read(core.reader.webhook_cursors)
        self._endpoints = bool(cursors)
        names = {cursor.name for cursor in cursors}
        self._places = {name: place for name, place in self._places.items() if name in names}
        if not cursors or self._stopped:
            return None
        wanted: list[int] = []
        pages: dict[tuple[Position, int], FeedPage] = {}
        for cursor in cursors:
            if not cursor.crowded:
                again, delivered = await self._dispatch(cursor, pages)
                if again is not None:
                    wanted.append(again)
                if delivered:
                    cursor.next_at = core.now()
            if cursor.next_at is not None and cursor.name not in self._senders:
                if cursor.next_at <= core.now():
                    self._start(cursor.name)
                else:
                    wanted.append(cursor.next_at)
        wanted.append(await self._prune())
        return min(wanted)

    # --- the feed -----------------------------------------------------------------------------------------------------

    async def _dispatch(self, cursor: Cursor, pages: dict[tuple[Position, int], FeedPage]) -> tuple[int | None, bool]:
        """Deliveries for the next events: when to look again, and whether there is something to send."""
        core, now = self._core, self._core.now()
        place = self._places.get(cursor.name)
        if place is None or place.stored != cursor.position:
            place = self._places[cursor.name] = _Place(cursor.position, parse_position(cursor.position), now)
        limit = PAGE_WITH_RESULTS if cursor.rule.include else PAGE
        page, lost = pages.get((place.seen, limit)), False
        if page is None:
            try:
                page = await core.feed.read(place.seen, limit)
                pages[place.seen, limit] = page
            except CursorTooOld as error:
                log.error("events for the webhook %s were deleted before they were sent: %s", cursor.name, error)
                page, lost = await core.feed.read(None, limit), True
        found = await self._tagged(cursor, [event for event in page.events if wants(cursor, event)])
        place.seen = page.cursor
        stored = parse_position(place.stored)
        quiet = now - place.stored_at < QUIET_MS and place.seen.seq - stored.seq < QUIET_ROWS
        if found or lost or (place.seen != stored and not quiet):
            deliveries = await self._deliveries(cursor, found)
            position = str(place.seen)
            acted = await core.act_for_itself(
                AdvanceWebhook(
                    name=cursor.name, expected=place.stored, position=position, deliveries=deliveries, lost=lost
                )
            )
            if not acted.count:
                # Another node was first, or the endpoint was changed: read anew what the store says.
                del self._places[cursor.name]
                return now, True
            place.stored, place.stored_at = position, now
        again = now if page.more else now + GAP_MS if page.gap else None
        return again, bool(found)

    async def _tagged(self, cursor: Cursor, events: list[Happening]) -> list[Happening]:
        """Those of ``events`` whose jobs have the tags that the endpoint asks for."""
        ids = {event.job for event in events if event.job is not None} if cursor.rule.tags else set()
        if not ids:
            return [] if cursor.rule.tags else events
        tags = await self._core.read(self._core.reader.tags, sorted(ids))
        return [event for event in events if event.job in tags and cursor.rule.tagged(tags[event.job])]

    async def _deliveries(self, cursor: Cursor, events: list[Happening]) -> list[NewDelivery]:
        results: dict[int, str] = {}
        if "result" in cursor.rule.include:
            ids = [event.job for event in events if event.state is State.SUCCEEDED and event.job is not None]
            if ids:
                results = await self._core.read(self._core.reader.results, ids)
        return [
            NewDelivery(message_id(cursor.name, event), event.type, event.job, body(event, results)) for event in events
        ]

    # --- senders ------------------------------------------------------------------------------------------------------

    def _start(self, name: str) -> None:
        sender = Sender(self._core, self._poster, name, self._core.settings.webhook_seconds)
        task = asyncio.get_running_loop().create_task(sender.run(), name=f"roost-webhook-{name}")
        self._senders[name] = (sender, task)
        task.add_done_callback(lambda done: self._sent(name, done))

    def _sent(self, name: str, done: asyncio.Task[None]) -> None:
        sender, _ = self._senders.pop(name)
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            log.error("the sender to %s failed: %s", name, error, exc_info=error)
            self._hint(self._core.now() + UNKNOWN_MS)
        else:
            # Whatever it saw to come: something may have come while its last transaction ran. Where another node has
            # all there is, it is not asked for without a pause.
            self._hint(self._core.now() + (0 if sender.count else IDLE_MS))

    async def _prune(self) -> int:
        core, now = self._core, self._core.now()
        if now >= self._next_prune:
            acted = await core.act_for_itself(PruneDeliveries(before=now - KEEP_MS))
            self._next_prune = now if acted.more else now + _PRUNE_PERIOD_MS
        return self._next_prune


def wants(cursor: Cursor, event: Happening) -> bool:
    """Whether an endpoint is told of an event."""
    if cursor.rule.events is None and event.type in NOISE:
        return False
    return cursor.rule.wants(event.type, *_place(event))


def _place(event: Happening) -> tuple[str | None, str | None]:
    """The queue and the kind an event concerns; where the job is gone, or it is none's, as its data tells."""
    queue, kind = event.data.get("queue"), event.data.get("kind")
    return (
        event.queue or (queue if isinstance(queue, str) else None),
        event.kind or (kind if isinstance(kind, str) else None),
    )


def message_id(name: str, event: Happening) -> str:
    """The webhook-id: the same for one event and endpoint for ever, and without a dot."""
    endpoint = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"msg_{event.position.seq}_{event.position.index}_{endpoint}"


def body(event: Happening, results: dict[int, str]) -> str:
    """What is sent: names and states; of a job's data only what says where it stands and why."""
    told: dict[str, object] = {"id": str(event.position), "type": event.type, "at": timestamp(event.at)}
    if event.job is None:
        told["data"] = event.data
        return encode(told).decode()
    facts = {name: event.data[name] for name in ("reason", "attempt", "outcome") if event.data.get(name) is not None}
    queue, kind = _place(event)
    job: dict[str, object] = {"id": event.job, "kind": kind, "queue": queue, "state": event.state, **facts}
    if event.job in results:
        job["result"] = msgspec.Raw(results[event.job].encode())
    told["job"] = job
    return encode(told).decode()
