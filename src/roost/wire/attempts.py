"""Attempts: what a worker and the server tell each other."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from roost.domain.admission import LATEST
from roost.domain.names import Name
from roost.domain.states import State
from roost.wire.codec import Wire
from roost.wire.jobs import Duration, ErrorInfo, JobId, Json, MaybeJson, Progress
from roost.wire.problems import Problem

Moment = Annotated[int, msgspec.Meta(ge=0, le=LATEST, description="milliseconds since the epoch")]
Token = Annotated[str, msgspec.Meta(min_length=1, max_length=64, description="the lease's random token")]
StepName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


Weight = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class ClaimJobs(Wire, kw_only=True):
    """Take up to ``limit`` jobs, from the queues in strict order; wait up to ``wait`` (60 s) while there are none.

    With ``weights`` each queue gives its share (a queue that is not named weighs 1), and what one does not have goes to
    the others.
    """

    worker: Name
    queues: Annotated[list[Name], msgspec.Meta(min_length=1, max_length=64)]
    weights: dict[Name, Weight] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    lease: Duration = "15s"
    wait: Duration = "0s"


class Lease(Wire, kw_only=True):
    """A job as its worker gets it; ``flags`` tell what to load before it starts (see `roost.domain.records.Flag`)."""

    id: JobId
    kind: str
    queue: str
    attempt: int
    failures: int = 0
    flags: int = 0
    timeout_ms: int | None = None
    deadline_ms: int | None = None
    """Milliseconds since the epoch by which the whole job must have ended."""
    input: Json


class Claimed(Wire, kw_only=True):
    """Leases with one token for all of this claim; ``lease_ms`` counts from before the claim was sent."""

    token: str
    lease_ms: int
    jobs: list[Lease]
    drain: bool = False
    """Somebody wants this worker to claim no more, to end its jobs, and then itself."""


class RawClaimed(Wire, kw_only=True):
    """`Claimed` as the server sends it: the database wrote the jobs' JSON."""

    token: str
    lease_ms: int
    jobs: Json
    drain: bool = False


class NewHold(Wire, kw_only=True):
    """A question to a person: ``subject`` is what they see and decide on."""

    reason: Literal["approval", "question"] = "approval"
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    subject: Json
    expires: Duration | None = None
    on_expiry: Literal["deny", "approve"] = "deny"


class NewWait(Wire, kw_only=True):
    """What a job waits for, occupying no worker: the end of all ``jobs``, or a signal's arrival.

    A signal sent since the job was created counts, each once for a job; its data becomes the recorded step ``step``.
    ``timeout`` makes the job go on without it.
    """

    jobs: Annotated[list[JobId], msgspec.Meta(min_length=1, max_length=1000)] | None = None
    signal: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None
    step: StepName | None = None
    timeout: Duration | None = None


class Outcome(Wire, kw_only=True):
    """How an attempt ended, fenced by its token.

    ``succeed`` with ``result`` (``exit``: the rest of its chain is not needed); ``fail`` with ``error`` (``fatal``: no
    retry; ``after``: this delay instead of the rule's); ``snooze`` and ``sleep`` for ``after``; ``cancel``; ``release``
    (interrupted, not failed); ``hold``; ``wait``.
    """

    id: JobId
    token: Token
    outcome: Literal["succeed", "fail", "snooze", "sleep", "cancel", "release", "hold", "wait"] = "succeed"
    result: MaybeJson = None
    error: ErrorInfo | None = None
    fatal: bool = False
    timed_out: bool = False
    died: bool = False
    """The handler's process died under it (signal, memory, crash)."""
    after: Duration | None = None
    hold: NewHold | None = None
    exit: bool = False
    wait: NewWait | None = None
    summary: Annotated[str, msgspec.Meta(max_length=4000)] | None = None
    """A sentence or two for people, beside the result."""
    chunks: Annotated[list[Json], msgspec.Meta(max_length=1000)] = []
    """Appended to the result's chunks, in order."""


class SettleJobs(Wire, kw_only=True):
    """Outcomes of many attempts, in one transaction; each is accepted or refused by itself."""

    outcomes: Annotated[list[Outcome], msgspec.Meta(min_length=1, max_length=1000)]


