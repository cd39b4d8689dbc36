"""Streams: a feed or a job's log, followed message by message until the reader leaves or the node goes down."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from roost.domain.feed import EventType, parse_position
from roost.domain.states import TERMINAL
from roost.errors import CursorTooOld, InvalidCursor, NotFound
from roost.service.core import Core
from roost.service.feed import EventFilter, Subscription, filter_of, wire
from roost.wire.codec import Wire
from roost.wire.contract import Operation
from roost.wire.events import FeedReset, FollowEvents, FollowLogs, LogsEnd
from roost.wire.streams import END, EVENT_STREAM, LINE, RESET, Message

Stream = AsyncGenerator[list[Message], None]

BEAT_SECONDS = 15.0
"""A stream says something at least this often."""
LINES = 500

_CONCERNS_LOGS = frozenset(
    {
        EventType.LOGGED.value,
        EventType.JOB_DELETED.value,
        EventType.JOB_PRUNED.value,
        *(state.value for state in TERMINAL),
    }
)


def follow(core: Core, operation: Operation[Any, Any], request: Wire, last_id: str | None) -> Stream:
    """The messages of a stream behind ``last_id`` (or the request's ``after``), in pieces; close it in the end.

    Its first piece comes at once; what refuses the request is raised by it: `InvalidCursor`, `NotFound`, `Unavailable`.
    """
    if operation is EVENT_STREAM:
        assert isinstance(request, FollowEvents)  # noqa: S101 - the operation's own request
        return _events(core, request, last_id)
    assert isinstance(request, FollowLogs)  # noqa: S101 - the operation's own request
    return _logs(core, request, last_id)


async def _events(core: Core, request: FollowEvents, last_id: str | None) -> Stream:
    text = last_id or request.after
    position = parse_position(text) if text else await core.feed.newest()
    while not core.feed.closed:
        subscription = core.feed.subscribe(filter_of(request), position)
        try:
            # Told at once where it begins: a reader that is cut before its first event resumes there.
            yield [Message(str(position))]
            async for messages in _subscribed(subscription):
                yield messages
            return
        except CursorTooOld as error:
            position = (await core.feed.read(None, 1)).start
            told = FeedReset(code=error.code, message=error.message, cursor=str(position))
            yield [Message.of(str(position), RESET, told)]
        finally:
            subscription.close()


async def _subscribed(subscription: Subscription) -> Stream:
    while True:
        events = await subscription.next(BEAT_SECONDS)
        if subscription.closed:
            return
        if events:
            yield [Message.of(str(event.position), event.type, wire(event)) for event in events]
        else:
            yield [Message(str(subscription.position))]


async def _logs(core: Core, request: FollowLogs, last_id: str | None) -> Stream:
    after = _line_number(last_id) if last_id else request.after
    # Subscribed before it is read: a line in between would otherwise wait for the next one.
    subscription = core.feed.subscribe(
        EventFilter(types=_CONCERNS_LOGS, jobs=frozenset({request.id})), await core.feed.newest()
    )
    known = False
    try:
        while True:
            try:
                page = await core.read(core.reader.logs, request.id, after, LINES)
                state = (await core.read(core.reader.states, [request.id])).get(request.id) if page.ended else None
            except NotFound:
                if not known:
                    raise
                yield [Message.of(str(after), END, LogsEnd())]
                return
            if page.lines:
                after = page.lines[-1].number
            if page.lines or not known:
                yield [Message.of(str(line.number), LINE, line) for line in page.lines] or [Message(str(after))]
            known = True
            if page.ended and (state is None or state in TERMINAL):
                yield [Message.of(str(after), END, LogsEnd(state=state))]
                return
            if len(page.lines) == LINES:
                continue
            while not await _heard(subscription):
                if subscription.closed:
                    return
                yield [Message(str(after))]
    finally:
        subscription.close()


async def _heard(subscription: Subscription) -> bool:
    try:
        return bool(await subscription.next(BEAT_SECONDS))
    except CursorTooOld:
        # So much happened elsewhere meanwhile: the log itself is what counts.
        subscription.position = await subscription.newest()
        return True


def _line_number(text: str) -> int:
    if not text.isdecimal() or len(text) > 16:
        raise InvalidCursor(f"{text[:40]!r} is no line number", path="last-event-id", help="give the id of a line")
    return int(text)
