"""Settles: plain successes in one guarded statement; the rest by `roost.domain.settle`, then guarded the same."""

from __future__ import annotations

from collections.abc import Callable

from roost.domain.feed import EventType
from roost.domain.records import SETTLE_FLAGS, JobFacts
from roost.domain.settle import SUCCEEDED, Ending, Verdict, decide
from roost.domain.states import TERMINAL, State
from roost.engine.batch import Effects, SettledRow, SettleRow
from roost.engine.driver import Retry, Transaction
from roost.engine.work import chunks, failures
from roost.engine.work.changes import Change, follow_up, note_due
from roost.engine.work.circles import endless_waits
from roost.engine.work.facts import facts_of
from roost.engine.work.feed import tell, tell_ended
from roost.engine.work.flow import Need, Wait, begin_waits, needs_of
from roost.engine.work.texts import pack, unpack
from roost.errors import LeaseLost
from roost.wire.problems import Problem

_OUTCOMES = {
    "succeed": (SUCCEEDED, "cancelled"),
    "fail": ("failed", "timed_out"),
    "snooze": ("snoozed", "cancelled"),
    "sleep": ("sleeping", "cancelled"),
    "release": ("released", "cancelled"),
    "hold": ("held", "cancelled"),
    "wait": ("waiting", "cancelled"),
    "cancel": ("cancelled",),
}
"""How attempts end by these endings: only the ending that was accepted can be repeated, another one comes too late."""


class Repeated(Retry):
    """A batch repeats successes, and afterwards nothing tells which: it must look before it writes."""


def lease_lost(id: int) -> Problem:
    """What everybody but the holder is told."""
    return Problem.of(
        LeaseLost(
            f"the lease on job {id} is not yours", help="another worker has the job, or it ended; drop the result"
        )
    )


def apply(
    transaction: Transaction,
    calls: list[list[SettleRow]],
    now: int,
    rng: Callable[[], float],
    effects: Effects,
    careful: bool = False,
) -> list[list[SettledRow]]:
    """An answer for each outcome: the state it led to (again, for an accepted one repeated), or `lease_lost`.

    ``careful`` looks first which successes are repeated; without it such a batch may raise `Repeated`.
    """
    if not calls:
        return []
    rows = [row for call in calls for row in call]
    plain = [row for row in rows if _is_plain(row.ending)]
    done = _plain(transaction, plain, now, effects, careful) if plain else set()
    if done is None and len(plain) == len(rows):
        return [[SettledRow(row.id, State.SUCCEEDED) for row in call] for call in calls]
    rest = [row for row in rows if not _is_plain(row.ending) or (done is not None and (row.id, row.token) not in done)]
    told = _decided(transaction, rest, now, rng, effects) if rest else {}
    return [
        [told[id(row)] if id(row) in told else SettledRow(row.id, State.SUCCEEDED) for row in call] for call in calls
    ]


def _is_plain(ending: Ending) -> bool:
    return ending.kind == "succeed" and ending.summary is None and not ending.chunks and not ending.exit


def _plain(
    transaction: Transaction, rows: list[SettleRow], now: int, effects: Effects, careful: bool
) -> set[tuple[int, str]] | None:
    """The leases of these rows whose jobs are succeeded by them; None: all of them."""
    fence = {row.id: row.token for row in rows}
    if len(fence) < len(rows):
        # Of two outcomes of one job the first counts.
        fence = {row.id: row.token for row in reversed(rows)}
    repeated: set[tuple[int, str]] = set()
    if careful:
        repeated = {(id, token) for id, token, _ in unpack(transaction.one("settle_plain_done", fence=pack(fence)))}
        fence = {id: token for id, token in fence.items() if (id, token) not in repeated}
        if not fence:
            return repeated
    text = pack(fence)
    changed = transaction.run("settle_plain", fence=text, now=now, special=int(SETTLE_FLAGS))
    if changed == len(fence) == len(rows):
        results = [(row.id, row.ending.result) for row in rows if row.ending.result is not None]
        if results:
            transaction.send("result_put", rows=pack(results))
        effects.ended.extend(fence)
        tell(transaction, EventType.SUCCEEDED, list(fence))
        return None
    fresh = done = set(fence.items())
    if changed != len(fence):
        ended = unpack(transaction.one("settle_plain_done", fence=text))
        done = {(id, token) for id, token, _ in ended}
        # A success that was accepted before is told again, but its result stays what it was.
        fresh = {(id, token) for id, token, at in ended if at >= now}
        if len(fresh) != changed:
            # Some were accepted in this very millisecond, or by a clock that is ahead: which, nothing tells any more.
            raise Repeated
    results = [
        (row.id, row.ending.result) for row in rows if row.ending.result is not None and (row.id, row.token) in fresh
    ]
    if results:
        transaction.send("result_put", rows=pack(results))
    effects.ended.extend(id for id, _ in done)
    if fresh:
        tell(transaction, EventType.SUCCEEDED, [id for id, token in fence.items() if (id, token) in fresh])
    return done | repeated


