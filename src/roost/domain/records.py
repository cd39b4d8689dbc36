"""What the engine stores and what the rules decide from: plain records, no behaviour.

Times are integer milliseconds since the epoch; JSON values are kept as the text they came in, never decoded on the way.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Annotated, Literal

import msgspec

from roost.domain.priority import Named
from roost.domain.retry import RetryRule
from roost.domain.states import State

STARTED_KINDS = ("llm", "tool")
"""Kinds of steps that are marked before they run: what they do costs, or is seen outside, even if nobody records it."""


class Flag(IntFlag):
    """Features a job uses; a job without flags takes the fast path everywhere."""

    CANCEL_REQUESTED = 1
    """Somebody asked to cancel it while it runs."""
    STEPS = 2
    """It has recorded steps: a worker loads them before it starts."""
    SAVED = 4
    """It has a saved state blob."""
    HOLDS = 8
    """It was held at least once: a worker loads the decisions."""
    WATCHED = 16
    """A schedule waits for its end."""
    FLOW = 32
    """Other jobs wait for its end: dependents, a batch, a parent."""
    LIMITED = 64
    """It counts against limits while it runs."""
    FAIR = 128
    """Its place among the keys of its queue is given when it becomes ready."""


SETTLE_FLAGS = Flag.CANCEL_REQUESTED | Flag.WATCHED | Flag.FLOW | Flag.LIMITED
"""The flags that make a success more than one guarded row."""


class LimitRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A limit on the jobs of one key; in a queue's rules the key may have places for a job's values.

    At most ``concurrency`` of them run at once, no more than ``rate`` (``"100/m"``) start, ``burst`` of them at once.
    ``cost`` is how much of either one job takes. See `roost.domain.limits`.
    """

    key: str
    concurrency: int | None = None
    rate: str | None = None
    burst: int | None = None
    cost: int = 1


class FairRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Jobs of one priority take turns by ``key``, such as ``"{tags.tenant}"``; a key starts as many as it weighs."""

    key: str
    weights: dict[str, int] | None = None
    """1 where a key is not named."""


class HoldRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Hold a job before it starts until a person decides; ``expires`` is a duration counted from the enqueue."""

    title: str = "start"
    expires: str | None = None
    on_expiry: Literal["deny", "approve"] = "deny"


class JobOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rules of a job that no index needs; stored once beside the input, as JSON."""

    retry: RetryRule | None = None
    timeout_ms: int | None = None
    ttl_ms: int | None = None
    """How long after its time it may start; another time to start brings another expiry."""
    deadline_ms: int | None = None
    """How long it may take from its enqueue, or from when it is reopened."""
    tags: dict[str, str] | None = None
    owner: str | None = None
    unique_key: str | None = None
    hold: HoldRule | None = None
    schedule: str | None = None
    fire_at: int | None = None
    limits: list[LimitRule] | None = None
    batch: int | None = None
    """The batch it is a member of, or was called back by."""
    parent: int | None = None


class UniqueClaim(msgspec.Struct, frozen=True, array_like=True):
    """A wish for a unique key: the key, the SHA-256 of (kind, input), and until when it outlives its job's end."""

    key: str
    input_hash: str
    until: int | None
    on_conflict: OnConflict = "return"


OnConflict = Literal["return", "reject", "replace", "reschedule"]
"""What becomes of a wish for a key that a live job holds."""


class HoldRow(msgspec.Struct, kw_only=True):
    """A hold about to be stored."""

    reason: Literal["approval", "question", "manual", "quarantine"]
    title: str
    subject: str
    """The JSON text that is shown and decided on."""
    subject_hash: str
    """SHA-256 of ``subject``, in hex."""
    deadline: int | None
    on_expiry: Literal["deny", "approve"]


class Shape(msgspec.Struct, frozen=True, array_like=True):
    """What jobs of one sort share; jobs enqueued together mostly differ in their input alone."""

    queue: str
    kind: str
    state: State = State.READY
    reason: str | None = None
    priority: int = 5
    flags: int = 0
    run_at: int | None = None
    expires_at: int | None = None
    deadline_at: int | None = None
    rank: int | None = None
    """Its place among the queue's ready jobs (`roost.domain.order`); None: by its priority alone."""


