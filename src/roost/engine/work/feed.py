"""The feed's writing side: facts are gathered while a transaction works and stored as one row before it commits."""

from __future__ import annotations

from typing import Any

from roost.domain.feed import EventType, Fact, packed
from roost.domain.records import Shape
from roost.domain.states import TERMINAL, State
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack


def tell(transaction: Transaction, type: str, ids: list[int], data: dict[str, Any] | None = None) -> None:
    """Something of ``type`` happened to these jobs (none: to no job) in this transaction."""
    transaction.facts.append(Fact(type, packed(ids), data or {}))


def tell_record(transaction: Transaction, job: int | None, type: str, actor: str, data: dict[str, Any]) -> None:
    """What `roost.engine.actions.moves.record` records; who ended a job is added to the fact that it ended."""
    told = {**data, "actor": actor} if actor else data
    if job is not None and type in TERMINAL:
        for fact in reversed(transaction.facts):
            if fact.type == type and fact.ids == [job]:
                fact.data = {**fact.data, **told}
                return
    if job is None and type == EventType.JOB_DELETED and "id" in data:
        job = data["id"]
    tell(transaction, type, [] if job is None else [job], told)


def write(transaction: Transaction, now: int) -> bool:
    """Store what was told as the transaction's last statement; whether there was anything."""
    if not transaction.facts:
        return False
    transaction.run("feed_put", facts=pack(transaction.facts), now=now)
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
