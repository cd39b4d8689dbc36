"""Control operations as data: one action, one transaction, one answer."""

from __future__ import annotations

import msgspec

from roost.domain.flow import CallbackEvent
from roost.domain.holds import Decision
from roost.domain.limits import Numbers
from roost.domain.placing import Place
from roost.domain.records import HoldRule, JobEdit, JobRow, QueueRules
from roost.domain.schedule import Expected, ScheduleRule
from roost.domain.settle import Ending
from roost.engine.batch import Effects, Operation
from roost.engine.hooks import HookActions
from roost.engine.searching.protocol import SearchActions
from roost.engine.workers import WorkerAction
from roost.wire.problems import Problem


class CancelJobs(msgspec.Struct, tag=True):
    id: int
    actor: str = ""
    note: str = ""


class ReopenJobs(msgspec.Struct, tag=True):
    id: int
    actor: str = ""
    note: str = ""
    input: str | None = None
    queue: str | None = None
    hold: HoldRule | None = None
    """What holds jobs of the new queue before they start."""


class DeleteJobs(msgspec.Struct, tag=True):
    id: int
    actor: str = ""


class MoveJobs(msgspec.Struct, tag=True):
    id: int
    place: Place
    actor: str = ""
    note: str = ""


class RunJobs(msgspec.Struct, tag=True):
    """Wait for no time any more."""

    id: int
    actor: str = ""
    note: str = ""


class HoldJobs(msgspec.Struct, tag=True):
    id: int
    title: str
    actor: str = ""
    note: str = ""


class EditJobs(msgspec.Struct, tag=True):
    id: int
    edit: JobEdit
    actor: str = ""


class NoteJobs(msgspec.Struct, tag=True):
    id: int
    text: str
    actor: str = ""


class TakeJob(msgspec.Struct, tag=True, kw_only=True):
    """Start a tracked attempt of a ready job; ``lease_ms`` None: it ends when somebody says so."""

    id: int
    worker: str
    token: str
    lease_ms: int | None


class UpdateJob(msgspec.Struct, tag=True, kw_only=True):
    """What became of a tracked attempt; ``ending`` None: it goes on, and its lease anew."""

    id: int
    attempt: int
    ending: Ending | None = None
    lease_ms: int | None = None
    progress: str | None = None
    saved: str | None = None
    chunks: list[str] = []
    note: str = ""
    actor: str = ""


class ClearQueue(msgspec.Struct, tag=True, kw_only=True):
    """Delete up to ``limit`` jobs of a queue that are in ``state``, which is not running."""

    name: str
    state: str
    limit: int = 1000
    actor: str = ""


class CancelRunning(msgspec.Struct, tag=True, kw_only=True):
    """Ask what runs in a queue to stop."""

    name: str
    actor: str = ""
    note: str = ""
    limit: int = 5000


class ForgetQueue(msgspec.Struct, tag=True, kw_only=True):
    """Forget a queue that has no jobs."""

    name: str
    actor: str = ""


class CountEnded(msgspec.Struct, tag=True, kw_only=True):
    """Count the jobs of ``queue`` that came to the terminal ``state`` until a moment."""

    queue: str
    state: str
    until: int


class PruneResults(msgspec.Struct, tag=True, kw_only=True):
    """Forget the results of jobs of ``queue`` in ``state`` that ended from ``after`` on and before ``before``."""

    queue: str
    state: str
    after: int
    before: int
    limit: int = 1000


class PutKind(msgspec.Struct, tag=True):
    name: str
    schema: str
    """JSON text."""
    actor: str = ""


class DeleteKind(msgspec.Struct, tag=True):
    name: str
    actor: str = ""


class SetQueuePaused(msgspec.Struct, tag=True):
    name: str
    paused: bool
    actor: str = ""


class SetQueueRules(msgspec.Struct, tag=True):
    name: str
    rules: QueueRules
    actor: str = ""


class RankJobs(msgspec.Struct, tag=True):
    """Rank the next jobs of a queue whose order was changed, those behind ``seen``; fewer than a set: the last ones."""

    queue: str
    seen: int
    ids: list[int]


class SetLimit(msgspec.Struct, tag=True):
    key: str
    numbers: Numbers
    actor: str = ""


class PutSchedule(msgspec.Struct, tag=True, kw_only=True):
    name: str
    rule: ScheduleRule
    job: str
    """`roost.wire.jobs.NewJob` as JSON text: the template."""
    paused: bool | None
    remove_after_last: bool
    next_fire: int | None
    """Counts where the rule is another one than before."""
    forget_queue: bool = False
    """What it waited for belonged to the rule it had."""
    actor: str = ""


class SetSchedulePaused(msgspec.Struct, tag=True):
    name: str
    paused: bool
    actor: str = ""
    error: str = ""
    """Why it is paused without anybody's wish."""


class DeleteSchedule(msgspec.Struct, tag=True):
    name: str
    actor: str = ""


class Fire(msgspec.Struct, array_like=True):
    """One instant of a schedule: the job to create, or why none is."""

    fire_at: int
    outcome: str
    """fired, run_now, skipped, missed, replaced"""
    row: JobRow | None
    cancel_job: int | None = None
    """The previous job that ``replace`` ends."""
    alarms: list[tuple[Expected, int]] = []
    """What its job must have done (start, success), and by when."""


