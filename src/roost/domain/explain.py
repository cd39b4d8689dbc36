"""Why a job is where it is: facts from its rows and events, each citing its event; no model, no network, no guess.

`compose` numbers the events of a job's life; `explain` says what they mean now. Both take plain records.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from roost.domain.duration import format_duration
from roost.domain.states import TERMINAL, State


class PastEvent(msgspec.Struct, kw_only=True):
    """Something that happened to a job, at a moment in milliseconds since the epoch."""

    at: int
    type: str
    """created, started, step, step_started, held, decided, attempt_ended, a stored event's type, a terminal state."""
    actor: str | None = None
    data: dict[str, object] = {}
    number: int = 0
    """From 1, in the order they happened; `compose` counts."""


class Situation(msgspec.Struct, kw_only=True):
    """A job as `explain` sees it."""

    id: int
    kind: str
    queue: str
    state: State
    reason: str | None
    attempt: int
    failures: int
    retries: int
    """How many failures are allowed."""
    created_at: int
    run_at: int | None
    started_at: int | None
    finished_at: int | None
    expires_at: int | None
    deadline_at: int | None
    lease_until: int | None
    worker: str | None
    cancel_requested: bool
    schedule: str | None
    error: str | None
    """The last attempt's error, in one line."""
    open_hold: OpenHold | None
    queue_paused_at: int | None
    queue_paused_by: str | None
    ready_before: int
    workers: int
    no_handler: bool = False
    """Every worker that takes the queue has said what it runs, and this kind is not among it."""


class OpenHold(msgspec.Struct, kw_only=True):
    """The question a job waits for."""

    id: int
    title: str
    reason: str
    deadline: int | None
    on_expiry: str


class Fact(msgspec.Struct, kw_only=True):
    """A sentence and the event it rests on."""

    text: str
    event: str


class Account(msgspec.Struct, kw_only=True):
    """What `explain` says."""

    since: int
    facts: list[Fact]
    next: list[str]
    actions: list[str]


_ORDER = {"created": 0, "held": 1, "started": 2, "step": 3, "step_started": 3, "attempt_ended": 4, "decided": 5}
"""Of one millisecond; what is not named here comes after, and the terminal state last."""


def compose(events: list[PastEvent]) -> list[PastEvent]:
    """The events in the order they happened, numbered from 1.

    Attempts stand in their own order: transactions that run side by side may carry times a little out of turn, and one
    millisecond may see an attempt end and the next one start.
    """
    when: dict[int, int] = {}
    latest = min((event.at for event in events if event.type == "created"), default=0)
    own = sorted((event for event in events if "attempt" in event.data), key=_of_attempts)
    for event in own:
        when[id(event)] = latest = max(latest, event.at)

    def place(event: PastEvent) -> tuple[int, int, int]:
        if event.type == "created":
            return 0, 0, 0
        if event.type in _STATES:
            return max(latest, event.at), len(events), 0
        if id(event) in when:
            return when[id(event)], *_of_attempts(event)[:2]
        begun = [_of_attempts(each)[0] for each in own if _begun(each, when[id(each)], event.at)]
        return event.at, max(begun, default=0), _ORDER.get(event.type, 6)

    ordered = sorted(events, key=place)
    for number, event in enumerate(ordered, 1):
        event.number = number
    return ordered


def _of_attempts(event: PastEvent) -> tuple[int, int, int]:
    return int(str(event.data["attempt"])), _ORDER.get(event.type, 6), event.at


def _begun(event: PastEvent, when: int, at: int) -> bool:
    return when < at if event.type == "started" else event.type == "attempt_ended" and when <= at


_STATES = frozenset(TERMINAL)


def explain(job: Situation, events: list[PastEvent], now: int, blocked: Sequence[str] = ()) -> Account:
    """Where ``job`` is, since when, why, what follows by itself and what a person can do.

    ``blocked``: what keeps it, in the words of `roost.domain.why`, where that is other jobs, signals or limits.
    """
    account = Account(since=_since(job, events), facts=[], next=[], actions=[])
    teller = _Teller(job, events, now, account)
    if job.state in TERMINAL:
        teller.ended()
    elif job.state is State.RUNNING:
        teller.running()
    elif job.state is State.HELD:
        teller.held()
    elif job.state is State.WAITING:
        teller.waiting(blocked)
    else:
        teller.ready(blocked)
    teller.decision()
    teller.history()
    teller.unrecorded()
    teller.limits()
    return account


