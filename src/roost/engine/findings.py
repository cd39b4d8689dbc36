"""What a reader finds, where no row of the API says it."""

from __future__ import annotations

import msgspec

from roost.domain.schedule import ScheduleRule
from roost.domain.states import State
from roost.wire.attempts import Step, UnrecordedStep
from roost.wire.holds import Hold
from roost.wire.jobs import Attempt, Job


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