class FireSchedule(msgspec.Struct, tag=True, kw_only=True):
    """Fires of one schedule and its next fire; does nothing where another node was first.

    ``expected`` is the next fire the plan was made from (None for a run now, which shifts nothing). A queued fire that
    starts because its predecessor ended is ``from_queue``: it leaves ``next_fire`` as the plan saw it.
    """

    name: str
    expected: int | None
    fires: list[Fire]
    next_fire: int | None
    was_queued: bool = False
    """Whether a fire was waiting when the plan was made."""
    from_queue: bool = False
    queued: bool = False
    """A fire waits for the previous job's end."""
    watch_job: int | None = None
    """The job whose end this schedule waits for."""
    remove: bool = False


class FireSchedules(msgspec.Struct, tag=True):
    """Fires of many schedules, in one transaction; each is made or left by itself."""

    fires: list[FireSchedule]


class Backfill(msgspec.Struct, tag=True, kw_only=True):
    """Jobs for instants of the past: those of ``fires`` that have none yet."""

    name: str
    fires: list[Fire]
    actor: str = ""


class DecideHold(msgspec.Struct, tag=True, kw_only=True):
    id: int
    decision: Decision
    subject_hash: str
    actor: str
    note: str
    answer: str | None = None


class ExtendHold(msgspec.Struct, tag=True, kw_only=True):
    id: int
    by_ms: int
    actor: str


class AdvanceFlow(msgspec.Struct, tag=True):
    """Carry on ends: dependents go on or end, children are cancelled, batches count; signals reach who waits."""

    limit: int = 1000


class CreateBatch(msgspec.Struct, tag=True, kw_only=True):
    """A batch with its first jobs and its callbacks."""

    name: str
    chain: bool
    rows: list[JobRow]
    callbacks: list[tuple[CallbackEvent, JobRow]]
    seal: bool


class SealBatch(msgspec.Struct, tag=True):
    id: int


class CancelBatch(msgspec.Struct, tag=True):
    """Seal a batch and cancel up to ``limit`` of its members behind position ``after``."""

    id: int
    after: int = -1
    limit: int = 1000
    actor: str = ""
    note: str = ""


class SendSignal(msgspec.Struct, tag=True):
    """Store a signal and give it to those who wait for it; the rest gets it by `AdvanceFlow`."""

    name: str
    data: str
    job: int | None = None
    limit: int = 1000


class DeliverBatch(msgspec.Struct, tag=True):
    """A batch of an outbox, stored once; `roost.wire.outboxes.DeliverOutbox`. A job is a row, or None and refused."""

    outbox: str
    number: int
    contents: str
    rows: list[JobRow | None]
    refused: list[Problem | None]


class Promote(msgspec.Struct, tag=True):
    """Due jobs become ready, late ones expire, overdue ones are cancelled, holds' deadlines fire."""

    limit: int = 5000


class Reap(msgspec.Struct, tag=True):
    """Leases that ran out before ``before`` end as lost, but for those granted earlier than ``granted_after``."""

    before: int
    limit: int = 1000
    granted_after: int = 0


class Prune(msgspec.Struct, tag=True, kw_only=True):
    """Forget terminal jobs of ``queue`` in ``state`` that ended before ``before``; old operation ids too."""

    queue: str
    state: str
    before: int
    limit: int = 1000


class PruneFeed(msgspec.Struct, tag=True, kw_only=True):
    """Forget rows of the feed from ``before``, the oldest first; the newest row stays."""

    before: int
    limit: int = 1000


class PruneOld(msgspec.Struct, tag=True, kw_only=True):
    """Forget operation ids, workers and runs not heard of since ``before``."""

    before: int


Action = (
    CancelJobs
    | ReopenJobs
    | DeleteJobs
    | MoveJobs
    | RunJobs
    | HoldJobs
    | EditJobs
    | NoteJobs
    | TakeJob
    | UpdateJob
    | ClearQueue
    | CancelRunning
    | ForgetQueue
    | CountEnded
    | PruneResults
    | PutKind
    | DeleteKind
    | SetQueuePaused
    | SetQueueRules
    | RankJobs
    | SetLimit
    | PutSchedule
    | SetSchedulePaused
    | DeleteSchedule
    | FireSchedule
    | FireSchedules
    | Backfill
    | DecideHold
    | ExtendHold
    | AdvanceFlow
    | CreateBatch
    | SealBatch
    | CancelBatch
    | SendSignal
    | WorkerAction
    | DeliverBatch
    | Promote
    | Reap
    | Prune
    | PruneFeed
    | PruneOld
    | HookActions
    | SearchActions
)


class Call(msgspec.Struct, array_like=True):
    """An action at a moment, maybe under an operation id."""

    now: int
    action: Action
    operation: Operation | None = None


class Acted(msgspec.Struct, array_like=True):
    """The action's answer: ``reply`` is its wire reply as JSON text, ``count`` how many things it touched."""

    reply: str
    effects: Effects
    count: int = 0
    more: bool = False
    """The limit was reached: there is more to do at once."""
    problem: Problem | None = None
    kept: str | None = None
    """What is remembered for a repeated call instead of ``reply``, where that holds a secret."""
