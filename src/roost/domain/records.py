"""What the engine stores and what the rules decide from: plain records, no behaviour.

Times are integer milliseconds since the epoch; JSON values are kept as the text they came in, never decoded on the way.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Literal

import msgspec

from roost.domain.retry import RetryRule
from roost.domain.states import State


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


SETTLE_FLAGS = Flag.CANCEL_REQUESTED | Flag.WATCHED | Flag.FLOW | Flag.LIMITED
"""The flags that make a success more than one guarded row."""


class HoldRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Hold a job before it starts until a person decides; ``expires`` is a duration counted from the enqueue."""

    title: str = "start"
    expires: str | None = None
    on_expiry: Literal["deny", "approve"] = "deny"


class JobOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The rules of a job that no index needs; stored once beside the input, as JSON."""

    retry: RetryRule | None = None
    timeout_ms: int | None = None
    tags: dict[str, str] | None = None
    owner: str | None = None
    unique_key: str | None = None
    hold: HoldRule | None = None
    schedule: str | None = None
    fire_at: int | None = None


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


class JobRow(msgspec.Struct):
    """A job about to be stored: what admission made of a request."""

    shape: Shape
    input: str
    options: str | None = None
    """`JobOptions` as JSON text; None when all are defaults."""
    unique: UniqueClaim | None = None
    hold: HoldRow | None = None


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
    options: JobOptions = JobOptions()


class QueueRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A queue's defaults and bounds, as stored with it; durations are texts such as ``"30s"``."""

    retry: RetryRule | None = None
    timeout: str | None = None
    hold: HoldRule | None = None
    retention: str | None = None
    """How long terminal jobs are kept; the server's default where None."""
    retention_failed: str | None = None
    """The same for failed jobs; ``retention`` where None."""
