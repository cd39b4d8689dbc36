"""Steps: recorded once, fenced by the lease; progress and state travel in the same transaction."""

from __future__ import annotations

from typing import Any

from roost.domain.feed import EventType
from roost.domain.records import STARTED_KINDS, Flag
from roost.engine import rows
from roost.engine.batch import StepAnswer, StepRow
from roost.engine.driver import Transaction
from roost.engine.work.beats import put_progress
from roost.engine.work.feed import tell
from roost.engine.work.settles import lease_lost
from roost.engine.work.texts import pack, unpack
from roost.errors import StepChanged
from roost.wire.codec import encode
from roost.wire.problems import Problem


def apply(transaction: Transaction, asked: list[StepRow], now: int) -> list[StepAnswer]:
    """An answer for each step: as recorded now, as recorded before, or why not."""
    if not asked:
        return []
    fence = pack([(row.id, row.token, row.name) for row in asked])
    facts = {(fact[0], fact[1], fact[2]): fact for fact in unpack(transaction.one("step_facts", rows=fence))}
    fresh: dict[tuple[int, str], StepRow] = {}
    numbers: dict[int, int] = {}
    answers: list[StepAnswer] = []
    for row in asked:
        fact = facts[(row.id, row.token, row.name)]
        first = fresh.get((row.id, row.name))
        if not fact[3]:
            answers.append(StepAnswer("", False, lease_lost(row.id)))
        elif fact[7] is not None or first is not None:
            recorded_hash = first.input_hash if first else fact[7]
            if recorded_hash != row.input_hash:
                answers.append(StepAnswer("", False, _changed(row)))
            else:
                answers.append(StepAnswer(_new(first, fact, numbers[row.id], now) if first else _old(fact), False))
        else:
            fresh[(row.id, row.name)] = row
            number = numbers[row.id] = numbers.get(row.id, fact[5]) + 1
            answers.append(StepAnswer(_new(row, fact, number, now), True))
    if fresh:
        new = list(fresh.values())
        transaction.send(
            "step_put",
            rows=pack(
                [
                    (
                        row.id,
                        row.name,
                        row.kind,
                        row.input_hash,
                        row.output,
                        row.usage,
                        facts[(row.id, row.token, row.name)][4],
                        row.started_at,
                    )
                    for row in new
                ]
            ),
            now=now,
        )
        marked = [
            (row.id, row.name, facts[(row.id, row.token, row.name)][4]) for row in new if row.kind in STARTED_KINDS
        ]
        if marked:
            transaction.send("step_started_done", rows=pack(marked))
        transaction.send("job_flag", rows=pack([(id, int(Flag.STEPS)) for id in sorted({row.id for row in new})]))
        for row in new:
            attempt = facts[(row.id, row.token, row.name)][4]
            tell(transaction, EventType.STEP, [row.id], {"name": row.name, "kind": row.kind, "attempt": attempt})
        put_progress(transaction, [(row.id, row.progress, row.saved) for row in new])
    return answers


def _changed(row: StepRow) -> Problem:
    return Problem.of(
        StepChanged(
            f"step {row.name!r} was recorded with another input",
            path="input_hash",
            help="a handler asks for the same steps with the same inputs on every run; give a changed step a new name",
        )
    )


def _new(row: StepRow, fact: list[Any], number: int, now: int) -> str:
    return _text(number, row.name, [row.kind, row.input_hash, row.output, row.usage, fact[4], row.started_at, now])


def _old(fact: list[Any]) -> str:
    return _text(fact[5], fact[2], fact[6:])


def _text(number: int, name: str, rest: list[Any]) -> str:
    return encode(rows.step((number, name, *rest))).decode()
