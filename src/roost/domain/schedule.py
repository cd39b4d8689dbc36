"""Schedules: when a rule fires, what becomes of missed fires, and what a fire does while the last one still runs.

Nothing here knows what time it is; every function takes its instants as milliseconds since 1970 UTC. The policies are
those of model.md; `cron` reads expressions, `zones` knows clock changes, `fires` joins them into nominal instants.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Literal

import msgspec

from roost.domain.cron import parse_cron
from roost.domain.duration import format_duration, parse_duration
from roost.domain.fires import CronFires, Fires, IntervalFires, OnceFires
from roost.domain.shapes import at, check_shape
from roost.domain.zones import gap_end, instants_of, load_zone, parse_timestamp
from roost.errors import InvalidDuration, InvalidRequest

SHORTEST_INTERVAL_MS = 100
SHORTEST_ALARM_MS = 1000
MOST_RUNS = 1_000_000_000
MOST_MISSED = 1000
MOST_ON_TIME = 1000
"""Bounds of one `plan`: at most this many catch-ups, and at most this many fires inside the grace window."""

OverlapPolicy = Literal["allow", "skip", "queue", "replace"]
Expected = Literal["start", "success"]
"""What an alarm is about."""
OverlapDecision = Literal["fire", "skip", "queue", "replace"]


class ScheduleRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """When jobs are created: exactly one of ``cron``, ``every`` and ``at``, and the policies around it.

    * ``cron``: five fields, six with leading seconds, or an alias, on the wall clock of ``zone``.
    * ``every``: a duration. ``anchored`` intervals are multiples from ``starts_at`` (or the schedule's creation);
      ``after_completion`` counts from the end of the last job.
    * ``at``: RFC 3339 with an offset, or local time in ``zone``.
    * ``gap``, ``fold``: what happens to local times that a clock change drops or repeats. They apply to ``at`` and to
      cron with fixed hours; a wildcard hour follows elapsed time.
    * ``missed``: which fires later than ``grace`` are made up for: the latest, all (the newest ``missed_limit``), none.
    * ``overlap``: what a fire does while a job of an earlier fire is unfinished.
    * ``jitter``: each job may start up to this much later than its instant.
    * ``starts_at``, ``ends_at``: RFC 3339; no fire before the one or after the other.
    * ``max_runs``: the schedule ends after this many jobs.
    * ``alarm_after``, ``alarm_unfinished_after``: durations after an instant by which its job must have started, or
      succeeded; where it has not, an event ``schedule_late`` says so, and ``schedule_on_time`` where it succeeded in
      time.
    """

    cron: str | None = None
    every: str | None = None
    at: str | None = None
    zone: str = "UTC"
    gap: Literal["next", "skip"] = "next"
    fold: Literal["first", "both"] = "first"
    missed: Literal["latest", "all", "none"] = "latest"
    missed_limit: int = 100
    grace: str = "1m"
    overlap: OverlapPolicy = "skip"
    jitter: str = "0s"
    interval: Literal["anchored", "after_completion"] = "anchored"
    starts_at: str | None = None
    ends_at: str | None = None
    max_runs: int | None = None
    alarm_after: str | None = None
    alarm_unfinished_after: str | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to do about a due schedule: see `plan`."""

    fires: list[int]
    """Instants to create jobs for, oldest first."""
    missed: int
    """Late instants for which no job is created."""
    next_fire: int | None
    """The next due instant; `None` when the schedule has ended, or when its next fire `awaits_completion`."""


def validate(rule: ScheduleRule, path: str = "") -> None:
    """Refuse a rule that cannot be read or can never fire, before anything is stored.

    Raises `InvalidCron`, `InvalidZone`, `InvalidDuration`, or `InvalidRequest` for any other field, each with the path
    of the field. A rule that passes makes no other function of this module raise.
    """
    check_shape(rule, path)
    if [rule.cron, rule.every, rule.at].count(None) != 2:
        raise InvalidRequest("give exactly one of cron, every and at", path=path, help="for example cron: '0 8 * * *'")
    load_zone(rule.zone, path=at(path, "zone"))
    grace_ms = parse_duration(rule.grace, path=at(path, "grace"))
    parse_duration(rule.jitter, path=at(path, "jitter"))
    if rule.missed == "none" and grace_ms < 1000:
        raise InvalidDuration(
            "grace must be at least 1s when missed is none",
            path=at(path, "grace"),
            help="no timer is exact: without grace every fire would be late, and dropped",
        )
    if not 1 <= rule.missed_limit <= MOST_MISSED:
        raise InvalidRequest(
            f"missed_limit must be from 1 to {MOST_MISSED}",
            path=at(path, "missed_limit"),
            help="use missed: none to drop late fires",
        )
    if rule.interval == "after_completion" and rule.every is None:
        raise InvalidRequest(
            "interval is for every only", path=at(path, "interval"), help="remove it, or replace cron or at by every"
        )
    _validate_bounds(rule, path)
    if rule.max_runs is not None and not 1 <= rule.max_runs <= MOST_RUNS:
        raise InvalidRequest(
            f"max_runs must be from 1 to {MOST_RUNS:,}", path=at(path, "max_runs"), help="leave it out for no end"
        )
    for field in ("alarm_after", "alarm_unfinished_after"):
        text = getattr(rule, field)
        if text is not None and parse_duration(text, path=at(path, field)) < SHORTEST_ALARM_MS:
            raise InvalidDuration(
                f"{field} must be at least {SHORTEST_ALARM_MS // 1000}s", path=at(path, field), help="use a longer one"
            )
    if rule.cron is not None:
        parse_cron(rule.cron, path=at(path, "cron"))
    elif rule.every is not None:
        if parse_duration(rule.every, path=at(path, "every")) < SHORTEST_INTERVAL_MS:
            raise InvalidDuration(
                f"every must be at least {SHORTEST_INTERVAL_MS}ms", path=at(path, "every"), help="use a longer interval"
            )
    elif rule.at is not None and not _instants_at(rule, rule.at, at(path, "at")):
        raise InvalidRequest(
            f"{rule.at} does not exist in {rule.zone}: the clocks skip it",
            path=at(path, "at"),
            help="choose another time, or gap: next for the first moment after it",
        )
    starts_ms, ends_ms = _bounds(rule)
    if starts_ms is not None and ends_ms is not None and next(_after(rule, starts_ms - 1, starts_ms), None) is None:
        raise InvalidRequest("nothing fires between starts_at and ends_at", path=at(path, "ends_at"), help="move it")


def _validate_bounds(rule: ScheduleRule, path: str) -> None:
    for field, text in (("starts_at", rule.starts_at), ("ends_at", rule.ends_at)):
        if text is None:
            continue
        parse_timestamp(text, path=at(path, field))
        if rule.at is not None:
            raise InvalidRequest(f"{field} has no meaning with at", path=at(path, field), help="remove it")
    starts_ms, ends_ms = _bounds(rule)
    if starts_ms is not None and ends_ms is not None and starts_ms > ends_ms:
        raise InvalidRequest("ends_at is before starts_at", path=at(path, "ends_at"), help="swap them")


def next_fire(rule: ScheduleRule, after_ms: int, anchor_ms: int) -> int | None:
    """The first nominal instant strictly after ``after_ms``, without jitter; `None` when there is none.

    ``anchor_ms`` is when the schedule was created (or last edited): where anchored intervals count from, unless
    ``starts_at`` says otherwise. For ``after_completion``, ``after_ms`` is the end of the last job.
    """
    return next(_after(rule, after_ms, anchor_ms), None)


def fires_between(rule: ScheduleRule, after_ms: int, until_ms: int, anchor_ms: int, limit: int) -> list[int]:
    """The nominal instants in (after_ms, until_ms], oldest first, at most ``limit`` of them."""
    result: list[int] = []
    for instant in islice(_after(rule, after_ms, anchor_ms), limit):
        if instant > until_ms:
            break
        result.append(instant)
    return result


def preview(rule: ScheduleRule, after_ms: int, anchor_ms: int, count: int) -> list[int]:
    """The next ``count`` nominal instants after ``after_ms``; as if jobs took no time, for ``after_completion``."""
    return list(islice(_after(rule, after_ms, anchor_ms), count))


def plan(rule: ScheduleRule, next_fire_ms: int, now_ms: int, anchor_ms: int) -> Plan:
    """Decide what a schedule that is due (``next_fire_ms <= now_ms``) does now.

    Instants at most ``grace`` old are on time and fire. Older ones are missed: the latest of them fires, or the newest
    ``missed_limit``, or none, as ``missed`` says; the rest is only counted. Every stored ``next_fire_ms`` counts as an
    instant of the schedule, even if zone data or the rule have changed since.

    The work is bounded: at most `MOST_MISSED` + `MOST_ON_TIME` instants are walked, and the others are counted with one
    calendar look-up per day of downtime, whatever the frequency. When more than `MOST_ON_TIME` instants are on time,
    ``next_fire`` is the first one left over and already due: plan again.
    """
    if next_fire_ms > now_ms:
        return Plan(fires=[], missed=0, next_fire=next_fire_ms)
    on_time_from = now_ms - parse_duration(rule.grace)
    if awaits_completion(rule):
        if next_fire_ms < on_time_from and rule.missed == "none":
            return Plan(fires=[], missed=1, next_fire=next_fire(rule, now_ms, anchor_ms))
        return Plan(fires=[next_fire_ms], missed=0, next_fire=None)

    missed_total, caught_up = 0, []
    if next_fire_ms < on_time_from:
        fires = _fires(rule, next_fire_ms, anchor_ms)
        # Bounded by ends_at here, because `fires` itself knows nothing of it.
        _, ends_ms = _bounds(rule)
        late_until = on_time_from if ends_ms is None else min(on_time_from, ends_ms + 1)
        missed_total = 1 + fires.count(next_fire_ms + 1, late_until)
        wanted = {"latest": 1, "all": rule.missed_limit, "none": 0}[rule.missed]
        caught_up = list(islice(fires.before(late_until, next_fire_ms + 1), wanted))
        if len(caught_up) < wanted:
            caught_up.append(next_fire_ms)
        caught_up.reverse()
    walk_from = max(next_fire_ms, on_time_from - 1)
    on_time = [] if next_fire_ms < on_time_from else [next_fire_ms]
    following: int | None = None
    for instant in _after(rule, walk_from, anchor_ms):
        following = instant
        if instant > now_ms or len(on_time) == MOST_ON_TIME:
            break
        on_time.append(instant)
        following = None
    return Plan(fires=caught_up + on_time, missed=missed_total - len(caught_up), next_fire=following)


def alarms(rule: ScheduleRule, instant_ms: int) -> list[tuple[Expected, int]]:
    """What an instant's job must have done, and by when."""
    expected: list[tuple[Expected, int]] = []
    if rule.alarm_after is not None:
        expected.append(("start", instant_ms + parse_duration(rule.alarm_after)))
    if rule.alarm_unfinished_after is not None:
        expected.append(("success", instant_ms + parse_duration(rule.alarm_unfinished_after)))
    return expected


def awaits_completion(rule: ScheduleRule) -> bool:
    """Whether the next fire is known only when the last job ends: then it is `next_fire` with that end as after."""
    return rule.every is not None and rule.interval == "after_completion"


def jittered(rule: ScheduleRule, instant_ms: int, rng_value: float) -> int:
    """When the job of a fire may start: its instant plus up to ``jitter``; ``rng_value`` is random in [0, 1)."""
    return instant_ms + int(parse_duration(rule.jitter) * rng_value)


def decide_overlap(policy: OverlapPolicy, previous_unfinished: bool, already_queued: bool) -> OverlapDecision:
    """What a fire does, given whether an earlier fire's job is unfinished and whether one is queued behind it.

    ``fire`` creates the job now, ``skip`` drops the fire, ``queue`` creates it to start after the unfinished one (only
    one waits), ``replace`` cancels the unfinished one and creates it.
    """
    if policy == "allow" or not (previous_unfinished or already_queued):
        return "fire"
    if policy == "queue" and already_queued:
        return "skip"
    return policy


def describe(rule: ScheduleRule) -> str:
    """The rule in a few English words: "every day at 08:00 Europe/Rome", "every 5m", "once at 2026-03-08T07:00:00Z"."""
    if rule.every is not None:
        every = format_duration(parse_duration(rule.every))
        return f"{every} after the last one ends" if awaits_completion(rule) else f"every {every}"
    if rule.at is not None:
        _, exact = parse_timestamp(rule.at, zone=rule.zone)
        return f"once at {rule.at}" if exact else f"once at {rule.at} {rule.zone}"
    cron = parse_cron(rule.cron or "")
    if cron.fields[3:] == ["*", "*", "*"] and len(cron.hours) == len(cron.minutes) == 1 and cron.seconds == [0]:
        return f"every day at {cron.hours[0]:02}:{cron.minutes[0]:02} {rule.zone}"
    words = cron.explain()
    return f"{words[0].lower()}{words[1:]}, {rule.zone}"


def _after(rule: ScheduleRule, after_ms: int, anchor_ms: int) -> Iterator[int]:
    """All instants strictly after ``after_ms`` and inside the rule's bounds, earliest first."""
    starts_ms, ends_ms = _bounds(rule)
    fires = _fires(rule, after_ms, anchor_ms)
    for instant in fires.after(after_ms if starts_ms is None else max(after_ms, starts_ms - 1)):
        if ends_ms is not None and instant > ends_ms:
            return
        yield instant


def _fires(rule: ScheduleRule, after_ms: int, anchor_ms: int) -> Fires:
    if rule.cron is not None:
        return CronFires(parse_cron(rule.cron), rule.zone, gap=rule.gap, fold=rule.fold)
    if rule.every is not None:
        starts_ms, _ = _bounds(rule)
        if awaits_completion(rule):
            anchor_ms = after_ms if starts_ms is None else max(after_ms, starts_ms)
        elif starts_ms is not None:
            anchor_ms = starts_ms
        return IntervalFires(parse_duration(rule.every), anchor_ms)
    return OnceFires(_instants_at(rule, rule.at or "", "at"))


def _bounds(rule: ScheduleRule) -> tuple[int | None, int | None]:
    starts_ms = None if rule.starts_at is None else parse_timestamp(rule.starts_at)[0]
    ends_ms = None if rule.ends_at is None else parse_timestamp(rule.ends_at)[0]
    return starts_ms, ends_ms


def _instants_at(rule: ScheduleRule, text: str, path: str) -> tuple[int, ...]:
    """The instants of a one-shot, in milliseconds: none when it lies in a gap that is to be skipped."""
    ms, exact = parse_timestamp(text, path=path, zone=rule.zone)
    if exact:
        return (ms,)
    reading, fraction = divmod(ms, 1000)
    instants = instants_of(rule.zone, reading)
    if not instants:
        return (gap_end(rule.zone, reading) * 1000,) if rule.gap == "next" else ()
    kept = instants[:1] if rule.fold == "first" else instants
    return tuple(each * 1000 + fraction for each in kept)
