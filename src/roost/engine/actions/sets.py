"""What people do to jobs, for any set of them: cancel, delete, move, run now, hold.

Each takes ids and answers with the refusals by id: whoever is not in it is done. The number of statements is the same
for one job and for a thousand. A single call is a set of one; reopen and edits are in modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from roost.domain import holds, placing, settle
from roost.domain.admission import subject
from roost.domain.placing import Place, Placed
from roost.domain.records import Flag, HoldRow, HoldRule, JobFacts
from roost.domain.settle import Ending
from roost.domain.states import TERMINAL, Event, State
from roost.domain.tracked import is_tracked
from roost.engine.actions.rekeying import rekey
from roost.engine.batch import Effects
from roost.engine.driver import Retry, Transaction
from roost.engine.work import flow, limiting
from roost.engine.work.changes import note_due
from roost.engine.work.counting import uncount
from roost.engine.work.facts import facts_of
from roost.engine.work.feed import bury
from roost.engine.work.moves import Move, apply, record
from roost.engine.work.ordering import rank_again
from roost.engine.work.settles import write
from roost.engine.work.texts import pack, unpack
from roost.errors import Conflict, NotFound, RoostError

Refusals = dict[int, RoostError]

TABLES = (
    "input", "result", "progress", "log", "attempt", "step", "step_started", "hold", "event", "unique", "tag",
    "metadata", "summary", "chunk", "error", "index", "dependency", "dependent", "child", "signal_wait", "signal_used",
    "limit",
)  # fmt: skip
"""What is deleted with a job: the statement ``<name>_delete`` each."""


def judged(
    transaction: Transaction, ids: Iterable[int], judge: Callable[[JobFacts], object]
) -> tuple[list[JobFacts], Refusals]:
    """The facts of those jobs that ``judge`` does not refuse, and the refusals of the rest."""
    wanted = list(dict.fromkeys(ids))
    known = facts_of(transaction, wanted)
    accepted: list[JobFacts] = []
    refused: Refusals = {}
    for id in wanted:
        facts = known.get(id)
        if facts is None:
            refused[id] = NotFound(f"there is no job {id}", path="id", help="roost jobs list shows what there is")
            continue
        try:
            judge(facts)
        except RoostError as error:
            refused[id] = error
        else:
            accepted.append(facts)
    return accepted, refused


def said(note: str, **data: object) -> dict[str, object]:
    """An event's data: what was done, and the note where there is one."""
    return {**data, "note": note} if note else data


def cancel(
    transaction: Transaction, ids: Iterable[int], now: int, effects: Effects, *, actor: str = "", note: str = ""
) -> Refusals:
    """Cancel at once what no worker runs; ask the rest. Cancelling a cancelled job again changes nothing.

    A tracked job has no worker that could be asked: its attempt ends with the call.
    """

    def judge(facts: JobFacts) -> None:
        if facts.state is not State.CANCELLED:
            settle.cancel(facts)

    accepted, refused = judged(transaction, ids, judge)
    fresh = [
        facts for facts in accepted if facts.state is not State.CANCELLED and not facts.flags & Flag.CANCEL_REQUESTED
    ]
    running = [facts for facts in fresh if facts.state is State.RUNNING]
    asked = [facts for facts in running if not is_tracked(facts)]
    stopped = [facts for facts in fresh if facts.state is not State.RUNNING]
    if asked:
        transaction.send("job_flag", rows=pack([(facts.id, int(Flag.CANCEL_REQUESTED)) for facts in asked]))
    end_tracked(transaction, [facts for facts in running if is_tracked(facts)], now, effects)
    apply(transaction, [Move(facts, Event.CANCEL, "requested") for facts in stopped], now, effects)
    known = {facts.id for facts in asked}
    record(
        transaction,
        [(f.id, "cancel_requested" if f.id in known else "cancelled", actor, said(note)) for f in fresh],
        now,
    )
    return refused


def end_tracked(transaction: Transaction, jobs: list[JobFacts], now: int, effects: Effects) -> None:
    """End the attempts of tracked jobs that are cancelled: whoever still updates them is refused."""
    ending = Ending(kind="release")
    verdicts = []
    for facts in jobs:
        asked = msgspec.structs.replace(facts, flags=facts.flags | Flag.CANCEL_REQUESTED)
        verdicts.append((facts, ending, settle.decide(asked, ending, now, 0.0)))
    write(transaction, verdicts, now, effects)


def _check_deletable(facts: JobFacts) -> None:
    if facts.state is State.RUNNING:
        raise Conflict("a running job is not deleted", path="id", help=f"cancel it first: roost jobs cancel {facts.id}")


def delete(
    transaction: Transaction,
    ids: Iterable[int],
    now: int,
    effects: Effects,
    *,
    actor: str = "",
    only: Callable[[JobFacts], None] = _check_deletable,
    recorded: bool = True,
) -> Refusals:
    """Forget jobs that do not run (of those that ``only`` lets pass), and all that belongs to them.

    Each is recorded by itself, but where the caller records the set (``recorded`` False).
    """
    accepted, refused = judged(transaction, ids, only)
    if accepted:
        limited = [limiting.Left(f.id, f.queue, f.state, State.CANCELLED) for f in accepted if f.flags & Flag.LIMITED]
        limiting.leave(transaction, [left for left in limited if left.before not in TERMINAL], now, effects)
        forget(transaction, [facts.id for facts in accepted])
        effects.ended.extend(facts.id for facts in accepted)
        effects.schedules = effects.schedules or any(facts.flags & Flag.WATCHED for facts in accepted)
        effects.flow = effects.flow or any(facts.flags & Flag.FLOW for facts in accepted)
        told = accepted if recorded else []
        record(
            transaction,
            [(None, "job_deleted", actor, {"id": f.id, "kind": f.kind, "queue": f.queue}) for f in told],
            now,
        )
    return refused


