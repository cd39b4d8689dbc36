"""Jobs: what is enqueued, and what is told of a job."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from roost.domain.names import Name
from roost.domain.records import HoldRule
from roost.domain.retry import RetryRule
from roost.domain.states import State
from roost.wire.codec import Wire
from roost.wire.problems import Problem

Duration = Annotated[
    str, msgspec.Meta(description='such as "30s", "5m", "1h30m"', extra_json_schema={"examples": ["30s"]})
]
JobId = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Ref = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]
"""A name for a job among the jobs of one request."""
Priority = Annotated[int, msgspec.Meta(ge=0, le=9)] | Literal["low", "normal", "high"]
InputPath = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$")]
"""Keys of nested objects, joined by dots."""
Owner = Annotated[str, msgspec.Meta(max_length=200)]
Json = msgspec.Raw
NULL: Json = msgspec.Raw(b"null")
if TYPE_CHECKING:
    MaybeJson = Json | None
else:
    # msgspec reads "raw or null" as null alone; so it is raw, None where absent, and a null that was sent stays one
    MaybeJson = Json


class Unique(Wire, kw_only=True):
    """At most one job holds ``key`` (within its scope) until it ends, and ``within`` a period from the enqueue.

    A period holds for a job that has ended, and for one that was deleted.

    Instead of a key, ``fields`` names paths of the input (``"user.id"``) whose values make it. Where the key is held:
    ``return`` answers with the holder, ``reject`` refuses, ``replace`` cancels a holder that has not started and takes
    its place, ``reschedule`` gives such a holder this request's ``run_at``. Another input than the holder's (whitespace
    and the order of keys apart) is a conflict, but for ``replace``; so is a holder that runs, for ``replace`` and
    ``reschedule``. A key among a queue's jobs goes along where its job is moved into another queue.
    """

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | None = None
    fields: Annotated[list[InputPath], msgspec.Meta(min_length=1, max_length=16)] | None = None
    scope: Literal["kind", "queue", "global"] = "kind"
    within: Duration | None = None
    on_conflict: Literal["return", "reject", "replace", "reschedule"] = "return"


class Limit(Wire, kw_only=True):
    """The job counts against ``key``: at most ``concurrency`` run at once, and no more than ``rate`` start.

    ``rate`` is such as ``"100/m"`` (s, m, h, d); ``burst`` may start at once (default: what the rate allows in one
    of its periods). ``cost`` is how much of either the job takes. All limits of a job must have room before it starts.
    """

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    rate: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    cost: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1


class NewJob(Wire, kw_only=True):
    """A job to enqueue: ``kind`` and ``input`` say what, the rest when and how."""

    kind: Name
    input: Json = msgspec.field(default_factory=lambda: NULL)
    """Null where absent; a factory, because a schema cannot write a raw default."""
    queue: Name = "default"
    priority: Priority | None = None
    """9 goes first; low, normal and high are 2, 5 and 8. Where None: the queue's, or normal."""
    run_at: datetime | None = None
    delay: Duration | None = None
    """From now; instead of ``run_at``."""
    expires_at: datetime | None = None
    ttl: Duration | None = None
    """From ``run_at`` (or now): not started by then, it expires; instead of ``expires_at``. Moves with ``run_at``."""
    deadline: Duration | None = None
    """From now, or from when it is reopened: not ended by then, it is cancelled, running or not."""
    timeout: Duration | None = None
    """The longest one attempt may take."""
    retry: RetryRule | None = None
    unique: Unique | None = None
    hold: HoldRule | None = None
    tags: dict[str, str] | None = None
    owner: Owner | None = None
    metadata: MaybeJson = None
    """An object of up to 16 KiB that travels with the job, unread by Roost."""
    limits: Annotated[list[Limit], msgspec.Meta(max_length=8)] | None = None
    ref: Ref | None = None
    """What other jobs of the same request call it in ``after``."""
    after: Annotated[list[JobId | Ref], msgspec.Meta(max_length=1000)] | None = None
    """Jobs that must end first: ids, or refs of this request."""
    after_failure: Literal["cancel", "fail", "run"] = "cancel"
    """What becomes of it when one of those does not succeed."""
    batch: JobId | None = None
    """The open batch it joins."""
    parent: JobId | None = None
    """The job whose work it is part of."""


class EnqueueJobs(Wire, kw_only=True):
    """Many jobs, stored in one transaction: all or, where one is invalid, none."""

    jobs: Annotated[list[NewJob], msgspec.Meta(min_length=1, max_length=1000)]


