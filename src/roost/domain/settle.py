"""How an attempt's end becomes the job's next state: one function for every way an attempt can end.

Handlers' outcomes, reaped leases and elapsed deadlines all come through here: a rule written once holds everywhere.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from roost.domain.flow import WAITS_FOR_JOBS, WAITS_FOR_SIGNAL
from roost.domain.holds import subject_hash
from roost.domain.records import Flag, HoldRow, JobFacts, WaitRow
from roost.domain.retry import RetryRule, delay_ms, rule_for
from roost.domain.states import TERMINAL, Event, State, follow

DEFAULT_RETRY = RetryRule()
DEADLY = 3
"""A job under which this many workers died is held in quarantine."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, as its worker (or the reaper, for ``lost``) tells it."""

    kind: Literal["succeed", "fail", "snooze", "sleep", "cancel", "release", "hold", "lost", "wait"]
    result: str | None = None
    error: str | None = None
    """`roost.wire.jobs.ErrorInfo` as JSON text."""
    fatal: bool = False
    timed_out: bool = False
    died: bool = False
    after_ms: int | None = None
    hold: HoldRow | None = None
    exit: bool = False
    """The rest of its chain is not needed."""
    wait: WaitRow | None = None
    """With ``wait``: what it waits for, ``after_ms`` at most."""
    summary: str | None = None
    chunks: list[str] = []
    """JSON texts."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What to write: the job's next state and the ended attempt's outcome."""

    state: State
    reason: str | None
    run_at: int | None
    failures: int
    deaths: int
    flags: int
    finished_at: int | None
    outcome: str
    hold: HoldRow | None = None
    """The question that is opened with it."""


SUCCEEDED = "succeeded"


def decide(facts: JobFacts, ending: Ending, now: int, rng_value: float) -> Verdict:
    """The verdict on a running job whose attempt ended; ``rng_value`` in [0, 1) spreads the retry.

    A requested cancel wins over whatever the handler returned after it; a passed deadline ends the job.
    """
    failures, deaths, flags = facts.failures, facts.deaths, facts.flags
    event, run_at, hold = Event.SUCCEED, None, ending.hold
    reason = "early_exit" if ending.exit else None
    outcome = SUCCEEDED
    if ending.kind == "fail":
        failures += 1
        deaths += ending.died
        outcome = "timed_out" if ending.timed_out else "failed"
        event, reason, run_at = _retry(facts, ending, failures, now, rng_value)
    elif ending.kind == "lost":
        failures += 1
        deaths += 1
        outcome = "lost"
        event, reason, run_at = _retry(facts, ending, failures, now, rng_value)
    elif ending.kind in ("snooze", "sleep"):
        outcome = reason = "snoozed" if ending.kind == "snooze" else "sleeping"
        event, run_at = Event.POSTPONE, now + (ending.after_ms or 0)
    elif ending.kind == "wait":
        reason, outcome = WAITS_FOR_SIGNAL if ending.wait and ending.wait.signal else WAITS_FOR_JOBS, "waiting"
        event, run_at = Event.POSTPONE, None if ending.after_ms is None else now + ending.after_ms
    elif ending.kind == "release":
        event, outcome = Event.RELEASE, "released"
    elif ending.kind == "hold":
        reason = hold.reason if hold else "manual"
        event, outcome, flags = Event.HOLD, "held", flags | Flag.HOLDS
    elif ending.kind == "cancel":
        event, reason, outcome = Event.CANCEL, "handler", "cancelled"

    if deaths > facts.deaths and deaths >= DEADLY:
        # Neither its retries nor its words count: whoever takes it next is likely to die as well.
        event, reason, run_at, flags = Event.HOLD, "quarantine", None, flags | Flag.HOLDS
        hold = _quarantine(deaths, ending)

    late = facts.deadline_at is not None and facts.deadline_at <= now
    if flags & Flag.CANCEL_REQUESTED or (late and event is not Event.SUCCEED):
        event, run_at = Event.CANCEL, None
        reason = "duration_limit" if late else "requested"
        outcome = outcome if ending.kind in ("fail", "lost") else "cancelled"
    state = follow(State.RUNNING, event)
    terminal = state in TERMINAL
    return Verdict(
        state=state,
        reason=reason,
        run_at=run_at,
        failures=failures,
        deaths=deaths,
        flags=flags & ~(Flag.CANCEL_REQUESTED | Flag.WATCHED) if terminal else flags,
        finished_at=now if terminal else None,
        outcome=outcome,
        hold=hold if state is State.HELD else None,
    )


def _quarantine(deaths: int, ending: Ending) -> HoldRow:
    """Shows what is known of the last death, such as its signal and memory: a person decides whether it runs again."""
    subject = f'{{"deaths":{deaths},"last":{ending.error or "null"}}}'
    return HoldRow(
        reason="quarantine",
        title=f"{deaths} workers died under it",
        subject=subject,
        subject_hash=subject_hash(subject),
        deadline=None,
        on_expiry="deny",
    )


def _retry(
    facts: JobFacts, ending: Ending, failures: int, now: int, rng_value: float
) -> tuple[Event, str | None, int | None]:
    """The handler's words win over the rule: fatal ends it, an explicit delay replaces the backoff."""
    if ending.fatal:
        return Event.FAIL, "fatal", None
    rule = rule_for(facts.options.retry or DEFAULT_RETRY, ending.error)
    if failures > rule.retries:
        reason = "time_limit" if ending.timed_out else "lost" if ending.kind == "lost" else "attempts_exhausted"
        return Event.FAIL, reason, None
    if ending.kind == "lost" and ending.after_ms is None:
        # The worker died, not the work: nothing is gained by making the job wait as well.
        return Event.RELEASE, None, None
    delay = ending.after_ms if ending.after_ms is not None else delay_ms(rule, failures, rng_value)
    return Event.RETRY, "retry", now + delay


def cancel(facts: JobFacts) -> Event | None:
    """The event of a cancel: None for a running job (it is asked, not told); `Conflict` for a terminal one."""
    if facts.state is State.RUNNING:
        return None
    follow(facts.state, Event.CANCEL)
    return Event.CANCEL


def reopen(facts: JobFacts) -> Event:
    """The event of a reopen; `Conflict` where the job has not ended."""
    event = Event.REOPEN_HELD if facts.options.hold is not None else Event.REOPEN
    follow(facts.state, event)
    return event
