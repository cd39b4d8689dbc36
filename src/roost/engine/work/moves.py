"""Jobs that are not running change their state: one guarded statement for any set of them."""

from __future__ import annotations

import msgspec

from roost.domain.records import JobFacts
from roost.domain.states import TERMINAL, Event, follow
from roost.engine.batch import Effects
from roost.engine.driver import Retry, Transaction
from roost.engine.work.changes import Change, follow_up
from roost.engine.work.feed import tell_records
from roost.engine.work.texts import pack


class Move(msgspec.Struct):
    """One job's event and the reason its next state is given."""

    facts: JobFacts
    event: Event
    reason: str | None
    failures: int | None = None
    """A new count; None keeps the old one."""


def apply(transaction: Transaction, moves: list[Move], now: int, effects: Effects) -> None:
    """Follow each event; open holds of jobs that end are withdrawn; starts again where a job has moved meanwhile."""
    if not moves:
        return
    rows = []
    ended = []
    changes = []
    for move in moves:
        facts = move.facts
        state = follow(facts.state, move.event)
        terminal = state in TERMINAL
        if terminal:
            ended.append(facts.id)
        failures = facts.failures if move.failures is None else move.failures
        rows.append((facts.id, facts.state, state, move.reason, now if terminal else None, facts.flags, failures))
        changes.append(Change(facts.id, facts.queue, facts.state, state, move.reason, facts.flags))
    if transaction.run("job_move", rows=pack(rows)) != len(rows):
        raise Retry
    if ended:
        transaction.send("hold_withdraw", ids=pack(ended), now=now)
    follow_up(transaction, changes, now, effects)


def record(transaction: Transaction, events: list[tuple[int | None, str, str, dict[str, object]]], now: int) -> None:
    """Append what no row tells by itself: (job, type, actor, data)."""
    if events:
        rows = [(job, type, actor or None, pack(data) if data else None) for job, type, actor, data in events]
        transaction.send("event_put", rows=pack(rows), now=now)
        tell_records(transaction, events)
