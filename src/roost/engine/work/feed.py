"""The feed's writing side: facts are gathered while a transaction works, and stored as one row just before it commits."""

from __future__ import annotations

from typing import Any

from roost.domain.feed import EventType, Fact, packed
from roost.domain.states import TERMINAL
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
