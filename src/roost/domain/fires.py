"""The nominal instants of a schedule, walked forwards, walked backwards, and counted without being walked.

All times here are milliseconds since 1970. Each class answers the same three questions:

* ``after(ms)``: the instants strictly after ``ms``, earliest first;
* ``before(ms, first_ms)``: the instants in [first_ms, ms), latest first;
* ``count(first_ms, ms)``: how many those are, with work that grows with the years between, never with the instants.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile
from typing import Protocol

from roost.domain.cron import Cron
from roost.domain.zones import Span, spans_back, spans_from


class Fires(Protocol):
    """What every kind of schedule can tell about its instants."""

    def after(self, ms: int) -> Iterator[int]: ...

    def before(self, ms: int, first_ms: int) -> Iterator[int]: ...

    def count(self, first_ms: int, ms: int) -> int: ...


class CronFires:
    """A cron expression on the wall clock of a zone.

    With a wildcard hour the schedule follows elapsed time: it fires whenever the clock shows a match, so that a
    repeated hour counts twice and a lost hour is no event. With fixed hours each local time is an appointment: one that
    falls into a gap is kept at the gap's end (``next``) or dropped (``skip``), and one that comes twice is kept the
    first time (``first``) or both times (``both``). Appointments that meet at one instant fire once.
    """

    def __init__(self, cron: Cron, zone: str, *, gap: str, fold: str) -> None:
        fixed = not cron.wildcard_hour
        self._cron = cron
        self._zone = zone
        self._once = fixed and fold == "first"
        self._fill = fixed and gap == "next"

    def after(self, ms: int) -> Iterator[int]:
        position = ms // 1000 + 1
        searched_from = upcoming = None
        for span in spans_from(self._zone, position, self._once):
            start = max(span.start, position)
            low, high = start + span.offset, span.end + span.offset
            if start == span.start and self._made_up(span):
                yield start * 1000
            # Nothing matches from `searched_from` to `upcoming`: a rare expression is not searched for again in every
            # span on the way to its next match, unless the clock has gone back behind what was searched.
            if searched_from is not None and upcoming is not None and searched_from <= low and upcoming >= high:
                continue
            searched_from, upcoming = low, None
            for reading in self._cron.ascending(low):
                if reading >= high:
                    upcoming = reading
                    break
                searched_from = reading + 1
                yield (reading - span.offset) * 1000
            if upcoming is None:
                return

    def before(self, ms: int, first_ms: int) -> Iterator[int]:
        first, end = _whole_seconds(first_ms), _whole_seconds(ms)
        for span in takewhile(lambda each: each.end > first, spans_back(self._zone, end, self._once)):
            start, stop = max(span.start, first), min(span.end, end)
            if start >= stop:
                continue
            for reading in self._cron.descending(stop + span.offset):
                if reading < start + span.offset:
                    break
                yield (reading - span.offset) * 1000
            if start == span.start and self._made_up(span):
                yield start * 1000

    def count(self, first_ms: int, ms: int) -> int:
        first, end = _whole_seconds(first_ms), _whole_seconds(ms)
        total = 0
        for span in takewhile(lambda each: each.start < end, spans_from(self._zone, first, self._once)):
            start, stop = max(span.start, first), min(span.end, end)
            total += self._cron.count(start + span.offset, stop + span.offset)
            total += start == span.start and self._made_up(span)
        return total

    def _made_up(self, span: Span) -> bool:
        """Whether a span opens with a fire for appointments lost in the gap before it, and for no other reason."""
        if not self._fill or span.skipped is None:
            return False
        lost_from, lost_to = span.skipped
        match = next(self._cron.ascending(lost_from), None)
        if match is None or match >= lost_to:
            return False
        return next(self._cron.ascending(lost_to), None) != lost_to


class IntervalFires:
    """Every ``every_ms`` from an anchor on, the anchor included: multiples, so that lateness never accumulates."""

    def __init__(self, every_ms: int, anchor_ms: int) -> None:
        self._every = every_ms
        self._anchor = anchor_ms

    def after(self, ms: int) -> Iterator[int]:
        index = max(0, (ms - self._anchor) // self._every + 1)
        while True:
            yield self._anchor + index * self._every
            index += 1

    def before(self, ms: int, first_ms: int) -> Iterator[int]:
        for index in range(self._index(ms) - 1, self._index(first_ms) - 1, -1):
            yield self._anchor + index * self._every

    def count(self, first_ms: int, ms: int) -> int:
        return max(0, self._index(ms) - self._index(first_ms))

    def _index(self, ms: int) -> int:
        """The number of the first fire at or after ``ms``."""
        return max(0, -((self._anchor - ms) // self._every))


class OnceFires:
    """A fixed, sorted list of instants: the one of a one-shot, or two where its local time comes twice."""

    def __init__(self, instants_ms: tuple[int, ...]) -> None:
        self._instants = instants_ms

    def after(self, ms: int) -> Iterator[int]:
        return (each for each in self._instants if each > ms)

    def before(self, ms: int, first_ms: int) -> Iterator[int]:
        return (each for each in reversed(self._instants) if first_ms <= each < ms)

    def count(self, first_ms: int, ms: int) -> int:
        return sum(first_ms <= each < ms for each in self._instants)


def _whole_seconds(ms: int) -> int:
    """The first whole second at or after ``ms``: cron fires on whole seconds only."""
    return -(-ms // 1000)
