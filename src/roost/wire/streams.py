"""The API's streams: answers that go on, as server-sent events.

Each message has an id to resume behind (the header ``Last-Event-ID``, or the parameter ``after``), a name and one line
of JSON. A message without a name and data only moves the id on, so that a reader whose filter matches rarely resumes
near the end.
"""

from __future__ import annotations

from typing import Any

import msgspec

from roost.wire.codec import Wire, encode
from roost.wire.contract import Operation
from roost.wire.events import FeedEvent, FollowEvents, FollowLogs
from roost.wire.jobs import LogLine

EVENT_STREAM = Operation(
    "events.follow", "GET", "/events/stream", FollowEvents, FeedEvent, "read", "What happens, as it happens"
)
LOG_STREAM = Operation(
    "jobs.follow_logs", "GET", "/jobs/{id}/logs/stream", FollowLogs, LogLine, "read", "A job's log lines as they come"
)
STREAMS: tuple[Operation[Any, Any], ...] = (EVENT_STREAM, LOG_STREAM)

LAST_ID_HEADER = "last-event-id"
RESET = "reset"
END = "end"
LINE = "line"
RETRY_MS = 1000
"""How long a reader waits before it connects again."""


class Message(msgspec.Struct, frozen=True):
    """One message of a stream; ``name`` is empty where only the id moves on."""

    id: str
    name: str = ""
    data: bytes = b""

    @classmethod
    def of(cls, id: str, name: str, value: Wire) -> Message:
        """A message that carries ``value``."""
        return cls(id, name, encode(value))

    def frame(self) -> bytes:
        """As server-sent events are written."""
        if not self.name:
            return b": still here\nid: %s\n\n" % self.id.encode()
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (self.id.encode(), self.name.encode(), self.data)


class FrameReader:
    """Reads messages from the bytes of an event stream, whatever pieces they come in."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes; comments and ``retry`` are passed over."""
        *frames, self._rest = (self._rest + data).split(b"\n\n")
        return [message for frame in frames if (message := _message(frame)) is not None]


def _message(frame: bytes) -> Message | None:
    fields: dict[bytes, bytes] = {}
    for line in frame.split(b"\n"):
        name, _, value = line.partition(b":")
        if name:
            fields[name] = value.removeprefix(b" ")
    if b"id" not in fields:
        return None
    return Message(fields[b"id"].decode(), fields.get(b"event", b"").decode(), fields.get(b"data", b""))
