"""Schedules and their fires."""

from __future__ import annotations

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


class Run(Wire, kw_only=True):
    """One fire: the instant, what became of it (fired, skipped, queued, missed, replaced, run_now) and its job."""

    fire_at: str
    fired_at: str
    outcome: str
    job: JobId | None = None
    state: str | None = None


class Runs(Wire, kw_only=True):
    runs: list[Run]
    cursor: str | None = None
