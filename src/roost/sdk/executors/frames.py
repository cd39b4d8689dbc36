"""What a worker and the process of a handler tell each other: length-prefixed JSON over a socket pair, never pickle."""

from __future__ import annotations

import struct

import msgspec

from roost.sdk.ports import Question, Tell
from roost.wire.attempts import Lease, Outcome
from roost.wire.jobs import Json
from roost.wire.problems import Problem

_LENGTH = struct.Struct(">I")
LENGTH_SIZE = _LENGTH.size
LONGEST = 64 * 1024 * 1024


class Hello(msgspec.Struct, tag=True):
    """The first frame to a new process: where it imports from."""

    path: list[str]


class Run(msgspec.Struct, tag=True):
    """Run a job; the process has one at a time."""

    lease: Lease
    module: str
    qualname: str


class Answer(msgspec.Struct, tag=True):
    """To an `Ask`."""

    number: int
    value: Json = msgspec.Raw(b"null")
    problem: Problem | None = None
    stopped: bool = False
    """The attempt has ended: nothing is answered any more."""


class CancelRequested(msgspec.Struct, tag=True):
    """The running handler should come to an end."""


class Goodbye(msgspec.Struct, tag=True):
    """No job follows: close what is open and end."""


class Started(msgspec.Struct, tag=True):
    """The handler is imported; its time begins."""


class Ask(msgspec.Struct, tag=True):
    """A question of the context, to be answered with the same number."""

    number: int
    question: Question


class Ended(msgspec.Struct, tag=True):
    """The handler's outcome; its token is the worker's to fill in."""

    outcome: Outcome


ToChild = Hello | Run | Answer | CancelRequested | Goodbye
ToParent = Started | Ask | Tell | Ended

_encoder = msgspec.json.Encoder()
to_child = msgspec.json.Decoder(ToChild)
to_parent = msgspec.json.Decoder(ToParent)


def pack(frame: ToChild | ToParent) -> bytes:
    """The frame with its length; raises `ValueError` for one that is too long."""
    data = _encoder.encode(frame)
    if len(data) > LONGEST:
        raise ValueError(f"{len(data)} bytes are more than a frame takes")
    return _LENGTH.pack(len(data)) + data


def length(head: bytes) -> int:
    """The length that a frame's head tells; raises `ValueError` for one that no frame has."""
    (size,) = _LENGTH.unpack(head)
    if size > LONGEST:
        raise ValueError(f"{size} bytes are more than a frame takes")
    return int(size)