class _Teller:
    """Says what one state means; adds to the account."""

    def __init__(self, job: Situation, events: list[PastEvent], now: int, account: Account) -> None:
        self._job = job
        self._events = events
        self._now = now
        self._account = account

    def ended(self) -> None:
        job = self._job
        when = moment(job.finished_at or self._now)
        why = f" ({words_of(job.reason)})" if job.reason else ""
        self._say(f"The job {_ENDED[job.state]} at {when}{why}.", job.state.value, *_CAUSES)
        if job.error and job.state is not State.SUCCEEDED:
            self._say(f"Its last attempt ended with {job.error}.", "attempt_ended", "decided")
        self._account.next.append("Nothing: the job has ended.")
        self._account.actions.append(f"roost jobs retry {job.id}: run it again with a full allowance of attempts")
        self._account.actions.append(f"roost jobs logs {job.id}: read what its handler wrote")

    def running(self) -> None:
        job = self._job
        self._say(
            f"Attempt {job.attempt} runs on worker {job.worker} since {moment(job.started_at or self._now)}.",
            "started",
        )
        if job.cancel_requested:
            self._say("It was asked to stop.", "cancel_requested", "deadline_passed", "overlap_replaced", "started")
            self._account.next.append("When the attempt ends, or its lease runs out, the job becomes cancelled.")
        if job.lease_until is not None:
            self._account.next.append(
                f"If worker {job.worker} is not heard of until {self._when(job.lease_until)}, the attempt ends as lost."
            )
        if not job.cancel_requested:
            self._account.actions.append(f"roost jobs cancel {job.id}: ask it to stop")
        self._account.actions.append(f"roost jobs logs {job.id} --follow: see what it does")

    def held(self) -> None:
        job, hold = self._job, self._job.open_hold
        if hold is None:
            self._say(f"The job is held ({words_of(job.reason)}).", "held", "created")
            return
        self._say(f'A person must decide "{hold.title}" ({words_of(hold.reason)}).', "held", "created")
        if hold.deadline is None:
            self._account.next.append("Nothing, until somebody decides: the question has no deadline.")
        else:
            outcome = "approved" if hold.on_expiry == "approve" else "denied"
            self._account.next.append(f"At {self._when(hold.deadline)} the question counts as {outcome}.")
        if hold.reason == "question":
            self._account.actions.append(f"roost approvals answer {hold.id} VALUE: answer it")
        else:
            self._account.actions.append(f"roost approvals approve {hold.id}: let the job go on")
        self._account.actions.append(f"roost approvals deny {hold.id}: fail the job")
        self._account.actions.append(f"roost jobs cancel {job.id}: cancel the job")

    def waiting(self, blocked: Sequence[str]) -> None:
        job = self._job
        if job.reason in _BLOCKED:
            for text in blocked:
                self._say(f"It waits: {text}.", "attempt_ended", "reopened", "created")
            self._account.next.append(_BLOCKED[job.reason])
            if job.run_at is not None and job.reason in ("event", "dependency"):
                self._account.next.append(f"At {self._when(job.run_at)} it goes on without it.")
            self._paused()
            self._takers()
            self._account.actions.append(f"roost jobs cancel {job.id}: do not start it")
            return
        until = self._when(job.run_at) if job.run_at is not None else "its time"
        if job.reason == "retry":
            count = f"failure {job.failures} of {job.retries + 1}"
            self._say(f"Attempt {job.attempt} failed, {count}; it is tried again at {until}.", "attempt_ended")
        elif job.reason in ("snoozed", "sleeping"):
            verb = "asked to be called again" if job.reason == "snoozed" else "sleeps"
            self._say(f"Its handler {verb}: it goes on at {until}.", "attempt_ended")
        else:
            by = f" by schedule {job.schedule}" if job.schedule else ""
            self._say(f"It was enqueued{by} to start at {until}.", "created", "reopened")
        self._account.next.append(f"At {until} it becomes ready.")
        self._paused()
        self._takers()
        self._account.actions.append(f"roost jobs cancel {job.id}: do not start it")

    def ready(self, blocked: Sequence[str]) -> None:
        job = self._job
        self._say(f"It is ready to start in queue {job.queue}.", "decided", "reopened", "attempt_ended", "created")
        for text in blocked:
            self._say(f"It waits: {text}.", "decided", "reopened", "attempt_ended", "created")
        paused = self._paused()
        takers = self._takers()
        if job.ready_before:
            count = "10,000 jobs or more" if job.ready_before >= 10_000 else count_of(job.ready_before, "job")
            self._say(f"{count} of the queue go first.", "created")
        if not paused and takers:
            room = "When there is room, the" if blocked else "The"
            self._account.next.append(f"{room} next free worker of the queue takes it, after those that go first.")
        self._account.actions.append(f"roost jobs cancel {job.id}: do not start it")

    def decision(self) -> None:
        """What a person, or a deadline, decided last."""
        last = next((event for event in reversed(self._events) if event.type == "decided"), None)
        if last is None:
            return
        by = f" by {last.actor}" if last.actor else ""
        note = f": {last.data['note']}" if last.data.get("note") else ""
        self._say(f"Hold {last.data['hold']} was {last.data['decision']}{by} at {moment(last.at)}{note}.", "decided")

    def history(self) -> None:
        """Failures so far, where the state did not tell them."""
        job = self._job
        if job.failures and job.reason != "retry" and job.state not in TERMINAL:
            self._say(
                f"It failed {count_of(job.failures, 'time')} before; {job.retries} retries are allowed.",
                "attempt_ended",
            )
        if job.error and job.state not in TERMINAL:
            self._say(f"The last attempt that failed ended with {job.error}.", "attempt_ended")

    def unrecorded(self) -> None:
        """Steps that were started and not recorded: what they did and cost outside is not known here."""
        started = [event for event in self._events if event.type == "step_started"]
        ends = {event.data["attempt"]: event.data["outcome"] for event in self._events if event.type == "attempt_ended"}
        for event in started[-UNRECORDED_TOLD:]:
            attempt = event.data["attempt"]
            step = f"Step {event.data['name']} ({event.data['kind']}) was started"
            cite = f"event {event.number} ({event.type})"
            if attempt in ends:
                text = (
                    f"{step} in attempt {attempt}, which ended ({words_of(str(ends[attempt]))}) before it was recorded."
                )
            elif self._job.state is State.RUNNING:
                text = f"{step} at {moment(event.at)} and is not recorded yet."
            else:
                text = f"{step} in attempt {attempt} and never recorded."
            self._account.facts.append(Fact(text=text, event=cite))
        if len(started) > UNRECORDED_TOLD:
            more = count_of(len(started) - UNRECORDED_TOLD, "more step")
            text = f"{more} {'was' if more.startswith('1 ') else 'were'} started and not recorded."
            self._account.facts.append(Fact(text=text, event=f"event {started[0].number} ({started[0].type})"))
            self._account.actions.append(f"roost jobs steps {self._job.id}: see all of them")

    def limits(self) -> None:
        """What ends it by the clock."""
        job = self._job
        if job.state in TERMINAL:
            return
        if job.expires_at is not None and job.state is not State.RUNNING:
            self._account.next.append(f"Not started by {self._when(job.expires_at)}, it expires.")
        if job.deadline_at is not None:
            self._account.next.append(f"Not ended by {self._when(job.deadline_at)}, it is cancelled.")

    def _paused(self) -> bool:
        job = self._job
        if job.queue_paused_at is None:
            return False
        by = f" by {job.queue_paused_by}" if job.queue_paused_by else ""
        text = f"Queue {job.queue} is paused{by} since {moment(job.queue_paused_at)}: none of its jobs start."
        self._account.facts.append(Fact(text=text, event=f"queue {job.queue} (paused)"))
        self._account.actions.append(f"roost queues resume {job.queue}: start the queue's jobs again")
        return True

    def _takers(self) -> bool:
        job = self._job
        if job.no_handler:
            text = f"No worker that takes queue {job.queue} has a handler for {job.kind}."
            event = "workers (no handler)"
        elif job.workers:
            return True
        else:
            text = f"No worker that takes queue {job.queue} was heard of lately."
            event = "workers (none registered)"
        self._account.facts.append(Fact(text=text, event=event))
        self._account.actions.append(f"roost worker --queue {job.queue}: start a worker for the queue")
        return False

    def _say(self, text: str, *types: str) -> None:
        self._account.facts.append(Fact(text=text, event=_cite(self._events, types)))

    def _when(self, at: int) -> str:
        left = at - self._now
        if left <= 0:
            return f"{moment(at)} (due now)"
        return f"{moment(at)} (in {format_duration(left if left < 1000 else left // 1000 * 1000)})"


