"""How work and answers cross the boundary to an engine process: a length, a kind, and msgpack."""

from __future__ import annotations

import struct

import msgspec

from roost.engine.protocol import Acted, Applied, Batch, Call
from roost.errors import RoostError
from roost.wire.problems import Problem

HEAD = struct.Struct(">IB")
"""Length of the body, kind of the frame."""
BUFFER = 1 << 20
"""Bytes that may wait in a stream's buffer."""

BATCH, CALL, APPLIED, ACTED, PROBLEM = range(5)

_encoder = msgspec.msgpack.Encoder()
_batch = msgspec.msgpack.Decoder(Batch)
_call = msgspec.msgpack.Decoder(Call)
_applied = msgspec.msgpack.Decoder(Applied)
_acted = msgspec.msgpack.Decoder(Acted)
_problem = msgspec.msgpack.Decoder(Problem)


def request(work: Batch | Call) -> bytes:
    """The frame of a piece of work."""
    return _frame(BATCH if isinstance(work, Batch) else CALL, work)


def reply(answer: Applied | Acted) -> bytes:
    """The frame of an answer."""
    return _frame(APPLIED if isinstance(answer, Applied) else ACTED, answer)


def refusal(error: RoostError) -> bytes:
    """The frame of an error."""
    return _frame(PROBLEM, Problem.of(error))


def work(kind: int, body: bytes) -> Batch | Call:
    """The work of a frame."""
    return _batch.decode(body) if kind == BATCH else _call.decode(body)


def answer(kind: int, body: bytes) -> Applied | Acted:
    """The answer of a frame; raises the error it carries."""
    if kind == PROBLEM:
        raise _problem.decode(body).error()
    return _applied.decode(body) if kind == APPLIED else _acted.decode(body)


def _frame(kind: int, value: object) -> bytes:
    body = _encoder.encode(value)
    return HEAD.pack(len(body), kind) + body
