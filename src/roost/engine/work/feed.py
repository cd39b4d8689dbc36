"""The feed's writing side: facts are gathered while a transaction works and stored as one row before it commits."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any

from roost.domain.feed import EventType, Fact, packed, unpacked
from roost.domain.records import Shape
from roost.domain.states import TERMINAL, State
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack


def tell(transaction: Transaction, type: str, ids: list[int], data: dict[str, Any] | None = None) -> None:
    """Something of ``type`` happened to these jobs (none: to no job) in this transaction."""
    transaction.facts.append(Fact(type, packed(ids), data or {}))


def tell_records(transaction: Transaction, records: list[tuple[int | None, str, str, dict[str, Any]]]) -> None:
    """What `roost.engine.work.moves.record` records; who ended jobs is added to the fact that they ended."""
    told = [(_job(record), record[1], pack((record[2], record[3])), record) for record in records]
    for (type, _), same in groupby(told, key=itemgetter(1, 2)):
        group = list(same)
        actor, data = group[0][3][2:]
        ids = [job for job, *_ in group if job is not None]
        if type in TERMINAL and ids:
            ids = _add_to_ended(transaction.facts, type, ids, _with_actor(data, actor))
        if ids or group[0][0] is None:
            tell(transaction, type, ids, _with_actor(data, actor))


def bury(transaction: Transaction, ids: list[int]) -> None:
    """Keep the names of jobs that are about to be deleted, for as long as the feed tells of them."""
    transaction.send("feed_bury", ids=pack(ids))


def _job(record: tuple[int | None, str, str, dict[str, Any]]) -> int | None:
    job, type, _, data = record
    # The record of a deletion stands with no job, or it would be deleted with it.
    return data.get("id") if job is None and type == EventType.JOB_DELETED else job


def _with_actor(data: dict[str, Any], actor: str) -> dict[str, Any]:
    return {**data, "actor": actor} if actor else data


def _add_to_ended(facts: list[Fact], type: str, ids: list[int], data: dict[str, Any]) -> list[int]:
    """Add ``data`` to what was told of these jobs' end; those of whom nothing was told."""
    left = set(ids)
    for place in range(len(facts) - 1, -1, -1):
        fact = facts[place]
        if fact.type != type or not left:
            continue
        found = [id for id in unpacked(fact.ids) if id in left]
        if not found:
            continue
        left.difference_update(found)
        others = [id for id in unpacked(fact.ids) if id not in set(found)]
        facts[place : place + 1] = [
            *([Fact(type, packed(others), fact.data)] if others else []),
            Fact(type, packed(found), {**fact.data, **data}),
        ]
    return [id for id in ids if id in left]


def write(transaction: Transaction, now: int) -> bool:
    """Store what was told as the transaction's last statement; whether there was anything."""
    if not transaction.facts:
        return False
    transaction.send("feed_put", facts=pack(transaction.facts), now=now)
    transaction.facts.clear()
    return True


def tell_created(transaction: Transaction, shapes: dict[Shape, int], places: dict[int, int]) -> None:
    """Jobs were stored; ``places`` gives each id the number of its shape."""
    states = {place: (shape.state, shape.reason) for shape, place in shapes.items()}
    different = list(dict.fromkeys(states.values()))
    for state in different:
        # Jobs enqueued together mostly start in one state: then no id is looked at.
        ids = list(places) if len(different) == 1 else [id for id, place in places.items() if states[place] == state]
        tell(transaction, EventType.CREATED, ids, {"state": state[0], **({"reason": state[1]} if state[1] else {})})


def tell_ended(transaction: Transaction, attempts: list[tuple[int, int, str]]) -> None:
    """Attempts (job, number, outcome) ended otherwise than by success."""
    grouped: dict[tuple[int, str], list[int]] = {}
    for id, number, outcome in attempts:
        grouped.setdefault((number, outcome), []).append(id)
    for (number, outcome), ids in grouped.items():
        tell(transaction, EventType.ATTEMPT_ENDED, ids, {"attempt": number, "outcome": outcome})


def tell_changes(transaction: Transaction, changes: list[tuple[int, State, str | None]]) -> None:
    """Jobs came to new states, each for a reason; one fact for each state and reason."""
    grouped: dict[tuple[State, str | None], list[int]] = {}
    for id, state, reason in changes:
        grouped.setdefault((state, reason), []).append(id)
    for (state, reason), ids in grouped.items():
        tell(transaction, state.value, ids, {"reason": reason} if reason else None)
