"""A second implementation of cron on a wall clock, as slow and as literal as possible, to compare the real one with.

It shares no code with roost and none with cronsim: it parses expressions itself, looks at every minute (or second) of a
window, asks zoneinfo what the clock shows then, and applies the gap and fold policies by their definition.
"""

from __future__ import annotations

import calendar
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from zoneinfo import ZoneInfo

MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"])}


class OracleCron:
    """Sets of numbers per field, and two lists of predicates for the days."""

    def __init__(self, text: str) -> None:
        fields = text.upper().split()
        self.has_seconds = len(fields) == 6
        second, minute, hour, day, month, weekday = fields if self.has_seconds else ["0", *fields]
        self.seconds = _numbers(second, 0, 59, {})
        self.minutes = _numbers(minute, 0, 59, {})
        self.hours = _numbers(hour, 0, 23, {})
        self.months = _numbers(month, 1, 12, MONTHS)
        self.days, self.weekdays = day.split(","), weekday.split(",")
        self.both_must_match = day[0] == "*" or weekday[0] == "*"
        self.elapsed = hour[0] == "*" or self.hours == set(range(24))
        self.matches_date = lru_cache(maxsize=None)(self._matches_date)

    def matches(self, reading: datetime) -> bool:
        return (
            reading.minute in self.minutes
            and reading.hour in self.hours
            and reading.second in self.seconds
            and self.matches_date(reading.date())
        )

    def _matches_date(self, when: date) -> bool:
        if when.month not in self.months:
            return False
        by_day = any(_day_matches(term, when) for term in self.days)
        by_weekday = any(_weekday_matches(term, when) for term in self.weekdays)
        return (by_day and by_weekday) if self.both_must_match else (by_day or by_weekday)


def _numbers(field: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        body, _, step = term.partition("/")
        if body == "*":
            first, last = low, high
        elif "-" in body:
            first, last = (names[each] if each in names else int(each) for each in body.split("-"))
        else:
            first = names[body] if body in names else int(body)
            last = high if step else first
        found.update(number for number in range(first, last + 1) if (number - first) % int(step or 1) == 0)
    return found


def _day_matches(term: str, when: date) -> bool:
    last = calendar.monthrange(when.year, when.month)[1]
    if term == "L":
        return when.day == last
    if term == "LW":
        workdays = [day for day in range(1, last + 1) if date(when.year, when.month, day).weekday() < 5]
        return when.day == workdays[-1]
    return when.day in _numbers(term, 1, 31, {})


def _weekday_matches(term: str, when: date) -> bool:
    numbers = {when.isoweekday(), when.isoweekday() % 7}
    if term.endswith("L"):
        return int(term[:-1]) in numbers and (when + timedelta(days=7)).month != when.month
    if "#" in term:
        name, nth = term.split("#")
        return (WEEKDAYS[name] if name in WEEKDAYS else int(name)) in numbers and (when.day - 1) // 7 + 1 == int(nth)
    return bool(numbers & _numbers(term, 0, 7, WEEKDAYS))


@lru_cache(maxsize=64)
def _clock(zone: str, start: int, end: int, step: int) -> tuple[tuple[int, datetime], ...]:
    """What the zone's wall clock shows at each instant of a window."""
    place = ZoneInfo(zone)
    return tuple((at, datetime.fromtimestamp(at, place).replace(tzinfo=None)) for at in range(start, end, step))


def expected_fires(text: str, zone: str, start: int, end: int, *, gap: str = "next", fold: str = "first") -> list[int]:
    """The instants (seconds) in [start, end), by looking at every minute, or every second for six fields."""
    cron = OracleCron(text)
    step = 1 if cron.has_seconds else 60
    # A repeated or lost reading may have its twin outside the window; a whole day can be lost, but not for six fields
    # here: seconds are only tried around changes of two hours at most.
    margin = 3 * 3600 if cron.has_seconds else 27 * 3600
    shown = _clock(zone, start - margin, end + margin, step)
    if cron.elapsed:
        return [at for at, reading in shown if start <= at < end and cron.matches(reading)]
    instants: dict[datetime, list[int]] = defaultdict(list)
    for at, reading in shown:
        instants[reading].append(at)
    found: set[int] = set()
    for reading, ats in instants.items():
        if cron.matches(reading):
            found.update(ats[:1] if fold == "first" else ats)
    if gap == "next":
        for (_, before), (at, after) in pairwise(shown):
            lost = before + timedelta(seconds=step)
            while lost < after:
                if cron.matches(lost):
                    found.add(at)
                lost += timedelta(seconds=step)
    return sorted(at for at in found if start <= at < end)


@lru_cache(maxsize=1024)
def days_of_change(zone: str, first_year: int, last_year: int) -> tuple[int, ...]:
    """Midnights UTC (seconds) of the days in which a zone's offset changes."""
    place = ZoneInfo(zone)
    midnight = datetime(first_year, 1, 1, tzinfo=UTC)
    found = []
    while midnight.year <= last_year:
        following = midnight + timedelta(days=1)
        if midnight.astimezone(place).utcoffset() != following.astimezone(place).utcoffset():
            found.append(int(midnight.timestamp()))
        midnight = following
    return tuple(found)
