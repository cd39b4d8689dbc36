"""How work and answers cross the boundary to an engine process: a length, a kind, and msgpack."""

from __future__ import annotations

import struct

import msgspec

from roost.engine.batch import Applied, Batch, BeatenRow, ClaimAnswer, Effects, EnqueuedRow, SettledRow, StepAnswer
from roost.engine.calls import Acted, Call
from roost.errors import RoostError
from roost.wire.problems import Problem

HEAD = struct.Struct(">IB")
"""Length of the body, kind of the frame."""
BUFFER = 1 << 20
"""Bytes that may wait in a stream's buffer."""

BATCH, CALL, APPLIED, ACTED, PROBLEM = range(5)


class _Applied(msgspec.Struct, array_like=True):
    """`Applied`, with the answers and the refusals of claims in two lists: msgspec cannot tell two structs apart."""

    enqueued: list[list[EnqueuedRow] | Problem]
    settled: list[list[SettledRow]]
    beaten: list[list[BeatenRow]]
    steps: list[StepAnswer]
    claimed: list[ClaimAnswer | None]
    refused: list[Problem | None]
    effects: Effects


_encoder = msgspec.msgpack.Encoder()
_batch = msgspec.msgpack.Decoder(Batch)
_call = msgspec.msgpack.Decoder(Call)
_applied = msgspec.msgpack.Decoder(_Applied)
_acted = msgspec.msgpack.Decoder(Acted)
_problem = msgspec.msgpack.Decoder(Problem)


def request(work: Batch | Call) -> bytes:
    """The frame of a piece of work."""
    return _frame(BATCH if isinstance(work, Batch) else CALL, work)


def reply(answer: Applied | Acted) -> bytes:
    """The frame of an answer."""
    return _frame(APPLIED, _split(answer)) if isinstance(answer, Applied) else _frame(ACTED, answer)


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
    return _join(_applied.decode(body)) if kind == APPLIED else _acted.decode(body)


def _split(applied: Applied) -> _Applied:
    claimed = applied.claimed
    return _Applied(
        applied.enqueued,
        applied.settled,
        applied.beaten,
        applied.steps,
        [each if isinstance(each, ClaimAnswer) else None for each in claimed],
        [each if isinstance(each, Problem) else None for each in claimed],
        applied.effects,
    )


def _join(carried: _Applied) -> Applied:
    claimed = [
        answer if answer is not None else problem
        for answer, problem in zip(carried.claimed, carried.refused, strict=True)
    ]
    return Applied(
        carried.enqueued,
        carried.settled,
        carried.beaten,
        carried.steps,
        [each for each in claimed if each is not None],
        carried.effects,
    )


def _frame(kind: int, value: object) -> bytes:
    body = _encoder.encode(value)
    return HEAD.pack(len(body), kind) + body
