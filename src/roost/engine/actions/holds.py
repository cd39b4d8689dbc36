"""Decisions on holds: made once, on the subject that was seen, before the deadline."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from roost.domain import holds, placing
from roost.domain.feed import EventType
from roost.domain.records import JobFacts
from roost.domain.states import Event, State, follow
from roost.engine import rows
from roost.engine.actions.jobs import facts_or_refuse
from roost.engine.actions.sets import Refusals, judged
from roost.engine.batch import Effects
from roost.engine.calls import Acted, DecideHold, ExtendHold
from roost.engine.driver import Retry, Transaction
from roost.engine.work.changes import note_due
from roost.engine.work.feed import tell
from roost.engine.work.moves import Move, apply
from roost.engine.work.texts import pack
from roost.errors import Conflict, NotFound, RoostError, SubjectChanged
from roost.wire.codec import encode


def _facts(transaction: Transaction, id: int) -> holds.HoldFacts:
    text = transaction.one("hold_facts", id=id)
    if text is None:
        raise NotFound(f"there is no hold {id}", path="id", help="roost approvals list shows what there is")
    return msgspec.json.decode(text, type=holds.HoldFacts)


def _answer(transaction: Transaction, id: int, effects: Effects) -> Acted:
    return Acted(encode(rows.hold(transaction.row("hold_one", id=id))).decode(), effects, 1)


def decide(transaction: Transaction, action: DecideHold, now: int) -> Acted:
    """Record the decision and let the job follow it; the same decision again gets the same answer."""
    facts = _facts(transaction, action.id)
    effects = Effects()
    try:
        event = holds.decide(facts, action.decision, action.subject_hash, action.answer, now)
    except holds.Repeated:
        return _answer(transaction, action.id, effects)
    job = facts_or_refuse(transaction, facts.job_id)
    follow(job.state, event)
    state = holds.STATE_OF[action.decision]
    decided = (facts.id, state, action.actor or None, action.note or None, action.answer)
    if transaction.run("hold_decide", rows=pack([decided]), now=now) != 1:
        raise Retry
    told = {"hold": facts.id, "decision": state, "subject_hash": facts.subject_hash}
    tell(transaction, EventType.DECIDED, [job.id], told | ({"actor": action.actor} if action.actor else {}))
    apply(transaction, [_outcome(job, event, now, effects)], now, effects)
    return _answer(transaction, action.id, effects)


def _refuse_not_held(facts: JobFacts) -> None:
    follow(facts.state, Event.APPROVE)


def approve(
    transaction: Transaction,
    ids: Iterable[int],
    now: int,
    effects: Effects,
    *,
    actor: str = "",
    note: str = "",
    last: int | None = None,
) -> Refusals:
    """Approve what is asked of any number of held jobs; not what was asked after the hold ``last``."""
    jobs, refused = judged(transaction, ids, _refuse_not_held)
    asked = {hold.job_id: hold for hold in open_of(transaction, [job.id for job in jobs])}
    moves: list[Move] = []
    decided = []
    for job in jobs:
        hold = asked.get(job.id)
        try:
            if hold is None:
                raise Conflict(f"job {job.id} has no open hold", path="id", help=f"roost jobs explain {job.id}")
            if last is not None and hold.id > last:
                raise SubjectChanged(
                    f"job {job.id} asks something else since", path="id", help=f"roost approvals show {hold.id}"
                )
            event = holds.decide(hold, "approve", hold.subject_hash, None, now)
        except RoostError as error:
            refused[job.id] = error
            continue
        decided.append((hold.id, "approved", actor or None, note or None, None))
        told = {"hold": hold.id, "decision": "approved", "subject_hash": hold.subject_hash}
        tell(transaction, EventType.DECIDED, [job.id], told | ({"actor": actor} if actor else {}))
        moves.append(_outcome(job, event, now, effects))
    if decided and transaction.run("hold_decide", rows=pack(decided), now=now) != len(decided):
        raise Retry
    apply(transaction, moves, now, effects)
    return refused


def open_of(transaction: Transaction, ids: list[int]) -> list[holds.HoldFacts]:
    """What these jobs ask."""
    return msgspec.json.decode(transaction.one("holds_open_of", ids=pack(ids)), type=list[holds.HoldFacts])


def _outcome(job: JobFacts, event: Event, now: int, effects: Effects) -> Move:
    """What a decision does to its job: an approved one whose time has not come goes on waiting for it."""
    if event is not Event.APPROVE:
        return Move(job, event, "hold_denied" if event is Event.DENY else None)
    event, reason = placing.approved(job, now)
    if event is Event.APPROVE_LATER and job.run_at is not None:
        note_due(effects, job.run_at)
    return Move(job, event, reason)


def extend(transaction: Transaction, action: ExtendHold, now: int) -> Acted:
    """Move the deadline of an open hold."""
    facts = _facts(transaction, action.id)
    deadline = holds.extend(facts, action.by_ms, now)
    if transaction.run("hold_extend", id=action.id, deadline=deadline) != 1:
        raise Retry
    told: dict[str, Any] = {"hold": facts.id, "deadline": deadline}
    tell(transaction, EventType.HOLD_EXTENDED, [facts.job_id], told | ({"actor": action.actor} if action.actor else {}))
    effects = Effects()
    note_due(effects, deadline)
    return _answer(transaction, action.id, effects)


def expire(transaction: Transaction, limit: int, now: int, effects: Effects) -> int:
    """Let the deadlines that have passed mean what they were declared to mean; how many."""
    text = transaction.one("hold_expired", now=now, limit=limit)
    late = msgspec.json.decode(text, type=list[holds.HoldFacts]) if text else []
    if not late:
        return 0
    transaction.send(
        "hold_decide",
        rows=pack([(hold.id, "expired", None, f"deadline: {hold.on_expiry}", None) for hold in late]),
        now=now,
    )
    moves = []
    for hold in late:
        job = facts_or_refuse(transaction, hold.job_id)
        tell(transaction, EventType.DECIDED, [job.id], {"hold": hold.id, "decision": "expired"})
        if job.state is State.HELD:
            moves.append(_outcome(job, holds.expiry(hold), now, effects))
    apply(transaction, moves, now, effects)
    return len(late)