class Enqueued(Wire, kw_only=True):
    """Where a job went; ``duplicate`` when it was there already; ``error`` when its unique key is another's."""

    id: JobId
    duplicate: bool = False
    error: Problem | None = None


class EnqueuedJobs(Wire, kw_only=True):
    """One answer for each job, in order."""

    jobs: list[Enqueued]


class JobRef(Wire, kw_only=True):
    """Which job."""

    id: JobId = 0


class JobSummary(Wire, kw_only=True):
    """A job in a list; times are RFC 3339 in UTC."""

    id: JobId
    kind: str
    queue: str
    state: State
    reason: str | None = None
    priority: int
    attempt: int
    failures: int
    created_at: str
    run_at: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    expires_at: str | None = None
    deadline_at: str | None = None
    worker: str | None = None
    cancel_requested: bool = False


class Progress(Wire, kw_only=True):
    """How far a job is."""

    current: float | None = None
    total: float | None = None
    message: Annotated[str, msgspec.Meta(max_length=1000)] = ""


class ErrorInfo(Wire, kw_only=True):
    """What an attempt failed with, in any language's terms."""

    type: Annotated[str, msgspec.Meta(max_length=200)]
    message: Annotated[str, msgspec.Meta(max_length=10_000)] = ""
    traceback: Annotated[str, msgspec.Meta(max_length=60_000)] = ""
    bases: Annotated[list[Annotated[str, msgspec.Meta(max_length=200)]], msgspec.Meta(max_length=32)] = []
    """The types it is derived from, nearest first; retry rules may name them."""


class Attempt(Wire, kw_only=True):
    """One try at a job by one worker."""

    number: int
    worker: str | None
    started_at: str | None
    ended_at: str | None = None
    outcome: str | None = None
    """None while it runs; else succeeded, failed, timed_out, lost, snoozed, sleeping, waiting, held, released or
    cancelled."""
    error: ErrorInfo | None = None


class Job(JobSummary, kw_only=True):
    """A job, whole."""

    input: Json
    result: MaybeJson = None
    summary: str | None = None
    chunks: int = 0
    """How many there are of the result; `jobs.chunks` tells them."""
    error: ErrorInfo | None = None
    """The last attempt's error."""
    progress: Progress | None = None
    saved: MaybeJson = None
    """The handler's state blob."""
    tags: dict[str, str] | None = None
    owner: str | None = None
    metadata: MaybeJson = None
    timeout: Duration | None = None
    retry: RetryRule | None = None
    unique_key: str | None = None
    limits: list[Limit] | None = None
    """Its own and those its queue gave it; their keys may have other numbers by now."""
    schedule: str | None = None
    batch: JobId | None = None
    """The batch it is a member of, or was called back by."""
    parent: JobId | None = None
    waiting_for: int | None = None
    """How many jobs must still end before it goes on; `jobs.dependencies` tells which."""
    waiting_signal: str | None = None
    """The signal it waits for."""
    attempts: list[Attempt] = []
    lease_until: str | None = None


class ListJobs(Wire, kw_only=True):
    """A page of jobs, newest first; ``cursor`` goes on where the last page ended."""

    state: list[State] | None = None
    queue: list[Name] | None = None
    kind: list[Name] | None = None
    schedule: Name | None = None
    batch: JobId | None = None
    parent: JobId | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: str | None = None


class JobPage(Wire, kw_only=True):
    """``cursor`` is None on the last page."""

    jobs: list[JobSummary]
    cursor: str | None = None


class JobEvent(Wire, kw_only=True):
    """One fact of a job's life, numbered from 1 in the order it happened."""

    number: int
    at: str
    type: str
    """created, ready, started, step, step_started, held, decided, attempt_ended, reopened, failed, …"""
    actor: str | None = None
    data: MaybeJson = None


class JobEvents(Wire, kw_only=True):
    events: list[JobEvent]


class ListLogs(Wire, kw_only=True):
    """A job's log lines after line number ``after``."""

    id: JobId = 0
    after: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500


class LogLine(Wire, kw_only=True):
    number: int
    at: str
    level: str
    message: str
    attempt: int


class LogPage(Wire, kw_only=True):
    """``ended`` when the job is terminal and no line follows."""

    lines: list[LogLine]
    ended: bool = False


class WaitJob(Wire, kw_only=True):
    """Wait until a job is terminal, or for ``wait`` (30 s at most)."""

    id: JobId = 0
    wait: Duration = "0s"


