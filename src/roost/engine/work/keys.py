"""Unique keys: who holds one, and what a wish for a held one comes to."""

from __future__ import annotations

import msgspec

from roost.domain.placing import expiry
from roost.domain.records import JobFacts, JobRow, UniqueClaim
from roost.domain.states import Event, State, follow
from roost.engine.batch import Effects, EnqueuedRow
from roost.engine.driver import Retry, Transaction
from roost.engine.work.changes import Change, follow_up, note_due
from roost.engine.work.facts import facts_of
from roost.engine.work.moves import Move, apply, record
from roost.engine.work.texts import pack, unpack
from roost.errors import InvalidRequest, UniqueConflict
from roost.wire.problems import Problem

_CHANGING = ("replace", "reschedule")
"""Policies that change the holder."""


class _Holder(msgspec.Struct):
    """The live job that holds a key; id 0 is an earlier row of the same set."""

    id: int
    input_hash: str
    facts: JobFacts | None = None
    """Known where a wish would change the holder."""


def rounds(rows: list[JobRow]) -> list[list[JobRow]]:
    """``rows`` in parts within which no row changes a job that an earlier row creates: nearly always one part."""
    parts: list[list[JobRow]] = []
    start, seen = 0, set[str]()
    for place, row in enumerate(rows):
        wish = row.unique
        if wish is None:
            continue
        if wish.key in seen and wish.on_conflict in _CHANGING:
            parts.append(rows[start:place])
            start, seen = place, set()
        seen.add(wish.key)
    return [*parts, rows[start:]] if start < len(rows) else parts


def look_up(
    transaction: Transaction, rows: list[JobRow], now: int, effects: Effects
) -> tuple[dict[int, EnqueuedRow], dict[str, int]]:
    """Answers by place for the rows whose key is taken (id 0: by an earlier row of this set); dead holders by key.

    Holders that make way, or are given another time, have done so when this returns.
    """
    wanted = sorted({row.unique.key for row in rows if row.unique})
    holders: dict[str, _Holder] = {}
    dead: dict[str, int] = {}
    for key, job, input_hash, alive in unpack(transaction.one("unique_known", keys=pack(wanted), now=now)):
        if alive:
            holders[key] = _Holder(job, input_hash)
        else:
            dead[key] = job
    _read_facts(transaction, rows, holders)
    taken: dict[int, EnqueuedRow] = {}
    replaced: list[JobFacts] = []
    later: dict[int, tuple[JobFacts, int | None, int | None]] = {}
    duplicates: set[str] = set()
    for place, row in enumerate(rows):
        wish = row.unique
        if wish is None:
            continue
        holder = holders.get(wish.key)
        if holder is None or (wish.on_conflict == "replace" and _makes_way(holder)):
            if holder is not None and holder.facts is not None:
                replaced.append(holder.facts)
                dead[wish.key] = holder.id
            holders[wish.key] = _Holder(0, wish.input_hash)
            continue
        problem = _refusal(wish, holder)
        if problem is None and wish.on_conflict == "reschedule" and holder.facts is not None:
            expires_at = row.shape.expires_at
            if expires_at is None:
                # It says nothing of an expiry: the holder's own moves along.
                try:
                    expires_at = expiry(holder.facts, row.shape.run_at or now)
                except InvalidRequest as error:
                    problem = Problem.of(error)
            if problem is None:
                later[holder.id] = (holder.facts, row.shape.run_at, expires_at)
        duplicates.add(wish.key)
        taken[place] = EnqueuedRow(holder.id, True, problem)
    apply(transaction, [Move(facts, Event.CANCEL, "replaced") for facts in replaced], now, effects)
    record(transaction, [(facts.id, "replaced", "", {}) for facts in replaced], now)
    _reschedule(transaction, list(later.values()), now, effects)
    if duplicates:
        transaction.send("unique_touch", keys=pack(sorted(duplicates)), now=now)
    return taken, dead


def _read_facts(transaction: Transaction, rows: list[JobRow], holders: dict[str, _Holder]) -> None:
    """What is known of the holders that a row of this set would change."""
    changing = {
        holder.id: holder
        for row in rows
        if (wish := row.unique) and wish.on_conflict in _CHANGING and (holder := holders.get(wish.key)) is not None
    }
    if changing:
        for id, facts in facts_of(transaction, changing).items():
            changing[id].facts = facts


def _makes_way(holder: _Holder) -> bool:
    facts = holder.facts
    return facts is not None and facts.attempt == 0 and facts.state in (State.WAITING, State.READY, State.HELD)


def _can_wait(holder: _Holder) -> bool:
    facts = holder.facts
    return (
        facts is not None
        and facts.attempt == 0
        and (facts.state is State.READY or (facts.state is State.WAITING and facts.reason == "scheduled"))
    )


def _reschedule(
    transaction: Transaction, later: list[tuple[JobFacts, int | None, int | None]], now: int, effects: Effects
) -> None:
    """Give jobs that have not started another time; at once where there is none."""
    if not later:
        return
    rows, changes = [], []
    for facts, run_at, expires_at in later:
        reason = None
        if run_at is not None:
            state, reason = follow(facts.state, Event.RESCHEDULE), "scheduled"
            note_due(effects, run_at)
        elif facts.state is State.READY:
            state = State.READY
        else:
            state = follow(facts.state, Event.DUE)
        if expires_at is not None:
            note_due(effects, expires_at)
        rows.append((facts.id, facts.state, state, reason, run_at, expires_at))
        changes.append(Change(facts.id, facts.queue, facts.state, state, reason, facts.flags))
    if transaction.run("job_reschedule", rows=pack(rows)) != len(rows):
        raise Retry
    follow_up(transaction, changes, now, effects)
    record(transaction, [(facts.id, "rescheduled", "", {"run_at": run_at}) for facts, run_at, _ in later], now)


def _refusal(wish: UniqueClaim, holder: _Holder) -> Problem | None:
    name = wish.key.partition("\n")[2]
    owner = f"job {holder.id}" if holder.id else "an earlier job of the same request"
    if wish.on_conflict == "replace":
        text = f"the unique key {name!r} belongs to {owner}, which cannot be replaced any more"
        help = "only a job that has not started makes way; wait for its end"
    elif wish.input_hash != holder.input_hash:
        text = f"the unique key {name!r} belongs to {owner} with another input"
        help = "wait for that job's end, or use another key"
    elif wish.on_conflict == "reject":
        text = f"the unique key {name!r} belongs to {owner} already"
        help = 'on_conflict="return" would answer with that job'
    elif wish.on_conflict == "reschedule" and not _can_wait(holder):
        text = f"the unique key {name!r} belongs to {owner}, which cannot be rescheduled any more"
        help = "only a job that has not started is given another time; wait for its end"
    else:
        return None
    return Problem.of(UniqueConflict(text, path="unique.key", help=help))
