"""The feed on the wire: every event of every job in the order of commits, and what a reader asks for."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from roost.domain.names import Name
from roost.domain.states import State
from roost.wire.codec import Wire
from roost.wire.jobs import JobId, MaybeJson

Place = Annotated[str, msgspec.Meta(max_length=32, description="an event's id, or a page's cursor")]
Types = Annotated[list[Annotated[str, msgspec.Meta(max_length=64)]], msgspec.Meta(max_length=64)]


class FeedEvent(Wire, kw_only=True):
    """One thing that happened; ``id`` is its place in the feed, and reading resumes behind it.

    ``job`` is None where it is no job's; ``queue`` and ``kind`` are the job's, as it is now or was when it was deleted;
    ``state`` is what the event led to, where it is a change of state.
    """

    id: str
    at: str
    type: str
    job: int | None = None
    queue: str | None = None
    kind: str | None = None
    state: State | None = None
    actor: str | None = None
    data: MaybeJson = None


class ListEvents(Wire, kw_only=True):
    """Events behind ``after`` (from the oldest that is kept where None), in order; filters are joined by *and*."""

    after: Place | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    type: Types | None = None
    queue: Annotated[list[Name], msgspec.Meta(max_length=64)] | None = None
    job: Annotated[list[JobId], msgspec.Meta(max_length=64)] | None = None
    kind: Annotated[list[Name], msgspec.Meta(max_length=64)] | None = None


class EventPage(Wire, kw_only=True):
    """``cursor`` is where to go on, also where nothing matched; ``more``: there is more to read at once."""

    events: list[FeedEvent]
    cursor: str
    more: bool = False


class FollowEvents(Wire, kw_only=True):
    """Events behind ``after`` (from now on where None) as they come; filters are joined by *and*."""

    after: Place | None = None
    type: Types | None = None
    queue: Annotated[list[Name], msgspec.Meta(max_length=64)] | None = None
    job: Annotated[list[JobId], msgspec.Meta(max_length=64)] | None = None
    kind: Annotated[list[Name], msgspec.Meta(max_length=64)] | None = None


class FeedReset(Wire, kw_only=True):
    """What lies between the reader's position and ``cursor`` is kept no more; the stream goes on behind ``cursor``."""

    type: Literal["reset"] = "reset"
    code: str
    message: str
    cursor: str


class FollowLogs(Wire, kw_only=True):
    """A job's log lines after line number ``after`` as they come, until the job has ended."""

    id: JobId = 0
    after: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0


class LogsEnd(Wire, kw_only=True):
    """No line follows: the job ended in ``state`` (None: it was deleted)."""

    state: State | None = None
