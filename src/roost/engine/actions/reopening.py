"""Reopen jobs that have ended, maybe with another input or in another queue, for any set of them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from roost.domain import settle
from roost.domain.admission import input_hash
from roost.domain.records import Flag, HoldRule, JobFacts
from roost.domain.states import Event, State
from roost.engine.actions.rekeying import note_keys, rescoped, taken
from roost.engine.actions.sets import Refusals, ask, inputs_of, judged, said
from roost.engine.batch import Effects
from roost.engine.driver import Retry, Transaction
from roost.engine.work import indexing, limiting
from roost.engine.work.changes import note_due
from roost.engine.work.counting import uncount
from roost.engine.work.moves import Move, apply, record
from roost.engine.work.ordering import rank_again
from roost.engine.work.texts import pack, unpack


class Edit(msgspec.Struct, frozen=True, kw_only=True):
    """What a job starts its next life with; None leaves as it was."""

    input: str | None = None
    queue: str | None = None
    hold: HoldRule | None = None
    """What holds jobs of the new queue before they start."""


NOTHING = Edit()


def reopen(
    transaction: Transaction,
    ids: Iterable[int],
    now: int,
    effects: Effects,
    *,
    edit: Edit = NOTHING,
    actor: str = "",
    note: str = "",
) -> Refusals:
    """Start terminal jobs again: failures from zero, attempts and history go on, earlier decisions count no more."""
    accepted, refused = judged(transaction, ids, settle.reopen)
    accepted = _take_keys_again(transaction, accepted, edit, refused, now)
    if not accepted:
        return refused
    text = pack([facts.id for facts in accepted])
    uncount(transaction, text)
    plain = [facts.id for facts in accepted if facts.state is State.SUCCEEDED]
    if plain:
        transaction.send("attempts_keep", ids=pack(plain))
    transaction.send("reopen_clear", ids=text)
    transaction.send("result_delete", ids=text)
    transaction.send("summary_delete", ids=text)
    transaction.send("hold_outdate", ids=text)
    if edit.input is not None:
        transaction.send("job_edit_input", rows=pack([(facts.id, edit.input) for facts in accepted]))
        indexing.renew(transaction, [(facts.id, facts.kind, edit.input) for facts in accepted], now)
    if edit.queue is not None:
        rows = [(facts.id, facts.state, edit.queue, facts.priority, None, None) for facts in accepted]
        if transaction.run("job_place", rows=pack(rows)) != len(rows):
            raise Retry
    moves: list[Move] = []
    asked: list[tuple[JobFacts, HoldRule]] = []
    for facts in accepted:
        there = msgspec.structs.replace(facts, queue=edit.queue or facts.queue, run_at=None)
        rule = facts.options.hold
        if rule is None and there.queue != facts.queue:
            rule = edit.hold
        if rule is None:
            moves.append(Move(there, Event.REOPEN, None, 0))
        else:
            there = msgspec.structs.replace(there, flags=there.flags | Flag.HOLDS)
            moves.append(Move(there, Event.REOPEN_HELD, "approval", 0))
            asked.append((there, rule))
    _count_times_anew(transaction, accepted, now, effects)
    apply(transaction, moves, now, effects)
    rank_again(transaction, [facts.id for facts in accepted], now)
    limited = [facts.id for facts in accepted if facts.flags & Flag.LIMITED and edit.queue not in (None, facts.queue)]
    if limited:
        limiting.moved(transaction, limited, now, effects)
    ask(transaction, asked, now, effects)
    record(transaction, [(facts.id, "reopened", actor, _told(facts, edit, note)) for facts in accepted], now)
    return refused


def _count_times_anew(transaction: Transaction, jobs: list[JobFacts], now: int, effects: Effects) -> None:
    """Give jobs that had so long to start, or to end, as long again."""
    rows = []
    for facts in jobs:
        ttl, deadline = facts.options.ttl_ms, facts.options.deadline_ms
        if ttl is not None or deadline is not None:
            times = (None if ttl is None else now + ttl, None if deadline is None else now + deadline)
            rows.append((facts.id, *times))
            for moment in times:
                if moment is not None:
                    note_due(effects, moment)
    if rows:
        transaction.send("job_times", rows=pack(rows))


def _told(facts: JobFacts, edit: Edit, note: str) -> dict[str, object]:
    data: dict[str, object] = {"from": facts.state, "reason": facts.reason}
    if edit.input is not None:
        data["input"] = "edited"
    if edit.queue is not None and edit.queue != facts.queue:
        data["queue"] = edit.queue
    return said(note, **data)


def _take_keys_again(
    transaction: Transaction, jobs: list[JobFacts], edit: Edit, refused: Refusals, now: int
) -> list[JobFacts]:
    """Those jobs that have no unique key, or got theirs back; the rest is refused: another job lives by it."""
    wishes = {
        facts.id: rescoped(key, edit.queue or facts.queue)
        for facts in jobs
        if (key := facts.options.unique_key) is not None
    }
    if not wishes:
        return jobs
    known = unpack(transaction.one("unique_known", keys=pack(sorted(set(wishes.values()))), now=now))
    holders = {key: (holder, bool(alive)) for key, holder, _, alive in known}
    inputs = {} if edit.input is not None else inputs_of(transaction, wishes)
    kept: list[JobFacts] = []
    rows = []
    for facts in jobs:
        key = wishes.get(facts.id)
        if key is None:
            kept.append(facts)
            continue
        holder, alive = holders.get(key, (0, False))
        if alive and holder != facts.id:
            refused[facts.id] = taken(key, holder)
            continue
        kept.append(facts)
        # The next of this set with the same key finds it taken.
        holders[key] = (facts.id, True)
        text = inputs[facts.id] if edit.input is None else edit.input
        rows.append((key, facts.id, input_hash(facts.kind, text), holder, None))
    if rows and transaction.run("unique_put", rows=pack(sorted(rows)), now=now) != len(rows):
        raise Retry
    left = [(old, facts.id) for facts in kept if (old := facts.options.unique_key) not in (None, wishes.get(facts.id))]
    if left:
        transaction.send("unique_forget", rows=pack(left))
    note_keys(transaction, wishes, kept)
    return kept