AfterFailure = Literal["cancel", "fail", "run"]
"""What becomes of a job when one of those it waits for does not succeed."""


class FlowWish(msgspec.Struct, frozen=True, array_like=True):
    """What a job about to be stored has to do with others."""

    after: list[int] = []
    """Stored jobs that must end first."""
    places: list[int] = []
    """The same for jobs of its own set, by their places in it."""
    after_failure: AfterFailure = "cancel"
    batch: int | None = None
    parent: int | None = None
    run_at: int | None = None
    """When it may start, once nothing else keeps it."""


class WaitRow(msgspec.Struct, frozen=True, kw_only=True):
    """What a running job wants to wait for: the end of ``jobs``, or a signal that becomes its step ``step``."""

    jobs: list[int] = []
    signal: str | None = None
    step: str = ""


class JobRow(msgspec.Struct):
    """A job about to be stored: what admission made of a request."""

    shape: Shape
    input: str
    options: str | None = None
    """`JobOptions` as JSON text; None when all are defaults."""
    unique: UniqueClaim | None = None
    hold: HoldRow | None = None
    extras: JobExtras | None = None
    flow: FlowWish | None = None
    limits: list[LimitRule] | None = None
    order: str | None = None
    """In a queue with an order of its own: the job's key among the queue's (empty where it has none)."""


class JobEdit(msgspec.Struct, frozen=True, kw_only=True):
    """What to change of a stored job; None leaves as it is."""

    tags: dict[str, str] | None = None
    """Set; others stay."""
    untag: list[str] = []
    """Tags to take away."""
    owner: str | None = None
    """The empty text takes the owner away."""
    metadata: str | None = None
    """JSON text of an object; ``null`` takes it away."""


class JobExtras(msgspec.Struct, array_like=True):
    """What a job about to be stored has in tables of its own."""

    tags: dict[str, str] | None = None
    metadata: str | None = None
    """JSON text of an object."""


class JobFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the settle rules know of a stored job."""

    id: int
    queue: str
    kind: str
    state: State
    reason: str | None
    attempt: int
    failures: int
    deaths: int
    flags: int
    created_at: int
    deadline_at: int | None
    started_at: int | None
    token: str | None
    worker: str | None
    priority: int = 5
    run_at: int | None = None
    expires_at: int | None = None
    options: JobOptions = JobOptions()


class StateRetention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How long jobs are kept that ended in a state; durations such as ``"1d"``."""

    succeeded: str | None = None
    failed: str | None = None
    cancelled: str | None = None
    expired: str | None = None


class QueueRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A queue's defaults and bounds, as stored with it; durations are texts such as ``"30s"``."""

    retry: RetryRule | None = None
    timeout: str | None = None
    hold: HoldRule | None = None
    retention: str | None = None
    """How long terminal jobs are kept; the server's default where None."""
    retention_failed: str | None = None
    """The same for failed jobs; ``retention`` where None."""
    retention_states: StateRetention | None = None
    """The same state by state; it goes before the other two."""
    result_ttl: str | None = None
    """How long results and their chunks are kept, where that is shorter than their jobs are."""
    deadline: str | None = None
    """From its enqueue: not ended by then, a job is cancelled, running or not."""
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] | Named | None = None
    payload_limit: Annotated[int, msgspec.Meta(ge=1, le=8 * 1024 * 1024)] | None = None
    """Bytes an input may have; never more than the server's ``payload_limit``."""
    ageing: str | None = None
    """How long a job waits for what one more priority would have given it; it never ages where None."""
    fairness: FairRule | None = None
    concurrency: int | None = None
    """How many of the queue's jobs run at once."""
    rate: str | None = None
    """How many of the queue's jobs start, such as ``"100/m"``."""
    burst: int | None = None
    """How many of them may start at once; what the rate allows in one of its periods where None."""
    limits: list[LimitRule] | None = None
    """Limits on jobs of one key, for jobs enqueued from now on."""
