"""Signals: each used once by a job, its data recorded as a step in the transaction that makes the job ready."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from roost.domain.flow import WAITS_FOR_SIGNAL
from roost.domain.records import Flag, JobFacts, WaitRow
from roost.domain.states import Event, State
from roost.engine.batch import Effects
from roost.engine.driver import Transaction
from roost.engine.work.facts import facts_of
from roost.engine.work.moves import Move, apply
from roost.engine.work.texts import pack, unpack


class Signal(NamedTuple):
    """A stored signal; ``job`` None: for whoever waits."""

    id: int
    name: str
    data: str
    job: int | None


class _Given(NamedTuple):
    job: int
    step: str
    attempt: int
    signal: int
    data: str


def input_hash(name: str) -> str:
    """What a signal's step is recorded with: SHA-256 of the signal's name, in hex."""
    return hashlib.sha256(name.encode()).hexdigest()


def begin(transaction: Transaction, waits: list[tuple[JobFacts, WaitRow]], now: int, effects: Effects) -> None:
    """These jobs wait for signals from now on; those a fitting signal was sent to before go on with it."""
    names = {facts.id: wait.signal or "" for facts, wait in waits}
    transaction.one("signal_lock", names=pack(sorted(set(names.values()))))
    asked = [
        (facts.id, names[facts.id], wait.step or names[facts.id], facts.attempt, facts.created_at)
        for facts, wait in waits
    ]
    found = [
        _Given(job, step, attempt, signal, data)
        for job, step, attempt, signal, data in unpack(transaction.one("signal_unused", rows=pack(asked)))
    ]
    given = {each.job for each in found}
    waiting = [(job, name, step) for job, name, step, *_ in asked if job not in given]
    if waiting:
        transaction.send("signal_wait_put", rows=pack(waiting))
    _hand_over(transaction, found, names, now, effects)


def deliver(transaction: Transaction, signal: Signal, limit: int, now: int, effects: Effects) -> int:
    """Give ``signal`` to up to ``limit`` of those who wait for it; how many. It is served when that are fewer."""
    transaction.one("signal_lock", names=pack([signal.name]))
    waiters = unpack(transaction.one("signal_waiters", name=signal.name, job=signal.job, signal=signal.id, limit=limit))
    found = [_Given(job, step, attempt, signal.id, signal.data) for job, step, attempt in waiters]
    given = _hand_over(transaction, found, {each.job: signal.name for each in found}, now, effects)
    if len(waiters) < limit:
        transaction.send("signal_served", id=signal.id)
    return given


def _hand_over(transaction: Transaction, found: list[_Given], names: dict[int, str], now: int, effects: Effects) -> int:
    """Record the steps and make the jobs ready, where they still wait."""
    facts = facts_of(transaction, (each.job for each in found)) if found else {}
    given = [
        each
        for each in found
        if (job := facts.get(each.job)) is not None
        and job.state is State.WAITING
        and job.reason == WAITS_FOR_SIGNAL
        and job.attempt == each.attempt
    ]
    if not given:
        return 0
    transaction.send("signal_used_put", rows=pack([(each.job, each.signal) for each in given]))
    steps = [(each.job, each.step, input_hash(names[each.job]), each.data, each.attempt) for each in given]
    transaction.send("signal_step_put", rows=pack(steps), now=now)
    ids = sorted(each.job for each in given)
    transaction.send("signal_wait_delete", ids=pack(ids))
    apply(transaction, [Move(facts[id], Event.DUE, None) for id in ids], now, effects)
    transaction.send("job_flag", rows=pack([(id, int(Flag.STEPS)) for id in ids]))
    return len(given)