UNRECORDED_TOLD = 5
"""Steps that were started and not recorded, as many as are told one by one."""
_ENDED = {
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "was cancelled",
    State.EXPIRED: "expired",
}
_BLOCKED = {
    "dependency": "When the last of those jobs has ended, it becomes ready, or ends with them as its policy says.",
    "event": "When the signal comes, it becomes ready.",
    "throttled": "When there is room, it becomes ready, in its turn.",
}
"""Reasons to wait that are others' doing, and what happens then by itself."""
_CAUSES = ("attempt_ended", "decided", "cancelled", "created")


def _since(job: Situation, events: list[PastEvent]) -> int:
    if job.finished_at is not None:
        return job.finished_at
    if job.state is State.RUNNING and job.started_at is not None:
        return job.started_at
    wanted = {
        State.HELD: ("held",),
        State.WAITING: ("attempt_ended", "reopened", "created"),
        State.READY: ("decided", "reopened", "attempt_ended", "created"),
    }[job.state]
    since = max((event.at for event in events if event.type in wanted), default=job.created_at)
    if job.state is State.READY and job.run_at is not None:
        since = max(since, job.run_at)
    return since


def _cite(events: list[PastEvent], types: tuple[str, ...]) -> str:
    """The latest event of the first type that there is."""
    for type in types:
        for event in reversed(events):
            if event.type == type:
                return f"event {event.number} ({event.type})"
    return f"event {events[0].number} ({events[0].type})"


def moment(at: int) -> str:
    """A time for people, in UTC."""
    return f"{datetime.fromtimestamp(at // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def words_of(reason: str | None) -> str:
    """A reason for people."""
    return (reason or "no reason given").replace("_", " ")


def count_of(number: int, what: str) -> str:
    """How many of what: ``1 job``, ``2 jobs``."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
