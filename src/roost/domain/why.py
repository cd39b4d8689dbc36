"""What a job waits for: everything that keeps it from starting or going on, in the order in which it would be met.

Pure: `explain` says the same in whole sentences with the events they rest on; this is the short answer.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from roost.domain.explain import Situation, count_of, moment, words_of
from roost.domain.states import TERMINAL, State

BlockerKind = Literal[
    "running", "hold", "dependency", "signal", "time", "limit", "queue_paused", "no_worker", "no_handler",
    "ready_before",
]  # fmt: skip


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """A job that another one waits for; ``state`` None: it was deleted a moment ago."""

    id: int
    kind: str | None
    state: State | None
    reason: str | None
    last: Need | None = None
    """Where it waits for jobs itself: one that all of them come to in the end."""
    circle: bool = False
    """It waits, by others, for jobs that wait for it."""


class LimitUse(msgspec.Struct, frozen=True, kw_only=True):
    """One limit a job counts against, and who takes it now."""

    key: str
    parked: bool
    """The job waits in the line of this one."""
    full: bool
    """So many run that it cannot."""
    concurrency: int | None
    used: int
    rate: str | None
    next_at: int | None
    """When the rate has room for it; None: now, or there is no rate."""
    holders: list[int] = []
    """Running jobs that hold it, the first few."""


class Waits(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the jobs, signals and limits that a job waits for."""

    needs: list[Need] = []
    needs_count: int = 0
    signal: str | None = None
    limits: list[LimitUse] = []


