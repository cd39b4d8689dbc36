"""Schedules and their fires."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

from roost.domain.names import Name
from roost.domain.schedule import ScheduleRule
from roost.wire.codec import Wire
from roost.wire.jobs import JobId, NewJob


class PutSchedule(Wire, kw_only=True):
    """Create a schedule, or edit it as a whole; editing recomputes the next fire."""

    name: Name = ""
    rule: ScheduleRule
    job: NewJob
    paused: bool | None = None
    """None: as it is; a new one runs."""
    remove_after_last: bool = False
    """Remove the schedule when no fire is left; its runs stay visible."""
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Schedule(Wire, kw_only=True):
    name: str
    rule: ScheduleRule
    job: NewJob
    description: str
    paused: bool = False
    remove_after_last: bool = False
    next_fire: str | None = None
    last_fire: str | None = None
    last_job: JobId | None = None
    runs: int = 0
    """How many jobs its fires made."""
    created_at: str
    changed_at: str


class Schedules(Wire, kw_only=True):
    schedules: list[Schedule]


class ScheduleRef(Wire, kw_only=True):
    name: Name = ""
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class PreviewRule(Wire, kw_only=True):
    """The next fires of a rule that need not be stored."""

    rule: ScheduleRule
    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10


class PreviewSchedule(Wire, kw_only=True):
    name: Name = ""
    count: Annotated[int, msgspec.Meta(ge=1, le=100)] = 10


class Preview(Wire, kw_only=True):
    """The next fires in UTC and on the zone's clock."""

    description: str
    fires: list[str]
    local: list[str]


class ListRuns(Wire, kw_only=True):
    name: Name = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: str | None = None


class BackfillSchedule(Wire, kw_only=True):
    """Make the jobs of instants from ``first`` to ``last`` that have none yet, whatever the overlap policy says.

    At most ``limit``, oldest first; ``dry_run`` only tells which instants these are.
    """

    name: Name = ""
    first: datetime
    last: datetime
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    dry_run: bool = False
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Backfilled(Wire, kw_only=True):
    """The instants and the jobs that were made for them (none for a dry run); ``more``: the limit was reached."""

    fires: list[str]
    jobs: list[JobId] = []
    more: bool = False


class Run(Wire, kw_only=True):
    """One fire: the instant, what became of it and its job.

    ``outcome`` is fired, skipped, queued, missed, replaced, run_now or backfilled.
    """

    fire_at: str
    fired_at: str
    outcome: str
    job: JobId | None = None
    state: str | None = None


class Runs(Wire, kw_only=True):
    runs: list[Run]
    cursor: str | None = None
