"""Cron on wall clocks, compared with a brute-force second implementation around every kind of clock change."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roost.domain.cron import Cron, parse_cron
from roost.domain.fires import CronFires
from roost.domain.schedule import ScheduleRule, fires_between, next_fire
from roost.errors import InvalidCron
from tests.domain.oracle import OracleCron, days_of_change, expected_fires

pytestmark = pytest.mark.feature("cron")

DAY = 86_400

ZONES = [
    "America/New_York",
    "America/Havana",
    "America/Santiago",
    "America/Asuncion",
    "America/St_Johns",
    "America/Nuuk",
    "America/Scoresbysund",
    "America/Sao_Paulo",
    "America/Mexico_City",
    "Europe/Rome",
    "Europe/London",
    "Europe/Dublin",
    "Europe/Chisinau",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Juba",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Jerusalem",
    "Asia/Tehran",
    "Asia/Amman",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Antarctica/Troll",
    "Antarctica/Casey",
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Pacific/Apia",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Easter",
    "Pacific/Norfolk",
    "Atlantic/Azores",
    "UTC",
]


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    step = st.integers(1, high - low)
    single = st.one_of(
        st.just("*"),
        number.map(str),
        number.map(str),
        span,
        step.map(lambda size: f"*/{size}"),
        st.tuples(span, step).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        st.tuples(number, step).map(lambda pair: f"{pair[0]}/{pair[1]}"),
    )
    return st.one_of(single, st.lists(single, min_size=2, max_size=3).map(",".join))


HOURS = st.one_of(st.sampled_from(["*", "0", "1", "2", "3", "1-3", "0,23", "*/2", "0-23", "0-4"]), field(0, 23))
DAYS = st.one_of(st.just("*"), st.just("*"), field(1, 31), st.sampled_from(["L", "LW", "1,L", "*/2", "15,LW"]))
WEEKDAYS = st.one_of(
    st.just("*"), st.just("*"), field(0, 7), st.sampled_from(["SUN", "7", "MON-FRI", "5L", "SUN#1", "7#2", "0L,3"])
)
MONTHS = st.sampled_from(["*", "*", "*/2", "3-4", "3,9-11", "OCT-NOV", "12"])
FIVE = st.tuples(field(0, 59), HOURS, DAYS, MONTHS, WEEKDAYS).map(" ".join)
POLICIES = st.tuples(st.sampled_from(["next", "skip"]), st.sampled_from(["first", "both"]))


def windows(zone: str, days: int, first_year: int = 2020) -> st.SearchStrategy[int]:
    """Starts of windows: mostly with a clock change inside, sometimes anywhere."""
    anywhere = st.integers(18_262, 24_000).map(lambda day: day * DAY)
    changes = days_of_change(zone, first_year, 2035)
    if not changes:
        return anywhere
    around = st.tuples(st.sampled_from(changes), st.integers(0, days - 1)).map(lambda pair: pair[0] - pair[1] * DAY)
    return st.one_of(around, around, around, anywhere)


def parsed(text: str) -> Cron | None:
    """The expression, or nothing when it never fires; every generated expression can be read."""
    try:
        return parse_cron(text)
    except InvalidCron as error:
        if "never fires" not in error.message:
            raise
        return None


PLACES = st.sampled_from(ZONES).flatmap(lambda zone: st.tuples(st.just(zone), windows(zone, 2)))


@settings(max_examples=150, deadline=None)
@given(text=FIVE, place=PLACES, policies=POLICIES)
@example(text="0 12 * * *", place=("Pacific/Apia", 1_325_116_800), policies=("next", "first"))
@example(text="*/7 0-5 29,30 12 *", place=("Pacific/Apia", 1_325_116_800), policies=("next", "both"))
@example(text="15 2 * * *", place=("Antarctica/Troll", 1_648_252_800), policies=("next", "both"))
def test_five_fields_fire_when_the_oracle_says(text: str, place: tuple[str, int], policies: tuple[str, str]) -> None:
    zone, start = place
    gap, fold = policies
    end = start + 2 * DAY
    expected = [at * 1000 for at in expected_fires(text, zone, start, end, gap=gap, fold=fold)]
    if (cron := parsed(text)) is None:
        assert not expected
        return
    fires = CronFires(cron, zone, gap=gap, fold=fold)
    found = []
    for instant in fires.after(start * 1000 - 1):
        if instant >= end * 1000:
            break
        found.append(instant)
    assert found == expected
    assert list(fires.before(end * 1000, start * 1000)) == expected[::-1]
    assert fires.count(start * 1000, end * 1000) == len(expected)


@settings(max_examples=15, deadline=None)
@given(
    text=st.tuples(field(0, 59), field(0, 59), HOURS).map(lambda three: " ".join([*three, "* * *"])),
    zone=st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Africa/Cairo"]),
    data=st.data(),
    policies=POLICIES,
)
def test_six_fields_fire_when_the_oracle_says(
    text: str, zone: str, data: st.DataObject, policies: tuple[str, str]
) -> None:
    gap, fold = policies
    start = data.draw(st.sampled_from(days_of_change(zone, 2023, 2030))) + data.draw(st.integers(0, 22)) * 3600
    end = start + 2 * 3600
    expected = [at * 1000 for at in expected_fires(text, zone, start, end, gap=gap, fold=fold)]
    fires = CronFires(parse_cron(text), zone, gap=gap, fold=fold)
    assert list(fires.before(end * 1000, start * 1000)) == expected[::-1]
    assert fires.count(start * 1000, end * 1000) == len(expected)
    rule = ScheduleRule(cron=text, zone=zone, gap=gap, fold=fold)  # type: ignore[arg-type]
    assert fires_between(rule, start * 1000 - 1, end * 1000 - 1, 0, 10**6) == expected


@settings(max_examples=100, deadline=None)
@given(text=FIVE, place=PLACES, offset_ms=st.integers(0, 2 * DAY * 1000), policies=POLICIES)
def test_starting_anywhere_continues_the_same_sequence(
    text: str, place: tuple[str, int], offset_ms: int, policies: tuple[str, str]
) -> None:
    """A search that begins inside a gap's day, a fold or between two seconds sees what a longer walk saw."""
    zone, start = place
    gap, fold = policies
    end = start + 2 * DAY
    rule = ScheduleRule(cron=text, zone=zone, gap=gap, fold=fold)  # type: ignore[arg-type]
    after = start * 1000 + offset_ms
    expected = [at * 1000 for at in expected_fires(text, zone, start, end, gap=gap, fold=fold) if at * 1000 > after]
    if parsed(text) is None:
        assert not expected
        return
    found = next_fire(rule, after, 0)
    if expected:
        assert found == expected[0]
    else:
        assert found is None or found >= end * 1000


@settings(max_examples=100, deadline=None)
@given(
    text=st.tuples(field(0, 59), field(0, 23), DAYS, field(1, 12), WEEKDAYS).map(" ".join),
    start=st.integers(-40_000, 400_000).map(lambda hour: hour * 3600),
)
def test_dates_match_over_two_years(text: str, start: int) -> None:
    """Day, month and weekday rules without a zone; the oracle counts days, the real one counts fires."""
    cron, oracle = parsed(text), OracleCron(text)
    first = date(1970, 1, 1).toordinal() + start // DAY
    matching = [day for day in range(first, first + 730) if oracle.matches_date(date.fromordinal(day))]
    whole = start // DAY * DAY
    if cron is None:
        assert not matching
        return
    assert cron.count(whole, whole + 730 * DAY) == len(matching) * len(oracle.hours) * len(oracle.minutes)
    if matching:
        found = next(cron.ascending(whole))
        assert found // DAY == matching[0] - date(1970, 1, 1).toordinal()