class Blocker(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that keeps a job from going on, until when it does so by itself, and what a person can do."""

    kind: BlockerKind
    text: str
    until: int | None = None
    job: int | None = None
    hold: int | None = None
    key: str | None = None
    action: str | None = None


def blockers(job: Situation, waits: Waits) -> list[Blocker]:
    """What keeps ``job`` where it is, first what is met first; nothing for a job that has ended."""
    if job.state in TERMINAL:
        return []
    if job.state is State.RUNNING:
        return [_running(job)]
    if job.state is State.HELD:
        return [_held(job)]
    found: list[Blocker] = []
    if job.state is State.WAITING:
        found += _waiting(job, waits)
    if job.state is State.READY:
        found += [_limit(use) for use in waits.limits if use.full or use.next_at is not None]
    found += _queue(job)
    if job.state is State.READY and job.ready_before:
        some = "10,000 jobs or more" if job.ready_before >= 10_000 else count_of(job.ready_before, "job")
        found.append(Blocker(kind="ready_before", text=f"{some} of queue {job.queue} go first"))
    return found


def answer(job: Situation, found: list[Blocker]) -> str:
    """One sentence: what the job waits for."""
    if job.state in TERMINAL:
        why = f" ({words_of(job.reason)})" if job.reason else ""
        return f"Nothing: it is {job.state}{why}."
    if not found:
        return "Nothing: the next free worker takes it."
    first = found[0].text
    rest = len(found) - 1
    others = f", and {count_of(rest, 'more thing')}" if rest else ""
    return f"{first[0].upper()}{first[1:]}{others}."


def _running(job: Situation) -> Blocker:
    asked = ", and was asked to stop" if job.cancel_requested else ""
    return Blocker(
        kind="running",
        text=f"attempt {job.attempt} runs on worker {job.worker}{asked}",
        until=job.lease_until,
        job=job.id,
        action=None if job.cancel_requested else f"roost jobs cancel {job.id}",
    )


def _held(job: Situation) -> Blocker:
    hold = job.open_hold
    if hold is None:
        return Blocker(kind="hold", text=f"a person must decide ({words_of(job.reason)})")
    verb = "answer" if hold.reason == "question" else "approve"
    return Blocker(
        kind="hold",
        text=f'a person must decide "{hold.title}" ({words_of(hold.reason)})',
        until=hold.deadline,
        hold=hold.id,
        action=f"roost approvals {verb} {hold.id}",
    )


def _waiting(job: Situation, waits: Waits) -> list[Blocker]:
    if job.reason == "dependency":
        return _needs(waits)
    if job.reason == "event":
        name = waits.signal or ""
        action = f"roost signals send {name}"
        return [Blocker(kind="signal", text=f"signal {name!r} has not come", until=job.run_at, action=action)]
    if job.reason == "throttled":
        return _throttled(job, waits)
    when = "its time has not come" if job.run_at is None else f"it starts at {moment(job.run_at)}"
    what = {
        "retry": f"it failed {count_of(job.failures, 'time')} and is tried again",
        "snoozed": "its handler asked to be called again",
        "sleeping": "its handler sleeps",
    }.get(job.reason or "", "it was asked to start later")
    return [Blocker(kind="time", text=f"{what}: {when}", until=job.run_at, action=f"roost jobs run {job.id}")]


def _throttled(job: Situation, waits: Waits) -> list[Blocker]:
    """The limits without room; where all have some, and its queue is paused, it waits for the pause alone."""
    closed = [use for use in waits.limits if use.full or use.next_at is not None]
    line = [use for use in waits.limits if use.parked and use not in closed]
    if line and job.queue_paused_at is not None:
        line = []
    found = [_limit(use) for use in (*line, *sorted(closed, key=lambda use: not use.parked))]
    if not found and job.queue_paused_at is None:
        found.append(Blocker(kind="limit", text="a limit has no room"))
    return found


def _needs(waits: Waits) -> list[Blocker]:
    found = []
    for need in waits.needs:
        text = f"{_named(need)} has not ended: it {_where(need)}"
        if need.circle:
            text += ", by others for jobs that wait for it: none of them ever ends by itself"
        elif need.last is not None:
            text += f", in the end for {_named(need.last)}, which {_where(need.last)}"
        asked = need.id if need.last is None else need.last.id
        action = f"roost jobs cancel {need.id}" if need.circle else f"roost why {asked}"
        found.append(Blocker(kind="dependency", text=text, job=need.id, action=action))
    left = waits.needs_count - len(waits.needs)
    if left > 0:
        found.append(Blocker(kind="dependency", text=f"{count_of(left, 'more job')} have not ended"))
    return found


def _named(need: Need) -> str:
    return f"job {need.id} ({need.kind or 'deleted'})"


def _where(need: Need) -> str:
    why = f" ({words_of(need.reason)})" if need.reason else ""
    return f"is gone{why}" if need.state is None else f"is {need.state}{why}"


def _limit(use: LimitUse) -> Blocker:
    parts = []
    if use.full:
        held = f" by {', '.join(f'job {id}' for id in use.holders)}" if use.holders else ""
        parts.append(f"{use.used} of {use.concurrency} are taken{held}")
    if use.rate is not None and use.next_at is not None:
        parts.append(f"no more than {use.rate} may start")
    text = "; ".join(parts) or "others go first"
    action = f"roost limits list {use.key}"
    return Blocker(kind="limit", text=f"limit {use.key!r}: {text}", until=use.next_at, key=use.key, action=action)


def _queue(job: Situation) -> list[Blocker]:
    found = []
    if job.queue_paused_at is not None:
        by = f" by {job.queue_paused_by}" if job.queue_paused_by else ""
        text = f"queue {job.queue} is paused{by} since {moment(job.queue_paused_at)}"
        found.append(Blocker(kind="queue_paused", text=text, action=f"roost queues resume {job.queue}"))
    if job.no_handler:
        text = f"no worker that takes queue {job.queue} has a handler for {job.kind}"
        found.append(Blocker(kind="no_handler", text=text, action=f"roost worker --queue {job.queue}"))
    elif not job.workers:
        text = f"no worker that takes queue {job.queue} was heard of lately"
        found.append(Blocker(kind="no_worker", text=text, action=f"roost worker --queue {job.queue}"))
    return found
