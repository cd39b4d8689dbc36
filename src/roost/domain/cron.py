"""Cron expressions in plain calendar time: no zone, no daylight saving.

A *reading* is what a wall clock shows, as seconds since 1970-01-01 00:00 on that same clock. cronsim parses and
searches; it is given no zone, because its own handling of clock changes differs between five and six fields (six get
none). What a clock change means for a schedule is decided in `fires`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache

from cronsim import CronSim, CronSimError

from roost.errors import InvalidCron

LONGEST_TEXT = 128
DAY = 86_400

_EPOCH = datetime(1970, 1, 1)
_EPOCH_DAY = _EPOCH.toordinal()
_PROBE = 946_684_800
"""2000-01-01: where the search for a first fire starts. cronsim looks fifty years ahead, and the rarest expression that
fires at all (29 February on one given weekday) comes round every 28 years, or 40 across the year 2100."""

_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
_SIZES = (60, 60, 24, 31, 12, 7)
_MONTHS = {
    **{"JAN": "1", "FEB": "2", "MAR": "3", "APR": "4", "MAY": "5", "JUN": "6"},
    **{"JUL": "7", "AUG": "8", "SEP": "9", "OCT": "10", "NOV": "11", "DEC": "12"},
}
_WEEKDAYS = {"SUN": "0", "MON": "1", "TUE": "2", "WED": "3", "THU": "4", "FRI": "5", "SAT": "6"}
_NAMES = re.compile(r"\b[A-Z]{3}\b")
_SINGLE_RANGE = re.compile(r"\b0*([0-9]+)-0*\1/0*[1-9][0-9]*\b")
_CHARACTERS = re.compile(r"[0-9A-Za-z*,/#\- \t]+")
_HELP = (
    "write five fields (minute hour day month weekday), or six with leading seconds, such as '0 8 * * MON-FRI'; "
    f"or one of {', '.join(_ALIASES)}"
)


class Cron:
    """One parsed expression; built by `parse_cron`."""

    def __init__(self, text: str, path: str) -> None:
        fields = _split(text, path)
        self.fields = fields
        self._text = " ".join(fields)
        self._parsed = _read(fields, text, path)
        self.seconds = sorted(self._parsed.seconds)
        self.minutes = sorted(self._parsed.minutes)
        self.hours = sorted(self._parsed.hours)
        self._per_day = len(self.seconds) * len(self.minutes) * len(self.hours)
        self.wildcard_hour = fields[2].startswith("*") or len(self.hours) == 24
        """Whether the schedule means "through the day" (``*``, ``*/2``, ``0-23``) rather than certain hours."""
        if next(self.ascending(_PROBE), None) is None:
            raise InvalidCron(f"{text!a} never fires", path=path, help="no such day exists in those months")

    def ascending(self, start: int) -> Iterator[int]:
        """All matching readings from ``start`` on, earliest first; ends after fifty years without a match."""
        try:
            search = CronSim(self._text, _EPOCH + timedelta(seconds=start - 1))
            for moment in search:
                yield _seconds(moment)
        except OverflowError:  # the end of the calendar
            return

    def descending(self, end: int) -> Iterator[int]:
        """All matching readings before ``end``, latest first; ends after fifty years without a match."""
        try:
            search = CronSim(self._text, _EPOCH + timedelta(seconds=end), reverse=True)
            for moment in search:
                yield _seconds(moment)
        except OverflowError:
            return

    def count(self, start: int, end: int) -> int:
        """How many matching readings lie in [start, end); the work grows with the days between, not the matches."""
        if start >= end:
            return 0
        first_day, last_day = start // DAY, (end - 1) // DAY
        days = sum(self._matches_day(day) for day in range(first_day, last_day + 1)) * self._per_day
        before = self._before(start % DAY) if self._matches_day(first_day) else 0
        after = self._per_day - self._before((end - 1) % DAY + 1) if self._matches_day(last_day) else 0
        return days - before - after

    def _matches_day(self, day: int) -> bool:
        when = date.fromordinal(_EPOCH_DAY + day)
        return when.month in self._parsed.months and self._parsed.match_day(when)

    def _before(self, second_of_day: int) -> int:
        """How many of a matching day's readings come before ``second_of_day``."""
        hour, rest = divmod(second_of_day, 3600)
        minute, second = divmod(rest, 60)
        count = sum(each < hour for each in self.hours) * len(self.minutes) * len(self.seconds)
        if hour in self.hours:
            count += sum(each < minute for each in self.minutes) * len(self.seconds)
            if minute in self.minutes:
                count += sum(each < second for each in self.seconds)
        return count

    def explain(self) -> str:
        """The expression in English words, from cronsim."""
        return self._parsed.explain()