class CancelJob(Wire, kw_only=True):
    """Cancel a job; a running one is asked to stop."""

    id: JobId = 0
    note: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class ReopenJob(CancelJob, kw_only=True):
    """Run a terminal job again: a full allowance of attempts, its history kept, its holds evaluated again.

    With ``input`` it starts with another input, with ``queue`` in another queue, whose hold rule is asked too.
    """

    input: MaybeJson = None
    queue: Name | None = None


class MoveJob(CancelJob, kw_only=True):
    """Give a job that has not started another queue, priority or time; a held one stays held.

    A queue that holds its jobs before they start holds this one too.
    """

    queue: Name | None = None
    priority: Priority | None = None
    run_at: datetime | None = None
    delay: Duration | None = None
    """From now; instead of ``run_at``."""


class RunJob(CancelJob, kw_only=True):
    """Let a job that waits for a time (scheduled, retry, snoozed, sleeping) start now."""


class HoldJob(CancelJob, kw_only=True):
    """Hold a job that has not started until somebody approves; to release it is to approve that hold."""

    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "held by hand"


class CloneJob(Wire, kw_only=True):
    """A new job like an old one, in any state; what is given replaces what the old one has.

    Times to start, expiries, deadlines, batches, parents, dependencies and notes are not copied, and the unique key
    only with ``unique: "keep"``. The hold rule is: a clone is no way around an approval.
    """

    id: JobId = 0
    input: MaybeJson = None
    queue: Name | None = None
    priority: Priority | None = None
    run_at: datetime | None = None
    delay: Duration | None = None
    ttl: Duration | None = None
    deadline: Duration | None = None
    unique: Literal["drop", "keep"] = "drop"
    tags: dict[str, str] | None = None
    owner: Owner | None = None
    metadata: MaybeJson = None


class EditJob(Wire, kw_only=True):
    """Change what a job is found by, in any state; the change is recorded with who made it."""

    id: JobId = 0
    tags: dict[str, str] | None = None
    """Set; others stay."""
    untag: Annotated[list[Name], msgspec.Meta(max_length=32)] = []
    """Tags to take away."""
    owner: Owner | None = None
    """The empty text takes the owner away."""
    metadata: MaybeJson = None
    """An object; null takes it away."""
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class NoteJob(Wire, kw_only=True):
    """A line for the job's history."""

    id: JobId = 0
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class TakeJob(Wire, kw_only=True):
    """Start an attempt of a ready job by hand, as a person or an agent who tells its state through the API.

    Without ``lease`` it goes on until somebody says what became of it (or its time limit is over); with one, each
    update renews it.
    """

    id: JobId = 0
    worker: Name
    lease: Duration | None = None


class TakenJob(Wire, kw_only=True):
    """``attempt`` is what updates are fenced by."""

    job: JobSummary
    attempt: int
    token: str


class UpdateJob(Wire, kw_only=True):
    """What became of a tracked attempt; another number than the current attempt's is refused (`lease_lost`).

    ``failed`` ends the job, or with ``retry`` leaves it to its retry rule; ``ready`` hands it back.
    """

    id: JobId = 0
    attempt: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    state: Literal["running", "ready", "succeeded", "failed", "cancelled"] = "running"
    note: Annotated[str, msgspec.Meta(max_length=4000)] = ""
    progress: Progress | None = None
    saved: MaybeJson = None
    chunks: Annotated[list[Json], msgspec.Meta(max_length=1000)] = []
    summary: Annotated[str, msgspec.Meta(max_length=4000)] | None = None
    result: MaybeJson = None
    error: ErrorInfo | None = None
    retry: bool = False
    lease: Duration | None = None
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class ListChunks(Wire, kw_only=True):
    """A job's result chunks after chunk number ``after``."""

    id: JobId = 0
    after: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500


class Chunk(Wire, kw_only=True):
    """A piece of a result; ``attempt`` tells which try it came from."""

    number: int
    at: str
    attempt: int
    chunk: Json


class ChunkPage(Wire, kw_only=True):
    """``more`` when there are chunks behind these: a page holds a megabyte, and at least one chunk; ``ended`` when the
    job is terminal and no chunk follows."""

    chunks: list[Chunk]
    more: bool = False
    ended: bool = False


class Explanation(Wire, kw_only=True):
    """Why a job is where it is: facts in order, each with the event it rests on."""

    id: JobId
    state: State
    reason: str | None = None
    since: str
    facts: list[ExplainedFact]
    next: list[str]
    """What happens by itself, and when."""
    actions: list[str]
    """What an operator can do now."""


class ExplainedFact(Wire, kw_only=True):
    text: str
    event: str
    """Which event says so, such as ``event 3 (held)``."""


class Empty(Wire, kw_only=True):
    """Nothing to say."""
