"""The feed: pages of it, or all that comes, across reconnects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from roost.errors import RoostError, Unavailable
from roost.sdk.patience import WORTH_REPEATING
from roost.sdk.transport import AsyncStream
from roost.wire import contract
from roost.wire.codec import Wire
from roost.wire.contract import Operation
from roost.wire.events import EventPage, FeedEvent, FeedReset, FollowEvents, ListEvents
from roost.wire.lenient import decode_reply
from roost.wire.streams import EVENT_STREAM, RESET, Message

if TYPE_CHECKING:
    from roost.sdk._async.client import AsyncClient

RESUME_SECONDS = 600.0
"""How long a stream that was open is tried to be begun again, at least."""
Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)


class AsyncEvents:
    """``client.events``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def __call__(
        self,
        *,
        after: str | None = None,
        type: Sequence[str] | None = None,
        queue: Sequence[str] | None = None,
        job: Sequence[int] | None = None,
        kind: Sequence[str] | None = None,
    ) -> AsyncStream[FeedEvent | FeedReset]:
        """Events behind ``after`` (from now on where None) as they come, each once and in order, for ever.

        Where the connection is lost it goes on behind the last event, as soon as a server is back within ten minutes;
        to begin it has the client's patience. Where this reader was away for longer than events are kept, a `FeedReset`
        says so and the oldest kept follow. Close the iterator to stop. Raises `InvalidCursor`, and `Unavailable` where
        the server stays out of reach.
        """
        request = FollowEvents(
            after=after,
            type=None if type is None else [*type],
            queue=None if queue is None else [*queue],
            job=None if job is None else [*job],
            kind=None if kind is None else [*kind],
        )
        async with aclosing(follow(self._client, EVENT_STREAM, request)) as messages:
            async for message in messages:
                reset = message.name == RESET
                yield decode_reply(message.data, FeedReset) if reset else decode_reply(message.data, FeedEvent)

    async def list(
        self,
        *,
        after: str | None = None,
        limit: int = 100,
        type: Sequence[str] | None = None,
        queue: Sequence[str] | None = None,
        job: Sequence[int] | None = None,
        kind: Sequence[str] | None = None,
    ) -> EventPage:
        """A page of events behind ``after`` (from the oldest kept where None); raises `CursorTooOld`."""
        request = ListEvents(
            after=after,
            limit=limit,
            type=None if type is None else [*type],
            queue=None if queue is None else [*queue],
            job=None if job is None else [*job],
            kind=None if kind is None else [*kind],
        )
        return await self._client.call(contract.LIST_EVENTS, request)


async def follow(client: AsyncClient, operation: Operation[Q, A], request: Q) -> AsyncStream[Message]:
    """The named messages of a stream, across reconnects; ends only with whoever reads it."""
    last_id, failures, began = "", 0, 0.0
    patience = client.patience
    while True:
        error: RoostError = Unavailable("the stream ended", help="the server is going down; it is begun again")
        try:
            async with aclosing(client.transport.stream(operation, request, last_id)) as pieces:
                async for messages in pieces:
                    failures = 0
                    patience = replace(patience, seconds=max(patience.seconds, RESUME_SECONDS))
                    for message in messages:
                        last_id = message.id
                        if message.name:
                            yield message
        except WORTH_REPEATING as passing:
            error = passing
        failures += 1
        if failures == 1:
            began = time.monotonic()
        pause = patience.pause(failures, error, time.monotonic() - began)
        if pause is None:
            raise error
        await asyncio.sleep(pause)