@lru_cache(maxsize=4096)
def _cached(text: str) -> Cron:
    return Cron(text, "")


def parse_cron(text: str, *, path: str = "") -> Cron:
    """Read a cron expression: five fields, six with leading seconds, or an alias such as ``@daily``.

    Names, lists, ranges, steps, ``L`` and ``#`` are understood; weekdays 0 and 7 are both Sunday. A day matches when
    day-of-month or weekday does if both are restricted, that is, if neither begins with ``*``; as in Vixie and Debian
    cron, ``*/2`` counts as unrestricted there, so that it must match together with the other field.

    Raises `InvalidCron` for text that cannot be read, and for dates that never come, such as 30 February.
    """
    if not isinstance(text, str):
        raise InvalidCron(f"a cron expression is text, not {type(text).__name__}", path=path, help=_HELP)
    try:
        return _cached(text)
    except InvalidCron as error:
        raise InvalidCron(error.message, path=path, help=error.help) from None


def _split(text: str, path: str) -> list[str]:
    """The six fields in upper case, or `InvalidCron`."""
    shown = ascii(text[:LONGEST_TEXT])
    if len(text) > LONGEST_TEXT:
        raise InvalidCron(f"a cron expression has at most {LONGEST_TEXT} characters", path=path, help=_HELP)
    stripped = text.strip(" \t")
    if stripped.startswith("@"):
        alias = _ALIASES.get(stripped.lower())
        if alias is None:
            raise InvalidCron(f"{shown} is not a known alias", path=path, help=_HELP)
        stripped = alias
    if not _CHARACTERS.fullmatch(stripped):
        raise InvalidCron(f"{shown} is not a cron expression", path=path, help=_HELP)
    fields = stripped.upper().split()
    if len(fields) == 5:
        fields.insert(0, "0")
    if len(fields) != 6:
        raise InvalidCron(f"{shown} has {len(fields)} fields, not 5 or 6", path=path, help=_HELP)
    # Sunday is 0 and 7: at the end of a range it is 7, or else SAT-SUN would run backwards.
    fields[5] = re.sub(r"(?<![0N])-SUN\b", "-7", fields[5])
    fields[4] = _NAMES.sub(lambda found: _MONTHS.get(found[0], found[0]), fields[4])
    fields[5] = _NAMES.sub(lambda found: _WEEKDAYS.get(found[0], found[0]), fields[5])
    # cronsim reads 5-5/2, a range of one value, as if it were 5/2, which goes on to the field's end.
    fields = [_SINGLE_RANGE.sub(r"\1", field) for field in fields]
    for name, size, field in zip(_FIELDS, _SIZES, fields, strict=True):
        for step in re.findall(r"/([0-9]+)", field):
            # */90 in the minutes does not mean every ninety minutes; it would silently mean hourly.
            if len(step) > 4 or int(step) > size:
                raise InvalidCron(
                    f"step {step[:10]} in the {name} field of {shown} is above its {size} values",
                    path=path,
                    help="a step counts inside one field; use an interval (every) for other periods",
                )
    return fields


def _read(fields: list[str], text: str, path: str) -> CronSim:
    try:
        return CronSim(" ".join(fields), _EPOCH)
    except CronSimError as error:
        what = str(error).removeprefix("Bad ")
    # cronsim reports a day that none of the months has as a bad day; with every month it is a good one.
    if what == "day-of-month":
        try:
            CronSim(" ".join([*fields[:4], "*", fields[5]]), _EPOCH)
        except CronSimError:
            pass
        else:
            raise InvalidCron(f"{text!a} never fires", path=path, help="no such day exists in those months")
    raise InvalidCron(f"the {what} field of {text!a} cannot be read", path=path, help=_HELP)


def _seconds(moment: datetime) -> int:
    return (moment.toordinal() - _EPOCH_DAY) * DAY + moment.hour * 3600 + moment.minute * 60 + moment.second
