"""What the tests of the PostgreSQL engine ask of an engine, in few words."""

from __future__ import annotations

import hashlib

import msgspec

from roost.domain.records import HoldRow, JobRow, Shape, UniqueClaim
from roost.domain.settle import Ending
from roost.engine.batch import Batch, ClaimAnswer, ClaimWork, EnqueuedRow, EnqueueWork, Operation, SettledRow, SettleRow
from roost.engine.calls import Acted, Action, Call
from roost.engine.protocol import Engine

NOW = 1_800_000_000_000
SUCCESS = Ending(kind="succeed")


def row(number: int = 0, **changes: object) -> JobRow:
    """A plain ready job."""
    text = f'{{"n": {number}, "text": "50 % of \\u00e9\\u0000 ☃ [x] {{y}}"}}'
    of_row = {name: changes.pop(name) for name in ("input", "options", "unique", "hold") if name in changes}
    shape = msgspec.structs.replace(Shape("default", "noop"), **changes)
    return msgspec.structs.replace(JobRow(shape, text), **of_row)


def unique(key: str, input_hash: str = "h", *, until: int | None = None, reject: bool = False) -> UniqueClaim:
    return UniqueClaim(key, input_hash, until, reject)


def hold_row(reason: str = "approval", deadline: int | None = None) -> HoldRow:
    subject = '{"amount": 10}'
    return HoldRow(
        reason=reason,  # type: ignore[arg-type]
        title="pay",
        subject=subject,
        subject_hash=hashlib.sha256(subject.encode()).hexdigest(),
        deadline=deadline,
        on_expiry="deny",
    )


def enqueue(engine: Engine, *rows: JobRow, operation: Operation | None = None, now: int = NOW) -> list[EnqueuedRow]:
    (answer,) = engine.apply(Batch(now, enqueues=[EnqueueWork(list(rows), operation)])).enqueued
    assert isinstance(answer, list), answer
    return answer


def claim(
    engine: Engine, limit: int, token: str, *, queues: tuple[str, ...] = ("default",), now: int = NOW
) -> ClaimAnswer:
    work = ClaimWork(list(queues), limit, token, "worker", 30_000)
    (answer,) = engine.apply(Batch(now, claims=[work])).claimed
    assert isinstance(answer, ClaimAnswer), answer
    return answer


def ids(answer: ClaimAnswer) -> list[int]:
    return [job["id"] for job in msgspec.json.decode(answer.jobs)]


def settle(engine: Engine, *rows: tuple[int, str, Ending], now: int = NOW) -> list[SettledRow]:
    (answer,) = engine.apply(Batch(now, settles=[[SettleRow(*row) for row in rows]])).settled
    return answer


def act(engine: Engine, action: Action, *, now: int = NOW, operation: Operation | None = None) -> Acted:
    return engine.act(Call(now, action, operation))