def forget(transaction: Transaction, ids: list[int]) -> int:
    """Delete jobs that do not run, with everything that is theirs; how many."""
    text = pack(ids)
    flow.forgotten(transaction, ids)
    bury(transaction, ids)
    uncount(transaction, text)
    for table in TABLES:
        transaction.send(f"{table}_delete", ids=text)
    return transaction.run("job_delete", ids=text)


def move(
    transaction: Transaction,
    ids: Iterable[int],
    now: int,
    effects: Effects,
    *,
    place: Place,
    actor: str = "",
    note: str = "",
) -> Refusals:
    """Give jobs that have not started another queue, priority or time; held ones stay held."""
    accepted, refused = judged(transaction, ids, lambda facts: placing.move(facts, place, now))
    if place.queue is not None:
        accepted = rekey(transaction, accepted, place.queue, refused, now)
    placed = [(facts, placing.move(facts, place, now)) for facts in accepted]
    _put(transaction, placed, now, effects)
    changes = {
        "queue": place.queue,
        "priority": place.priority,
        "run_at": place.run_at,
    }
    data = said(note, **{name: value for name, value in changes.items() if value is not None})
    record(transaction, [(facts.id, "moved", actor, {"from": facts.queue, **data}) for facts in accepted], now)
    return refused


def run_now(
    transaction: Transaction, ids: Iterable[int], now: int, effects: Effects, *, actor: str = "", note: str = ""
) -> Refusals:
    """Start jobs that wait for a time as soon as a worker is free."""
    accepted, refused = judged(transaction, ids, lambda facts: placing.run_now(facts, now))
    _put(transaction, [(facts, placing.run_now(facts, now)) for facts in accepted], now, effects)
    record(transaction, [(facts.id, "run_now", actor, said(note)) for facts in accepted], now)
    return refused


def _put(transaction: Transaction, placed: list[tuple[JobFacts, Placed]], now: int, effects: Effects) -> None:
    if not placed:
        return
    rows = [(facts.id, facts.state, at.queue, at.priority, at.run_at, at.expires_at) for facts, at in placed]
    if transaction.run("job_place", rows=pack(rows)) != len(rows):
        raise Retry
    moves: list[Move] = []
    asked: list[tuple[JobFacts, HoldRule]] = []
    for facts, at in placed:
        now_there = msgspec.structs.replace(facts, queue=at.queue, priority=at.priority, run_at=at.run_at)
        if at.hold is not None:
            now_there = msgspec.structs.replace(now_there, flags=facts.flags | Flag.HOLDS)
            asked.append((now_there, at.hold))
        if at.event is not None:
            moves.append(Move(now_there, at.event, at.reason))
        elif facts.state is State.READY:
            # Nothing but its place changed: claims of that place learn of it as of any other ready job.
            effects.ready[at.queue] = effects.ready.get(at.queue, 0) + 1
        for moment in (at.run_at, at.expires_at):
            if moment is not None:
                note_due(effects, moment)
    rank_again(transaction, [facts.id for facts, _ in placed], now)
    limited = [facts.id for facts, _ in placed if facts.flags & Flag.LIMITED]
    if limited:
        limiting.moved(transaction, limited, now, effects)
    apply(transaction, moves, now, effects)
    ask(transaction, asked, now, effects)


def hold(
    transaction: Transaction,
    ids: Iterable[int],
    now: int,
    effects: Effects,
    *,
    title: str = "held by hand",
    actor: str = "",
    note: str = "",
) -> Refusals:
    """Hold jobs that have not started until somebody approves; the hold shows kind and input."""
    accepted, refused = judged(transaction, ids, placing.hold)
    held = [msgspec.structs.replace(facts, flags=facts.flags | Flag.HOLDS) for facts in accepted]
    apply(transaction, [Move(facts, Event.HOLD, "manual") for facts in held], now, effects)
    if held:
        rule = HoldRule(title=title)
        ask(transaction, [(facts, rule) for facts in held], now, effects, manual=True)
        record(transaction, [(facts.id, "hold_requested", actor, said(note)) for facts in held], now)
    return refused


def ask(
    transaction: Transaction,
    asked: list[tuple[JobFacts, HoldRule]],
    now: int,
    effects: Effects,
    *,
    manual: bool = False,
) -> None:
    """Open a hold for each of these jobs, which are held already: its subject is what the job would run."""
    if not asked:
        return
    inputs = inputs_of(transaction, [facts.id for facts, _ in asked])
    opened: list[tuple[int, HoldRow]] = []
    for facts, rule in asked:
        row = holds.from_rule(rule, subject(facts.kind, inputs[facts.id]), now, "hold")
        if manual:
            row.reason = "manual"
        opened.append((facts.id, row))
        if row.deadline is not None:
            note_due(effects, row.deadline)
    transaction.send(
        "hold_put",
        rows=pack([(id, h.reason, h.title, h.subject, h.subject_hash, h.deadline, h.on_expiry) for id, h in opened]),
        now=now,
    )


def inputs_of(transaction: Transaction, ids: Iterable[int]) -> dict[int, str]:
    """The inputs of these jobs, as their texts."""
    return dict(unpack(transaction.one("job_inputs", ids=pack(sorted(set(ids))))))
