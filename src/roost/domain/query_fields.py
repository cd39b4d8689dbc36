"""The fields a query may name: one table for the parser, the engine, completion and the guide."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """How a field's values are read."""

    STATE = "state"
    HAS = "has"
    TEXT = "text"
    CONTAINS = "contains"
    GLOB = "glob"
    INTEGER = "whole number"
    TIME = "time"
    DURATION = "duration"
    JSON = "JSON value"


class Field(msgspec.Struct, frozen=True):
    """A field: what it means, and how it is written."""

    name: str
    kind: Kind
    meaning: str
    example: str
    path: bool = False
    """Written with the rest of a name: ``tag.K``."""
    optional: bool = False
    """A job may lack it, so that ``*`` asks for any value."""

    @property
    def ordered(self) -> bool:
        """Whether it can be compared with ``>`` and its like."""
        return self.kind in (Kind.INTEGER, Kind.TIME, Kind.DURATION, Kind.JSON)


_TABLE = (
    Field("state", Kind.STATE, "where the job is", "state:failed,expired"),
    Field("reason", Kind.TEXT, "why it is there", "reason:retry", optional=True),
    Field("queue", Kind.GLOB, "its queue", "queue:mail*"),
    Field("kind", Kind.GLOB, "what it does", "kind:mail.*"),
    Field("id", Kind.INTEGER, "its number", "id:1842"),
    Field("tag", Kind.GLOB, "one of its tags", "tag.env:prod", path=True, optional=True),
    Field("owner", Kind.TEXT, "whose it is", "owner:ana", optional=True),
    Field("input", Kind.JSON, "a value in its input", "input.user.id:42", path=True, optional=True),
    Field("result", Kind.JSON, "a value in its result", "result.total:>100", path=True, optional=True),
    Field("metadata", Kind.JSON, "a value in its metadata", "metadata.ticket:77", path=True, optional=True),
    Field("note", Kind.CONTAINS, "words in a note of its history", 'note:"asked the customer"', optional=True),
    Field("error", Kind.CONTAINS, "words in its last error's type or message", 'error:"timed out"', optional=True),
    Field("type", Kind.TEXT, "its last error's type", "type:TimeoutError", optional=True),
    Field("fp", Kind.TEXT, "its last error's fingerprint", "fp:9f3ac2d10b77", optional=True),
    Field("worker", Kind.TEXT, "the worker of its last attempt", "worker:host-7", optional=True),
    Field("batch", Kind.INTEGER, "the batch it belongs to", "batch:12", optional=True),
    Field("parent", Kind.INTEGER, "the job it is part of", "parent:1840", optional=True),
    Field("schedule", Kind.TEXT, "the schedule that made it", "schedule:nightly", optional=True),
    Field("key", Kind.TEXT, "its unique key", "key:report-7", optional=True),
    Field("attempt", Kind.INTEGER, "its last attempt's number", "attempt:>1"),
    Field("failures", Kind.INTEGER, "how many attempts failed", "failures:>=3"),
    Field("priority", Kind.INTEGER, "0 to 9, or low, normal, high", "priority:>=8"),
    Field("created", Kind.TIME, "when it was enqueued", "created:>24h"),
    Field("scheduled", Kind.TIME, "when it may start, or start again", "scheduled:<+1h", optional=True),
    Field("started", Kind.TIME, "when its last attempt started", "started:>30m", optional=True),
    Field("finished", Kind.TIME, "when it ended", "finished:>2026-11-21", optional=True),
    Field("expires", Kind.TIME, "when it expires", "expires:<+10m", optional=True),
    Field("wait", Kind.DURATION, "how long it waited for its start", "wait:>30s"),
    Field("run", Kind.DURATION, "how long its last attempt ran", "run:>5m"),
    Field("held.reason", Kind.TEXT, "why it is held", "held.reason:approval"),
    Field("has", Kind.HAS, "what is stored with it", "has:logs"),
)

FIELDS = {field.name: field for field in _TABLE}
ALIASES = {"payload": "input"}
FOREIGN = {
    "task": "kind", "name": "kind", "status": "state", "payload": "input", "args": "input", "tags": "tag.NAME",
    "exception": "type", "fingerprint": "fp", "message": "error", "duration": "run", "retries": "failures",
    "attempts": "attempt", "unique": "key", "chain": "batch", "enqueued": "created", "completed": "finished",
}  # fmt: skip
"""What other systems call these fields, for who comes from there."""
FOREIGN_STATES = {
    "dead": "failed", "error": "failed", "completed": "succeeded", "success": "succeeded", "done": "succeeded",
    "pending": "ready", "queued": "ready", "available": "ready", "active": "running", "executing": "running",
    "scheduled": "waiting", "delayed": "waiting", "retrying": "waiting", "retry": "waiting", "blocked": "waiting",
    "paused": "held", "canceled": "cancelled", "discarded": "failed",
}  # fmt: skip
HAS = ("logs", "steps", "errors", "children", "result")


def field_named(name: str) -> Field | None:
    """The field, or None."""
    return FIELDS.get(name)
