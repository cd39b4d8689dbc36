"""What people may do to a job that has not started: another place in line, another time, a hold by hand."""

from __future__ import annotations

import msgspec

from roost.domain.records import HoldRule, JobFacts
from roost.domain.states import TERMINAL, Event, State, follow
from roost.errors import Conflict, InvalidRequest

BY_TIME = frozenset({"scheduled", "retry", "snoozed", "sleeping"})
"""Reasons to wait that end when a time has come; who waits for another job, or for news, is not started by a clock."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands in line, or shall stand; None leaves as it is."""

    queue: str | None = None
    priority: int | None = None
    run_at: int | None = None
    """A time that has passed means now."""
    hold: HoldRule | None = None
    """What holds jobs of the new queue before they start."""


class Placed(msgspec.Struct, frozen=True, kw_only=True):
    """The place a job is given, and what happens to its state with it."""

    queue: str
    priority: int
    run_at: int | None
    expires_at: int | None = None
    event: Event | None = None
    reason: str | None = None
    hold: HoldRule | None = None
    """The question that is asked before it starts."""


def move(facts: JobFacts, place: Place, now: int) -> Placed:
    """The new place of a job that has not started; raises `Conflict` for one that runs or has ended.

    With another time to start comes another expiry, as far from it as it was asked for; raises `InvalidRequest` where a
    job that expires at a given time would never start. A held job stays held whatever its place, and no move leads
    around a hold: the rule of a queue it moves into asks its question, unless the job was let go by another one before.
    """
    _check_not_started(facts, "moved")
    queue = facts.queue if place.queue is None else place.queue
    priority = facts.priority if place.priority is None else place.priority
    run_at, expires_at, event, reason = facts.run_at, facts.expires_at, None, None
    if place.run_at is not None:
        if facts.state is State.WAITING and facts.reason not in BY_TIME:
            raise Conflict(
                f"the job waits for something else than a time ({facts.reason})",
                path="run_at",
                help="move it without a time; roost jobs explain says what it waits for",
            )
        run_at = place.run_at if place.run_at > now else None
        expires_at = expiry(facts, run_at or now)
        if facts.state is State.WAITING:
            event, reason = (Event.DUE, None) if run_at is None else (Event.RESCHEDULE, "scheduled")
        elif facts.state is State.READY and run_at is not None:
            event, reason = Event.RESCHEDULE, "scheduled"
    hold = None
    if place.hold is not None and queue != facts.queue and facts.state is not State.HELD and facts.options.hold is None:
        _check_holdable(facts)
        event, reason, hold = Event.HOLD, "approval", place.hold
    if event is not None:
        follow(facts.state, event)
    return Placed(
        queue=queue, priority=priority, run_at=run_at, expires_at=expires_at, event=event, reason=reason, hold=hold
    )


def expiry(facts: JobFacts, start: int) -> int | None:
    """When a job expires that may start at ``start`` from now on; raises `InvalidRequest` where that is before it."""
    if facts.expires_at is None:
        return None
    if facts.options.ttl_ms is not None:
        return start + facts.options.ttl_ms
    if facts.expires_at <= start:
        raise InvalidRequest("the job would expire before it may start", path="run_at", help="give an earlier time")
    return facts.expires_at


def run_now(facts: JobFacts, now: int) -> Placed:
    """A job that waits for a time starts as soon as a worker is free; raises `Conflict` for any other."""
    if facts.state is not State.WAITING:
        raise Conflict(
            f"a job that is {facts.state} waits for no time",
            path="id",
            help="roost jobs explain says what it waits for",
        )
    return move(facts, Place(run_at=now), now)


def hold(facts: JobFacts) -> None:
    """Raises `Conflict` where a job cannot be held by hand."""
    if facts.state is State.HELD:
        raise Conflict("the job is held already", path="id", help="roost approvals list shows by what")
    _check_not_started(facts, "held")
    _check_holdable(facts)
    follow(facts.state, Event.HOLD)


def approved(facts: JobFacts, now: int) -> tuple[Event, str | None]:
    """The event and reason of a held job that was let go: ready, or waiting where its time has not come."""
    if facts.run_at is not None and facts.run_at > now:
        return Event.APPROVE_LATER, "scheduled"
    return Event.APPROVE, None


def _check_not_started(facts: JobFacts, done: str) -> None:
    if facts.state is State.RUNNING:
        raise Conflict(f"a running job is not {done}", path="id", help="cancel it, or wait for its attempt's end")
    if facts.state in TERMINAL:
        raise Conflict(f"a job that {facts.state} is not {done}", path="id", help="reopen it, or clone it")


def _check_holdable(facts: JobFacts) -> None:
    # Released, such a job could not go back to what it waits for.
    if facts.state is State.WAITING and facts.reason not in BY_TIME:
        raise Conflict(
            f"the job waits for something else than a time ({facts.reason}), and is not held beside that",
            path="id",
            help="hold it once it is ready",
        )
