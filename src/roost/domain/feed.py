"""The feed: what every committed transaction changed, as facts over sets of jobs, expanded into one event for each job.

A transaction that changed anything leaves one row: a JSON list of facts ``[type, ids, data?]``. A set of ids without
holes is written ``[[first, last]]``, so that a thousand jobs are told in as many bytes as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

import msgspec

from roost.domain.globs import matches
from roost.domain.states import State
from roost.errors import InvalidCursor, InvalidRequest

Ids = list[int | tuple[int, int]]


class EventType(StrEnum):
    """What can have happened; the words of a job's history, and those of what is no job's."""

    CREATED = "created"
    """A job was stored; its state is with it."""
    WAITING = "waiting"
    READY = "ready"
    HELD = "held"
    STARTED = "started"
    """A worker took it."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    ATTEMPT_ENDED = "attempt_ended"
    """An attempt ended otherwise than by the job's success, which says it alone."""
    STEP = "step"
    PROGRESS = "progress"
    LOGGED = "logged"
    """Its handler wrote log lines."""
    DECIDED = "decided"
    HOLD_EXTENDED = "hold_extended"
    CANCEL_REQUESTED = "cancel_requested"
    DEADLINE_PASSED = "deadline_passed"
    OVERLAP_REPLACED = "overlap_replaced"
    REPLACED = "replaced"
    """Another job took its unique key, and its place."""
    RESCHEDULED = "rescheduled"
    REOPENED = "reopened"
    MOVED = "moved"
    """It was given another queue, priority or time."""
    RUN_NOW = "run_now"
    HOLD_REQUESTED = "hold_requested"
    """Somebody holds it by hand."""
    EDITED = "edited"
    """Its tags, owner or metadata were changed."""
    NOTE = "note"
    JOB_DELETED = "job_deleted"
    JOB_PRUNED = "job_pruned"
    """Forgotten because it is old."""
    QUEUE_PAUSED = "queue_paused"
    QUEUE_RESUMED = "queue_resumed"
    QUEUE_EDITED = "queue_edited"
    LIMIT_EDITED = "limit_edited"
    QUEUE_CLEARED = "queue_cleared"
    QUEUE_DESTROYED = "queue_destroyed"
    KIND_CHANGED = "kind_changed"
    KIND_DELETED = "kind_deleted"
    SCHEDULE_PUT = "schedule_put"
    SCHEDULE_PAUSED = "schedule_paused"
    SCHEDULE_RESUMED = "schedule_resumed"
    SCHEDULE_DELETED = "schedule_deleted"
    SCHEDULE_BACKFILLED = "schedule_backfilled"
    SCHEDULE_FIRED = "schedule_fired"
    """An instant of a schedule, and what became of it."""
    BATCH_CREATED = "batch_created"
    BATCH_SEALED = "batch_sealed"
    BATCH_FINISHED = "batch_finished"
    """Its last job ended; how its jobs ended is with it."""
    SIGNAL_SENT = "signal_sent"
    WORKER_REGISTERED = "worker_registered"
    WORKER_DRAINING = "worker_draining"
    """Somebody asked a worker to end its jobs, and then itself."""
    WEBHOOK_PUT = "webhook_put"
    WEBHOOK_ROTATED = "webhook_rotated"
    WEBHOOK_ENABLED = "webhook_enabled"
    WEBHOOK_DISABLED = "webhook_disabled"
    """An endpoint is sent nothing more: somebody wished it, it is gone, or it failed for too long."""
    WEBHOOK_TESTED = "webhook_tested"
    WEBHOOK_REPLAYED = "webhook_replayed"
    WEBHOOK_EVENTS_LOST = "webhook_events_lost"
    """Events were deleted before an endpoint could be told of them."""
    WEBHOOK_DELETED = "webhook_deleted"
    SOURCE_PUT = "source_put"
    SOURCE_DELETED = "source_deleted"
    BULK_STARTED = "bulk_started"
    BULK_PAUSED = "bulk_paused"
    BULK_RESUMED = "bulk_resumed"
    BULK_ENDED = "bulk_ended"
    ERROR_OPEN = "error_open"
    """A group of errors is to be looked at again; so are the next two what somebody decided."""
    ERROR_MUTED = "error_muted"
    ERROR_RESOLVED = "error_resolved"
    VIEW_SAVED = "view_saved"
    VIEW_DELETED = "view_deleted"
    INDEX_DECLARED = "index_declared"
    INDEX_REMOVED = "index_removed"


