"""What a store tells: the reading side, on connections of its own, never in the writer's way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec

from roost.domain.feed import Position
from roost.domain.records import JobOptions, QueueRules
from roost.domain.schedule import ScheduleRule
from roost.domain.states import State
from roost.domain.why import LimitUse
from roost.engine.feedreading import FeedSlice
from roost.engine.hooks import HookReader
from roost.wire.attempts import Step, UnrecordedStep, Worker
from roost.wire.holds import Hold, HoldPage, ListHolds
from roost.wire.jobs import Attempt, ChunkPage, Job, JobPage, ListJobs, LogPage
from roost.wire.kinds import KindSchema
from roost.wire.limits import LimitPage, ListLimits
from roost.wire.queues import Queue
from roost.wire.schedules import Runs, Schedule

if TYPE_CHECKING:
    from roost.engine.flowreading import Blockers, FlowReader
    from roost.engine.searching.reading import SearchReader


class ScheduleFacts(msgspec.Struct, kw_only=True):
    """A schedule as the planner sees it."""

    name: str
    rule: ScheduleRule
    job: str
    """The template: `roost.wire.jobs.NewJob` as JSON text."""
    paused: bool
    remove_after_last: bool
    next_fire: int | None
    last_fire: int | None
    created_at: int
    """The anchor of intervals."""
    queued: bool
    """One fire waits for the previous job's end."""
    last_job: int | None
    last_job_state: State | None
    """None when it was deleted or there was none: nothing to wait for."""
    runs: int
    """How many jobs its fires made."""


class OperatorEvent(msgspec.Struct, kw_only=True):
    """A stored event of a job: what no row tells by itself (cancel requested, reopened, …)."""

    at: int
    type: str
    actor: str | None
    data: str | None


class History(msgspec.Struct, kw_only=True):
    """All that `roost.domain.explain` and the event list need of one job."""

    job: Job
    created_at: int
    attempts: list[Attempt]
    holds: list[Hold]
    events: list[OperatorEvent]
    steps: list[Step]
    unrecorded: list[UnrecordedStep]
    queue_paused_at: int | None
    queue_paused_by: str | None
    ready_before: int
    """Ready jobs of the queue that go first; counted up to 10,000."""
    workers: int
    """Workers heard of lately that take this queue."""
    able: int
    """Of those, how many may have a handler for the job's kind: they named it, or no kinds at all."""


class Due(msgspec.Struct, kw_only=True):
    """When the loops have something to do next; None: nothing is stored that would."""

    job_at: int | None
    """The earliest run_at, expiry, job deadline or hold deadline."""
    lease_at: int | None
    """The earliest end of a lease."""
    schedule_at: int | None
    """The earliest next fire of a schedule that is not paused."""
    schedule_queued: bool
    """A queued fire waits for a job that has ended."""


class Reader(HookReader, Protocol):
    """Reads committed facts; thread-safe; raises `NotFound` for what is not there, `Unavailable` for a lost store."""

    searches: SearchReader
    flow: FlowReader

    def job(self, id: int) -> Job: ...
    def jobs(self, query: ListJobs) -> JobPage: ...
    def states(self, ids: list[int]) -> dict[int, State]: ...
    def history(self, id: int, workers_since: int) -> History: ...
    def logs(self, id: int, after: int, limit: int) -> LogPage: ...
    def options(self, id: int) -> JobOptions: ...
    def chunks(self, id: int, after: int, limit: int) -> ChunkPage: ...
    def steps(self, id: int) -> list[Step]: ...
    def all_steps(self, id: int) -> tuple[list[Step], list[UnrecordedStep]]: ...
    def queues(self, now: int) -> list[Queue]: ...
    def queue(self, name: str, now: int) -> Queue: ...
    def uncounted(self, until: int, worth: int) -> list[tuple[str, str]]: ...
    def rankings(self) -> list[tuple[str, int]]:
        """Queues whose jobs are ranked anew, and up to which id they are."""
        ...

    def to_rank(self, queue: str, after: int, limit: int) -> list[int]:
        """Jobs of a queue that have not ended, by their ids."""
        ...

    def claims_under_way(self) -> set[str]:
        """Transactions that may be starting jobs, by names of their own."""
        ...

    def running(self, queue: str) -> int: ...
    def limits(self, query: ListLimits, now: int) -> LimitPage: ...
    def queue_rules(self) -> dict[str, QueueRules]:
        """The rules of every queue that has any."""
        ...

    def kind_schemas(self) -> dict[str, str]:
        """The schema, as JSON text, of every kind that has one."""
        ...

    def kinds(self) -> list[KindSchema]: ...
    def kind(self, name: str) -> KindSchema: ...

    def schedules(self) -> list[Schedule]: ...
    def schedule(self, name: str) -> Schedule: ...
    def schedule_facts(self, name: str) -> ScheduleFacts: ...
    def due_schedules(self, now: int, limit: int) -> list[ScheduleFacts]:
        """Not paused, and due by ``now`` or with a queued fire whose job has ended; first due first."""
        ...

    def runs(self, name: str, limit: int, cursor: str | None) -> Runs: ...
    def limits_of(self, id: int, now: int) -> list[LimitUse]:
        """The limits a job counts against, its queue's own among them, and whether they have room for it."""
        ...

    def blockers(self, id: int) -> Blockers:
        """What a job waits for now: other jobs (and those in the end), or a signal."""
        ...

    def feed(self, after: Position | None, limit: int) -> FeedSlice:
        """Events behind ``after`` (None: from the oldest that is kept); raises `CursorTooOld`."""
        ...

    def feed_newest(self) -> Position:
        """The position behind everything that is committed now."""
        ...

    def hold(self, id: int) -> Hold: ...
    def holds(self, query: ListHolds) -> HoldPage: ...
    def workers(self, since: int) -> list[Worker]: ...
    def draining(self) -> set[str]: ...
    def due(self) -> Due: ...
    def finished_queues(self) -> list[tuple[str, str]]:
        """(queue, terminal state) pairs that have jobs to prune, maybe."""
        ...

    def ping(self) -> None:
        """Raises `Unavailable` where the store does not answer."""
        ...

    def close(self) -> None: ...
