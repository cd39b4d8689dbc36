"""Time zones: their names, their clock changes, and RFC 3339 text.

An *instant* is in seconds since 1970 UTC; a *reading* is what the zone's wall clock shows then, instant plus offset.
zoneinfo tells the offset of an instant but not when it changes, so that the changes of a year are searched for once and
kept. Other modules see a year as spans of constant offset.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from roost.errors import InvalidRequest, InvalidZone

LAST_YEAR = 9998
"""Nothing fires later: the calendar ends in 9999, and a search needs room beyond what it finds."""

_DAY = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(?:/[A-Za-z0-9][A-Za-z0-9_+-]{0,31}){0,2}")
_NOT_PLACES = ("posix", "right", "posixrules", "localtime", "Factory")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:\.([0-9]{1,9}))?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


class Change(NamedTuple):
    """The wall clock of a zone moves: ``before`` and ``after`` are offsets in seconds."""

    instant: int
    before: int
    after: int


class Span(NamedTuple):
    """The instants [start, end) with one offset; ``skipped`` are the readings [from, to) lost at ``start``, if any."""

    start: int
    end: int
    offset: int
    skipped: tuple[int, int] | None


def load_zone(name: str, *, path: str = "") -> ZoneInfo:
    """The zone of an IANA name such as ``Europe/Rome``. Raises `InvalidZone`."""
    if _NAME.fullmatch(name) and name.split("/")[0] not in _NOT_PLACES:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder such as "America" is an OSError
            pass
    raise InvalidZone(f"{name[:40]!a} is not a known time zone", path=path, help=_suggestion(name))


def _suggestion(name: str) -> str:
    text = "use an IANA name such as Europe/Rome, America/New_York or UTC"
    if len(name) > 64:
        return text
    known = {each.lower(): each for each in available_timezones()}
    close = difflib.get_close_matches(name.lower().replace(" ", "_"), known, n=1, cutoff=0.75)
    return f"{text}; did you mean {known[close[0]]}?" if close else text


def offset_at(zone: ZoneInfo, instant: int) -> int:
    """Seconds that the wall clock is ahead of UTC at an instant."""
    offset = (_EPOCH + timedelta(seconds=instant)).astimezone(zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds())


def _year_start(year: int) -> int:
    return (datetime(year, 1, 1).toordinal() - _EPOCH.toordinal()) * _DAY


@lru_cache(maxsize=8192)
def changes(name: str, year: int) -> tuple[Change, ...]:
    """The clock changes of a zone in a UTC year and the two days before it, whose repeated readings may reach in."""
    zone = load_zone(name)
    found = []
    at = _year_start(year) - 2 * _DAY
    end = _year_start(year + 1)
    offset = offset_at(zone, at)
    while at < end:
        # No zone has changed its clock twice within a day since 1970.
        ahead = min(at + _DAY, end)
        later = offset_at(zone, ahead)
        if later != offset:
            low, high = at, ahead
            while high - low > 1:
                middle = (low + high) // 2
                if offset_at(zone, middle) == offset:
                    low = middle
                else:
                    high = middle
            if high < end:
                found.append(Change(high, offset, later))
        at, offset = ahead, later
    return tuple(found)


@lru_cache(maxsize=8192)
def spans(name: str, year: int, once: bool) -> tuple[Span, ...]:
    """A zone's UTC year as spans in order. With ``once``, instants whose reading was shown before are left out."""
    start, year_end = _year_start(year), _year_start(year + 1)
    opening: Change | None = None
    offset = None
    result = []
    for change in (*changes(name, year), None):
        if change is not None and change.instant <= start:
            opening, offset = change, change.after
            continue
        if offset is None:
            offset = change.before if change else offset_at(load_zone(name), start)
        end = change.instant if change else year_end
        begin, skipped = start, None
        if opening is not None:
            moved = opening.after - opening.before
            if once and moved < 0:
                begin = max(start, opening.instant - moved)
            if moved > 0 and opening.instant == start:
                skipped = (start + opening.before, start + opening.after)
        if begin < end:
            result.append(Span(begin, end, offset, skipped))
        if change is not None:
            opening, offset, start = change, change.after, change.instant
    return tuple(result)


def year_of(instant: int) -> int:
    """The UTC year of an instant, held inside the years that can be searched."""
    if instant >= _year_start(LAST_YEAR + 1):
        return LAST_YEAR + 1
    return (_EPOCH + timedelta(seconds=max(instant, _year_start(1900)))).year


def spans_from(name: str, instant: int, once: bool) -> Iterator[Span]:
    """Spans that end after ``instant``, in order, to the end of the calendar."""
    for year in range(year_of(instant), LAST_YEAR + 1):
        for span in spans(name, year, once):
            if span.end > instant:
                yield span


def spans_back(name: str, instant: int, once: bool) -> Iterator[Span]:
    """Spans that start before ``instant``, latest first, back to 1900."""
    for year in range(min(year_of(instant), LAST_YEAR), 1899, -1):
        for span in reversed(spans(name, year, once)):
            if span.start < instant:
                yield span


def instants_of(name: str, reading: int) -> tuple[int, ...]:
    """The instants at which a zone's wall clock shows a reading: one, two in a fold, none in a gap."""
    zone = load_zone(name)
    offsets = {offset_at(zone, reading + shift) for shift in (-_DAY, 0, _DAY)}
    return tuple(sorted(reading - each for each in offsets if offset_at(zone, reading - each) == each))


def gap_end(name: str, reading: int) -> int:
    """The first instant after the gap that swallows ``reading``."""
    year = year_of(reading)
    for change in (*changes(name, year), *changes(name, year + 1)):
        if change.instant + change.before <= reading < change.instant + change.after:
            return change.instant
    raise ValueError("the reading is in no gap")


def parse_timestamp(text: str, *, path: str = "", zone: str | None = None) -> tuple[int, bool]:
    """Read RFC 3339 text: (milliseconds since 1970, whether it had an offset).

    With an offset (or ``Z``) the milliseconds are an instant. Without one, which only a ``zone`` permits, they are a
    reading of that zone's clock. Digits below the millisecond are dropped. Raises `InvalidRequest`.
    """
    help = "write RFC 3339 such as 2026-03-08T08:00:00Z or 2026-03-08T08:00:00+01:00"
    if zone is not None:
        help += ", or leave the offset out for local time in the zone"
    if not isinstance(text, str):
        raise InvalidRequest(f"a time is text, not {type(text).__name__}", path=path, help=help)
    shown = ascii(text[:40])
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"{shown} is not a time", path=path, help=help)
    day, clock, fraction, offset = found.groups()
    if offset is None and zone is None:
        raise InvalidRequest(f"{shown} has no offset from UTC", path=path, help=help)
    if fraction is not None and clock.count(":") == 1:
        raise InvalidRequest(f"{shown} is not a time", path=path, help=help)
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{(offset or 'Z').upper()}")
        ms = round((moment - _EPOCH).total_seconds()) * 1000 + int((fraction or "").ljust(3, "0")[:3])
        inside = 1970 <= moment.year <= LAST_YEAR and ms >= 0
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{shown} is not a real date and time", path=path, help=help) from None
    if not inside:
        raise InvalidRequest(f"{shown} is outside the years 1970 to {LAST_YEAR}", path=path, help=help)
    return ms, offset is not None
