"""Schedules that a program declares, and how they reach the store without disturbing what is there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from roost.domain.schedule import OverlapPolicy, ScheduleRule, validate
from roost.sdk.outcome import DurationLike, duration_text
from roost.wire.jobs import NewJob
from roost.wire.schedules import Schedule

if TYPE_CHECKING:
    from roost.sdk.function import JobFunction


@dataclass(frozen=True, slots=True)
class Declared:
    """One schedule of the program."""

    name: str
    rule: ScheduleRule
    function: JobFunction[[], Any, Any]
    remove_after_last: bool

    def differs(self, stored: Schedule | None, job: NewJob) -> bool:
        """Whether it must be written: a schedule that is written computes its next fire anew, so only then."""
        if stored is None:
            return True
        return (stored.rule, stored.remove_after_last, _plain(stored.job)) != (
            self.rule,
            self.remove_after_last,
            _plain(job),
        )


def schedule_rule(
    cron: str | None,
    *,
    every: DurationLike | None,
    at: datetime | str | None,
    tz: str,
    gap: Literal["next", "skip"],
    fold: Literal["first", "both"],
    missed: Literal["latest", "all", "none"],
    missed_limit: int,
    grace: DurationLike,
    overlap: OverlapPolicy,
    jitter: DurationLike,
    interval: Literal["anchored", "after_completion"],
    starts_at: datetime | str | None,
    ends_at: datetime | str | None,
    max_runs: int | None,
    alarm_after: DurationLike | None,
    alarm_unfinished_after: DurationLike | None,
) -> ScheduleRule:
    """A checked rule; raises `InvalidCron`, `InvalidZone`, `InvalidDuration` or `InvalidRequest`."""
    rule = ScheduleRule(
        cron=cron,
        every=None if every is None else duration_text(every, "schedule.every"),
        at=_moment(at),
        zone=tz,
        gap=gap,
        fold=fold,
        missed=missed,
        missed_limit=missed_limit,
        grace=duration_text(grace, "schedule.grace"),
        overlap=overlap,
        jitter=duration_text(jitter, "schedule.jitter"),
        interval=interval,
        starts_at=_moment(starts_at),
        ends_at=_moment(ends_at),
        max_runs=max_runs,
        alarm_after=None if alarm_after is None else duration_text(alarm_after, "schedule.alarm_after"),
        alarm_unfinished_after=None
        if alarm_unfinished_after is None
        else duration_text(alarm_unfinished_after, "schedule.alarm_unfinished_after"),
    )
    validate(rule, "schedule")
    return rule


def _moment(value: datetime | str | None) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else value


def _plain(job: NewJob) -> Any:
    # Compared by meaning: a store may have its own way of writing the same JSON.
    return msgspec.json.decode(msgspec.json.encode(job))