def _decided(
    transaction: Transaction, rows: list[SettleRow], now: int, rng: Callable[[], float], effects: Effects
) -> dict[int, SettledRow]:
    facts = facts_of(transaction, (row.id for row in rows))
    answers: dict[int, SettledRow] = {}
    verdicts: list[tuple[JobFacts, Ending, Verdict]] = []
    states: dict[int, State] = {}
    asked: dict[int, SettleRow] = {}
    stale: list[SettleRow] = []
    for row in rows:
        known = facts.get(row.id)
        if known is None:
            answers[id(row)] = SettledRow(row.id, None, lease_lost(row.id))
        elif row.id in states or known.token != row.token or known.state is not State.RUNNING:
            stale.append(row)
        else:
            verdict = decide(known, row.ending, now, rng())
            verdicts.append((known, row.ending, verdict))
            states[row.id] = verdict.state
            asked[row.id] = row
            answers[id(row)] = SettledRow(row.id, verdict.state)
    needs = _look_at_waits(transaction, verdicts)
    for job, refusal in endless_waits(transaction, _waits(verdicts), needs).items():
        # Refused, it runs on: its worker may end it otherwise.
        del states[job]
        answers[id(asked[job])] = SettledRow(job, None, Problem.of(refusal))
    write(transaction, [each for each in verdicts if each[0].id in states], now, effects, needs)
    if stale:
        outcomes = {
            (job, token): outcome
            for job, token, outcome in unpack(
                transaction.one("attempt_outcomes", rows=pack([(row.id, row.token) for row in stale]))
            )
        }
        for row in stale:
            known = facts[row.id]
            state = states.get(row.id, known.state)
            accepted = outcomes.get((row.id, row.token))
            if accepted is None and known.token == row.token and state is State.SUCCEEDED:
                accepted = SUCCEEDED
            repeated = accepted is not None and accepted in _OUTCOMES.get(row.ending.kind, ())
            answers[id(row)] = SettledRow(row.id, state) if repeated else SettledRow(row.id, None, lease_lost(row.id))
    return answers


def _waits(verdicts: list[tuple[JobFacts, Ending, Verdict]]) -> list[Wait]:
    return [
        Wait(facts, ending.wait, verdict.run_at is not None)
        for facts, ending, verdict in verdicts
        if ending.wait and verdict.state is State.WAITING
    ]


def _look_at_waits(transaction: Transaction, verdicts: list[tuple[JobFacts, Ending, Verdict]]) -> dict[int, Need]:
    """The jobs that any of these is to wait for, once for all that is decided from them."""
    wanted = [id for each in _waits(verdicts) for id in each.wait.jobs]
    return needs_of(transaction, wanted) if wanted else {}


def write(
    transaction: Transaction,
    verdicts: list[tuple[JobFacts, Ending, Verdict]],
    now: int,
    effects: Effects,
    needs: dict[int, Need] | None = None,
) -> None:
    """Apply verdicts on running jobs: the guarded rows, the ended attempts, results, holds, and what it means.

    ``needs``: the jobs that they are to wait for, where any of them is.
    """
    if not verdicts:
        return
    moves = []
    for facts, ending, verdict in verdicts:
        # A reaped lease's token is forgotten: whoever still has it is refused, also where nobody claimed the job since.
        kept = None if ending.kind == "lost" else facts.token
        # What had its start in time expires no more while it waits to go on; what was given back has not had it.
        started = verdict.state not in TERMINAL and ending.kind != "release"
        moves.append(
            (
                facts.id,
                facts.token,
                verdict.state,
                verdict.reason,
                verdict.run_at,
                verdict.failures,
                verdict.deaths,
                verdict.flags,
                verdict.finished_at,
                kept,
                int(started),
            )
        )
    if transaction.run("settle_apply", rows=pack(moves)) != len(moves):
        raise Retry
    transaction.send(
        "attempt_put",
        rows=pack(
            [
                (f.id, f.attempt, f.token, f.worker, f.started_at, verdict.outcome, ending.error)
                for f, ending, verdict in verdicts
            ]
        ),
        now=now,
    )
    failed = [
        (facts.id, ending.error)
        for facts, ending, verdict in verdicts
        if ending.error is not None and verdict.state is not State.CANCELLED
    ]
    failures.note(transaction, failed, now)
    results = [
        (facts.id, ending.result)
        for facts, ending, verdict in verdicts
        if verdict.state is State.SUCCEEDED and ending.result is not None
    ]
    if results:
        transaction.send("result_put", rows=pack(results))
    summaries = [(facts.id, ending.summary) for facts, ending, _ in verdicts if ending.summary is not None]
    if summaries:
        transaction.send("summary_put", rows=pack(summaries))
    chunks.put(transaction, {facts.id: ending.chunks for facts, ending, _ in verdicts}, now)
    holds = [
        (facts.id, hold.reason, hold.title, hold.subject, hold.subject_hash, hold.deadline, hold.on_expiry)
        for facts, _, verdict in verdicts
        if (hold := verdict.hold)
    ]
    if holds:
        transaction.send("hold_put", rows=pack(holds), now=now)
    for _, _, verdict in verdicts:
        if verdict.run_at is not None:
            note_due(effects, verdict.run_at)
        if verdict.hold and verdict.hold.deadline is not None:
            note_due(effects, verdict.hold.deadline)
    changes = [
        Change(facts.id, facts.queue, State.RUNNING, verdict.state, verdict.reason, facts.flags)
        for facts, _, verdict in verdicts
    ]
    tell_ended(transaction, [(f.id, f.attempt, v.outcome) for f, _, v in verdicts if v.outcome != SUCCEEDED])
    follow_up(transaction, changes, now, effects)
    waits = _waits(verdicts)
    if waits:
        # Some of those they wait for may be of this very set.
        moved = {facts.id: Need(verdict.state, verdict.reason, facts.queue) for facts, _, verdict in verdicts}
        found = {id: moved.get(id, need) for id, need in (needs or {}).items()}
        begin_waits(transaction, waits, found, now, effects)
