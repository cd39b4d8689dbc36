"""The state machine, as a table: every state, every event, and what follows.

A pair that is not in ``TRANSITIONS`` is refused. Nothing else in Roost decides which state may follow which: the settle
rules choose an *event*, this table gives the state.
"""

from __future__ import annotations

from enum import StrEnum

from roost.errors import Conflict


class State(StrEnum):
    """Where a job is; its ``reason`` says why."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    HELD = "held"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class Event(StrEnum):
    """What happened to a job; the left side of a transition."""

    DUE = "due"
    """`run_at` has come."""
    CLAIM = "claim"
    """A worker took it."""
    SUCCEED = "succeed"
    RETRY = "retry"
    """The attempt failed and the rule allows another."""
    FAIL = "fail"
    """The attempt failed for good."""
    THROTTLE = "throttle"
    """It was about to start, and a limit has no room for it."""
    POSTPONE = "postpone"
    """The handler asked for later: a snooze, a sleep, or a failure-free release."""
    RELEASE = "release"
    """The attempt ended without a verdict and the job may be taken at once."""
    RESCHEDULE = "reschedule"
    """It was given another time to start."""
    HOLD = "hold"
    """A person must decide first."""
    APPROVE = "approve"
    APPROVE_LATER = "approve_later"
    """Approved before its time to start has come."""
    DENY = "deny"
    CANCEL = "cancel"
    EXPIRE = "expire"
    REOPEN = "reopen"
    REOPEN_HELD = "reopen_held"
    """Reopened, and its rules hold it again before it starts."""


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED})

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.WAITING, Event.DUE): State.READY,
    (State.WAITING, Event.RESCHEDULE): State.WAITING,
    (State.WAITING, Event.HOLD): State.HELD,
    (State.WAITING, Event.CANCEL): State.CANCELLED,
    (State.WAITING, Event.EXPIRE): State.EXPIRED,
    (State.WAITING, Event.FAIL): State.FAILED,
    (State.READY, Event.CLAIM): State.RUNNING,
    (State.READY, Event.RESCHEDULE): State.WAITING,
    (State.READY, Event.HOLD): State.HELD,
    (State.READY, Event.THROTTLE): State.WAITING,
    (State.READY, Event.CANCEL): State.CANCELLED,
    (State.READY, Event.EXPIRE): State.EXPIRED,
    (State.READY, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.SUCCEED): State.SUCCEEDED,
    (State.RUNNING, Event.RETRY): State.WAITING,
    (State.RUNNING, Event.FAIL): State.FAILED,
    (State.RUNNING, Event.POSTPONE): State.WAITING,
    (State.RUNNING, Event.RELEASE): State.READY,
    (State.RUNNING, Event.HOLD): State.HELD,
    (State.RUNNING, Event.CANCEL): State.CANCELLED,
    (State.HELD, Event.APPROVE): State.READY,
    (State.HELD, Event.APPROVE_LATER): State.WAITING,
    (State.HELD, Event.DENY): State.FAILED,
    (State.HELD, Event.CANCEL): State.CANCELLED,
    (State.HELD, Event.EXPIRE): State.EXPIRED,
    (State.SUCCEEDED, Event.REOPEN): State.READY,
    (State.FAILED, Event.REOPEN): State.READY,
    (State.CANCELLED, Event.REOPEN): State.READY,
    (State.EXPIRED, Event.REOPEN): State.READY,
    (State.SUCCEEDED, Event.REOPEN_HELD): State.HELD,
    (State.FAILED, Event.REOPEN_HELD): State.HELD,
    (State.CANCELLED, Event.REOPEN_HELD): State.HELD,
    (State.EXPIRED, Event.REOPEN_HELD): State.HELD,
}


def follow(state: State, event: Event) -> State:
    """The state after ``event``; raises `Conflict` where the table has no such transition."""
    after = TRANSITIONS.get((state, event))
    if after is None:
        raise Conflict(f"a job that is {state} cannot {event}", help="look at the job's state first")
    return after