class Settled(Wire, kw_only=True):
    """The state the job is in now, or why the outcome was refused."""

    id: JobId
    state: State | None = None
    error: Problem | None = None


class SettledJobs(Wire, kw_only=True):
    results: list[Settled]


class NewLogLine(Wire, kw_only=True):
    message: Annotated[str, msgspec.Meta(max_length=4096)]
    level: Literal["debug", "info", "warning", "error"] = "info"
    at: Moment | None = None
    """Now where None."""


class StartStep(Wire, kw_only=True):
    """A step that starts now: until it is recorded, everybody sees that it was started."""

    name: StepName
    kind: Literal["llm", "tool"]
    input_hash: Annotated[str, msgspec.Meta(max_length=64)]
    started_at: Moment | None = None
    """Now where None."""


class Beat(Wire, kw_only=True):
    """One lease renewed, with what the handler has to tell."""

    id: JobId
    token: Token
    progress: Progress | None = None
    saved: MaybeJson = None
    logs: Annotated[list[NewLogLine], msgspec.Meta(max_length=1000)] = []
    chunks: Annotated[list[Json], msgspec.Meta(max_length=1000)] = []
    """Appended to the result's chunks, in order; sent again under the same operation id, not twice."""
    steps: Annotated[list[StartStep], msgspec.Meta(max_length=1000)] = []
    """Steps that start now; a call that costs waits for the answer, so that no started one is ever unseen."""


class Heartbeat(Wire, kw_only=True):
    """All the leases of a worker in one call."""

    worker: Name
    lease: Duration = "15s"
    beats: Annotated[list[Beat], msgspec.Meta(max_length=1000)]


class Beaten(Wire, kw_only=True):
    """``cancel``: stop the handler; ``error`` (lease_lost): somebody else has the job."""

    id: JobId
    cancel: bool = False
    error: Problem | None = None


class HeartbeatReply(Wire, kw_only=True):
    beats: list[Beaten]
    drain: bool = False
    """As `Claimed.drain`."""


class RecordStep(Wire, kw_only=True):
    """A piece of work that is done; progress and state blob travel in the same fenced write."""

    id: JobId = 0
    token: Token
    name: StepName
    kind: Literal["code", "llm", "tool", "sleep", "wait"] = "code"
    input_hash: Annotated[str, msgspec.Meta(max_length=64)]
    output: Json
    usage: MaybeJson = None
    started_at: Moment | None = None
    progress: Progress | None = None
    saved: MaybeJson = None


class Step(Wire, kw_only=True):
    """A recorded step; ``output`` is byte for byte what was recorded."""

    number: int
    name: str
    kind: str
    input_hash: str
    output: Json
    usage: MaybeJson = None
    attempt: int
    started_at: str | None = None
    finished_at: str


class RecordedStep(Wire, kw_only=True):
    """The step as it stands; ``recorded`` is False when it was there already."""

    step: Step
    recorded: bool


class UnrecordedStep(Wire, kw_only=True):
    """A step that an attempt started and did not record.

    ``ended`` is how that attempt ended (lost, failed, released, …): whether the step did its work, and what that cost,
    only those it reached know. None while the attempt runs: the step may be in flight.
    """

    name: str
    kind: str
    input_hash: str
    attempt: int
    started_at: str
    ended: str | None = None


class Steps(Wire, kw_only=True):
    """``live`` counts, for ``llm`` and ``tool``, how many steps were run: those recorded and those not recorded."""

    steps: list[Step]
    unrecorded: list[UnrecordedStep] = []
    live: dict[str, int] = {}


class Register(Wire, kw_only=True):
    """A worker says who it is; repeated at each start."""

    id: Name = ""
    host: Annotated[str, msgspec.Meta(max_length=200)] = ""
    pid: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 0
    queues: list[Name] = []
    kinds: list[Name] = []
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1
    version: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Worker(Wire, kw_only=True):
    """A worker that was heard of lately."""

    id: str
    host: str
    pid: int
    queues: list[str]
    kinds: list[str]
    concurrency: int
    version: str
    running: int
    started_at: str
    seen_at: str
    draining: bool = False
    """It was asked to end its jobs, and then itself."""


class WorkerRef(Wire, kw_only=True):
    id: Name = ""
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Workers(Wire, kw_only=True):
    workers: list[Worker]
