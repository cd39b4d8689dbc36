"""The hot path as data: all of one moment that needs no answer from the rules beforehand, and what became of it."""

from __future__ import annotations

import msgspec

from roost.domain.records import JobRow
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.wire.problems import Problem


class Operation(msgspec.Struct, frozen=True, array_like=True):
    """An operation id and the SHA-256 of the request it stands for."""

    id: str
    fingerprint: str


class EnqueueWork(msgspec.Struct, array_like=True):
    """Admitted jobs of one call."""

    rows: list[JobRow]
    operation: Operation | None = None


class ClaimWork(msgspec.Struct, array_like=True):
    """One claim; ``token`` fences all it gets."""

    queues: list[str]
    limit: int
    token: str
    worker: str
    lease_ms: int
    operation: Operation | None = None
    shares: list[int] | None = None
    """How many jobs each queue gives if it has them; None: strict order."""


class SettleRow(msgspec.Struct, array_like=True):
    id: int
    token: str
    ending: Ending


class StartRow(msgspec.Struct, array_like=True):
    """A step that is about to run; ``started_at`` in milliseconds."""

    name: str
    kind: str
    input_hash: str
    started_at: int


class BeatRow(msgspec.Struct, array_like=True):
    id: int
    token: str
    lease_ms: int
    progress: str | None = None
    saved: str | None = None
    logs: list[tuple[int, str, str]] = []
    """(at, level, message)"""
    chunks: list[str] = []
    steps: list[StartRow] = []
    """Steps that start now."""
    operation: Operation | None = None
    """Told where the beat says something that must not be said twice."""


class StepRow(msgspec.Struct, array_like=True):
    id: int
    token: str
    name: str
    kind: str
    input_hash: str
    output: str
    usage: str | None
    started_at: int | None
    progress: str | None = None
    saved: str | None = None


class Batch(msgspec.Struct, array_like=True):
    """The work of one moment, as lists of calls; ``now`` is the moment."""

    now: int
    enqueues: list[EnqueueWork] = []
    settles: list[list[SettleRow]] = []
    beats: list[list[BeatRow]] = []
    steps: list[StepRow] = []
    claims: list[ClaimWork] = []


class EnqueuedRow(msgspec.Struct, array_like=True):
    id: int
    duplicate: bool = False
    problem: Problem | None = None


class ClaimAnswer(msgspec.Struct, array_like=True):
    """``jobs`` is the JSON array of `roost.wire.attempts.Lease`, ``count`` its length."""

    token: str
    lease_ms: int
    count: int
    jobs: str


class SettledRow(msgspec.Struct, array_like=True):
    id: int
    state: State | None
    problem: Problem | None = None


class BeatenRow(msgspec.Struct, array_like=True):
    id: int
    cancel: bool = False
    problem: Problem | None = None


class StepAnswer(msgspec.Struct, array_like=True):
    """``step`` is `roost.wire.attempts.Step` as JSON text."""

    step: str
    recorded: bool
    problem: Problem | None = None


class Effects(msgspec.Struct, array_like=True):
    """What a commit means for those who wait: told to the hub, and to the other nodes as a hint."""

    ready: dict[str, int] = {}
    """Queue to how many of its jobs became ready."""
    ended: list[int] = []
    """Jobs that became terminal and somebody may wait for."""
    due_at: int | None = None
    """The earliest time anything stored now wants attention (a run_at, an expiry, a deadline)."""
    schedules: bool = False
    """A schedule was changed, or a job it waits for ended."""
    fed: bool = False
    """The feed has a new row."""
    flow: bool = False
    """A job ended that others wait for; only this node carries it on, the others' timers are for when it dies."""
    chores: bool = False
    """A bulk operation or an index has something to do."""
    rules: bool = False
    """A queue's rules were edited: who has a copy reads them again."""


class Applied(msgspec.Struct, array_like=True):
    """Answers to a `Batch`, list for list; an enqueue or a claim may be refused as a whole (`operation_mismatch`)."""

    enqueued: list[list[EnqueuedRow] | Problem]
    settled: list[list[SettledRow]]
    beaten: list[list[BeatenRow]]
    steps: list[StepAnswer]
    claimed: list[ClaimAnswer | Problem]
    effects: Effects