STATE_AFTER: dict[str, State] = {
    EventType.WAITING: State.WAITING,
    EventType.READY: State.READY,
    EventType.HELD: State.HELD,
    EventType.STARTED: State.RUNNING,
    EventType.SUCCEEDED: State.SUCCEEDED,
    EventType.FAILED: State.FAILED,
    EventType.CANCELLED: State.CANCELLED,
    EventType.EXPIRED: State.EXPIRED,
}
"""Events that are changes of state, besides `EventType.CREATED`, which tells its state in its data."""

GONE = frozenset({EventType.JOB_DELETED, EventType.JOB_PRUNED})
"""A job's last events."""

_POSITION = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?")
WHOLE = 2**31
"""The index of a position behind all events of its row."""


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in the feed: everything up to and with event ``index`` of row ``seq`` is behind it."""

    seq: int
    index: int = WHOLE

    def __str__(self) -> str:
        return str(self.seq) if self.index >= WHOLE else f"{self.seq}.{self.index}"


START = Position(0)
"""Before everything that ever was."""


def parse_position(text: str, path: str = "after") -> Position:
    """The position an event's id or a page's cursor names; raises `InvalidCursor`."""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise InvalidCursor(
            f"{text[:40]!r} is no position in the feed", path=path, help="give the id of an event, or a page's cursor"
        )
    return Position(int(found[1]), WHOLE if found[2] is None else int(found[2]))


def check_types(wanted: Iterable[str], path: str, *, patterns: bool = False) -> None:
    """Refuse types (or ``patterns`` of types) that no event has: nobody wants to wait for a misspelt one.

    Raises `InvalidRequest` with ``path``.
    """
    known = [type.value for type in EventType]
    for place, text in enumerate(wanted):
        if text not in known and not (patterns and any(matches(text, type) for type in known)):
            near = get_close_matches(text, known, 1, 0.6)
            raise InvalidRequest(
                f"there is no event {text[:40]!r}",
                path=f"{path}[{place}]",
                help=f"did you mean {near[0]}?" if near else "see roost.domain.feed.EventType, or the guide of events",
            )


class Fact(msgspec.Struct, array_like=True, omit_defaults=True):
    """One thing that happened to a set of jobs (or to none), as it is stored."""

    type: str
    ids: Ids
    data: dict[str, Any] = {}


class Happening(msgspec.Struct, kw_only=True):
    """One event of the feed, for one job at most."""

    position: Position
    at: int
    type: str
    job: int | None = None
    queue: str | None = None
    """The job's, as it is now or was when it was deleted."""
    kind: str | None = None
    state: State | None = None
    """The state the event led to, where it is a change of state."""
    actor: str | None = None
    data: dict[str, Any] = {}


def packed(ids: list[int]) -> Ids:
    """A set of different ids as a fact holds it."""
    if len(ids) > 2:
        first, last = min(ids), max(ids)
        if last - first + 1 == len(ids):
            return [(first, last)]
    return list(ids)


def unpacked(ids: Ids) -> Iterator[int]:
    """The ids of a fact, one by one."""
    for each in ids:
        if isinstance(each, int):
            yield each
        else:
            yield from range(each[0], each[1] + 1)


_facts = msgspec.json.Decoder(list[Fact])


def expand(seq: int, at: int, facts: str, after: Position) -> Iterable[Happening]:
    """The events of a row that lie behind ``after``, in order."""
    index = 0
    for fact in _facts.decode(facts):
        data = dict(fact.data)
        actor = data.pop("actor", None)
        state = State(data.pop("state")) if fact.type == EventType.CREATED else STATE_AFTER.get(fact.type)
        for job in unpacked(fact.ids) if fact.ids else (None,):
            position = Position(seq, index)
            index += 1
            if position > after:
                yield Happening(position=position, at=at, type=fact.type, job=job, state=state, actor=actor, data=data)
