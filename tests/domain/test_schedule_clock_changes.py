"""Every promise about clock changes and odd dates as an example a person can check by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from roost.domain.schedule import ScheduleRule, fires_between, next_fire, preview, validate

pytestmark = [pytest.mark.feature("cron"), pytest.mark.feature("schedule-policies")]


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def fires(cron: str, zone: str, after: str, until: str, **policies: str) -> list[str]:
    """The fires in (after, until], as the zone's own wall clock with its offset."""
    rule = ScheduleRule(cron=cron, zone=zone, **policies)  # type: ignore[arg-type]
    validate(rule)
    found = fires_between(rule, ms(after), ms(until), 0, 1000)
    return [datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).strftime("%m-%d %H:%M%z") for at in found]


SPRING = ("America/New_York", "2026-03-07T12:00-05:00", "2026-03-09T12:00-04:00")
AUTUMN = ("America/New_York", "2026-10-31T12:00-04:00", "2026-11-02T12:00-05:00")


def test_half_past_two_in_spring_fires_when_the_gap_ends() -> None:
    assert fires("30 2 * * *", *SPRING) == ["03-08 03:00-0400", "03-09 02:30-0400"]


def test_half_past_two_in_spring_can_be_skipped() -> None:
    assert fires("30 2 * * *", *SPRING, gap="skip") == ["03-09 02:30-0400"]


def test_appointments_that_meet_at_the_end_of_a_gap_fire_once() -> None:
    assert fires("0,20,40 2,3 8 3 *", *SPRING) == ["03-08 03:00-0400", "03-08 03:20-0400", "03-08 03:40-0400"]
    assert fires("20,40 2 8 3 *", *SPRING) == ["03-08 03:00-0400"]


def test_half_past_one_in_autumn_fires_the_first_time() -> None:
    assert fires("30 1 * * *", *AUTUMN) == ["11-01 01:30-0400", "11-02 01:30-0500"]


def test_half_past_one_in_autumn_can_fire_both_times() -> None:
    assert fires("30 1 * * *", *AUTUMN, fold="both") == ["11-01 01:30-0400", "11-01 01:30-0500", "11-02 01:30-0500"]


def test_both_times_come_in_the_order_of_the_clock() -> None:
    assert fires("0,30 1 1 11 *", *AUTUMN, fold="both") == [
        "11-01 01:00-0400",
        "11-01 01:30-0400",
        "11-01 01:00-0500",
        "11-01 01:30-0500",
    ]


@pytest.mark.parametrize("seconds", ["", "0 "])
def test_six_fields_follow_the_same_policies_as_five(seconds: str) -> None:
    assert fires(f"{seconds}30 2 * * *", *SPRING) == ["03-08 03:00-0400", "03-09 02:30-0400"]
    assert fires(f"{seconds}30 1 * * *", *AUTUMN) == ["11-01 01:30-0400", "11-02 01:30-0500"]


@pytest.mark.parametrize("gap", ["next", "skip"])
@pytest.mark.parametrize("fold", ["first", "both"])
@pytest.mark.parametrize(
    ("cron", "minutes"), [("0 * * * *", 60), ("@hourly", 60), ("*/15 * * * *", 15), ("* * * * *", 1)]
)
@pytest.mark.parametrize("change", ["2026-03-08T07:00Z", "2026-11-01T06:00Z"])
def test_wildcard_hours_follow_elapsed_time(cron: str, minutes: int, change: str, gap: str, fold: str) -> None:
    """Every real hour once: none missing, none double, in spring and in autumn."""
    rule = ScheduleRule(cron=cron, zone="America/New_York", gap=gap, fold=fold)  # type: ignore[arg-type]
    start = ms(change) - 6 * 3_600_000
    found = fires_between(rule, start, start + 12 * 3_600_000, 0, 1000)
    assert found == list(range(start + minutes * 60_000, start + 12 * 3_600_000 + 1, minutes * 60_000))


def test_all_hours_written_out_are_a_wildcard() -> None:
    assert fires("30 0-23 * * *", "America/New_York", "2026-11-01T00:45-04:00", "2026-11-01T02:45-05:00") == [
        "11-01 01:30-0400",
        "11-01 01:30-0500",
        "11-01 02:30-0500",
    ]


def test_a_wildcard_minute_of_a_fixed_hour_is_an_appointment() -> None:
    assert len(fires("*/15 1 * * *", "America/New_York", "2026-11-01T00:00-04:00", "2026-11-01T12:00-05:00")) == 4
    found = fires("*/15 2 * * *", "America/New_York", "2026-03-08T00:00-05:00", "2026-03-08T12:00-04:00")
    assert found == ["03-08 03:00-0400"]


def test_half_an_hour_is_lost_and_repeated_on_lord_howe() -> None:
    zone = "Australia/Lord_Howe"
    spring = (zone, "2026-10-03T12:00+10:30", "2026-10-04T12:00+11:00")
    assert fires("15 2 * * *", *spring) == ["10-04 02:30+1100"]
    assert fires("15 2 * * *", *spring, gap="skip") == []
    assert fires("45 2 * * *", *spring) == ["10-04 02:45+1100"]
    autumn = (zone, "2026-04-04T12:00+11:00", "2026-04-05T12:00+10:30")
    assert fires("45 1 * * *", *autumn) == ["04-05 01:45+1100"]
    assert fires("45 1 * * *", *autumn, fold="both") == ["04-05 01:45+1100", "04-05 01:45+1030"]
    assert fires("15 1 * * *", *autumn, fold="both") == ["04-05 01:15+1100"]
    assert fires("45 0-23 * * *", zone, "2026-04-05T00:50+11:00", "2026-04-05T02:50+10:30") == [
        "04-05 01:45+1100",
        "04-05 01:45+1030",
        "04-05 02:45+1030",
    ]


def test_a_day_that_never_was_in_samoa() -> None:
    days = ("Pacific/Apia", "2011-12-29T00:00-10:00", "2012-01-01T00:00+14:00")
    assert fires("0 12 * * *", *days) == ["12-29 12:00-1000", "12-31 00:00+1400", "12-31 12:00+1400"]
    assert fires("0 12 * * *", *days, gap="skip") == ["12-29 12:00-1000", "12-31 12:00+1400"]
    assert fires("0 9,12,15 30 12 *", *days) == ["12-31 00:00+1400"]
    # Midnight of the 31st stands for itself and for the whole lost day, and is one fire.
    assert fires("0 0 * * *", *days) == ["12-31 00:00+1400", "01-01 00:00+1400"]
    assert fires("0 12 * * FRI", *days) == ["12-31 00:00+1400"]
    assert fires("0 12 * * FRI", *days, gap="skip") == []
    hours = fires("0 * * * *", "Pacific/Apia", "2011-12-29T22:00-10:00", "2011-12-31T01:00+14:00")
    assert hours == ["12-29 23:00-1000", "12-31 00:00+1400", "12-31 01:00+1400"]


def test_a_midnight_that_is_skipped_and_one_that_comes_twice() -> None:
    assert fires("0 0 * * *", "Asia/Beirut", "2026-03-28T12:00+02:00", "2026-03-29T12:00+03:00") == ["03-29 01:00+0300"]
    havana = ("America/Havana", "2026-10-31T12:00-04:00", "2026-11-01T12:00-05:00")
    assert fires("@daily", *havana) == ["11-01 00:00-0400"]
    assert fires("@daily", *havana, fold="both") == ["11-01 00:00-0400", "11-01 00:00-0500"]


@pytest.mark.parametrize("sunday", ["0", "7", "SUN", "sun", "0,7", "7-7", "0#1,0#2,0#3,0#4,0#5"])
def test_sunday_is_zero_and_seven(sunday: str) -> None:
    found = fires(f"0 8 * * {sunday}", "UTC", "2026-03-01T09:00Z", "2026-03-15T09:00Z")
    assert found == ["03-08 08:00+0000", "03-15 08:00+0000"]


@pytest.mark.parametrize(
    ("weekdays", "days"),
    [
        ("MON-FRI", [2, 3, 4, 5, 6]),
        ("1-5", [2, 3, 4, 5, 6]),
        ("SAT-SUN", [7, 8]),
        ("6-7", [7, 8]),
        ("FRI-SUN", [6, 7, 8]),
        ("5-7/2", [6, 8]),
        ("MON,WED,FRI", [2, 4, 6]),
        ("*/2", [3, 5, 7, 8]),
        ("1-1/3", [2]),
        ("MON-MON/2", [2]),
        ("3/2", [4, 6, 8]),
        ("5L", []),
        ("5#1", [6]),
        ("SUN#2", [8]),
        ("0-6", [2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_weekday_rules_in_a_week_of_march(weekdays: str, days: list[int]) -> None:
    """2026-03-02 is a Monday."""
    found = fires(f"0 8 * * {weekdays}", "UTC", "2026-03-02T00:00Z", "2026-03-09T00:00Z")
    assert found == [f"03-{day:02} 08:00+0000" for day in days]


def test_day_or_weekday_when_both_are_restricted() -> None:
    found = fires("0 0 13 * FRI", "UTC", "2026-03-01T00:00Z", "2026-03-21T00:00Z")
    assert found == ["03-06 00:00+0000", "03-13 00:00+0000", "03-20 00:00+0000"]


def test_day_and_weekday_when_one_begins_with_a_star() -> None:
    """As in Vixie and Debian cron: every second day of the month, if it is a Monday."""
    month = ("UTC", "2026-03-01T12:00Z", "2026-03-31T12:00Z")
    expected = ["03-09 00:00+0000", "03-23 00:00+0000"]
    assert fires("0 0 */2 * MON", *month) == expected
    assert fires("0 0 1-31/2 * */1", *month)[:2] == ["03-03 00:00+0000", "03-05 00:00+0000"]
    # Restricted on both sides is OR: 15 odd days and 3 even Mondays.
    assert len(fires("0 0 1-31/2 * MON", *month)) == 18


def test_last_days() -> None:
    year = ("UTC", "2027-12-31T12:00Z", "2028-04-30T12:00Z")
    assert fires("0 0 L * *", *year) == [f"{day} 00:00+0000" for day in ("01-31", "02-29", "03-31", "04-30")]
    assert fires("0 0 LW * *", *year) == [f"{day} 00:00+0000" for day in ("01-31", "02-29", "03-31", "04-28")]
    assert fires("0 0 * 2 5L", *year) == ["02-25 00:00+0000"]


def test_29_february_waits_four_or_eight_years() -> None:
    rule = ScheduleRule(cron="0 8 29 2 *", zone="Europe/Rome")
    found = preview(rule, ms("2091-01-01T00:00Z"), 0, 4)
    years = [datetime.fromtimestamp(at / 1000, UTC).year for at in found]
    assert years == [2092, 2096, 2104, 2108]
    assert all(datetime.fromtimestamp(at / 1000, ZoneInfo("Europe/Rome")).hour == 8 for at in found)


def test_29_february_on_a_monday_is_found_40_years_ahead() -> None:
    rule = ScheduleRule(cron="0 0 */28 2 MON#5")
    assert next_fire(rule, ms("2072-03-01T00:00Z"), 0) == ms("2112-02-29T00:00Z")


def test_31st_comes_only_in_long_months() -> None:
    found = preview(ScheduleRule(cron="0 0 31 * *"), ms("2026-01-31T00:00Z"), 0, 3)
    assert [datetime.fromtimestamp(at / 1000, UTC).month for at in found] == [3, 5, 7]


def test_clock_changes_are_known_in_far_years() -> None:
    found = fires("30 2 * * *", "America/New_York", "2400-03-11T12:00-05:00", "2400-03-12T12:00-04:00")
    assert found == ["03-12 03:00-0400"]


def test_the_calendar_has_an_end() -> None:
    rule = ScheduleRule(cron="0 0 1 1 *", zone="Europe/Rome")
    assert preview(rule, ms("9998-06-01T00:00Z"), 0, 5) == [ms("9998-12-31T23:00Z")]
    assert next_fire(rule, 10**18, 0) is None
    assert next_fire(rule, -(10**15), 0) is not None


def test_seconds_are_the_leading_field() -> None:
    rule = ScheduleRule(cron="*/20 30 8 * * *")
    base = ms("2026-03-01T08:30:00Z")
    assert preview(rule, base - 1, 0, 4) == [base, base + 20_000, base + 40_000, base + 86_400_000]


def test_strictly_after_means_after_the_millisecond() -> None:
    rule = ScheduleRule(cron="* * * * *")
    minute = ms("2026-03-01T08:30:00Z")
    assert [next_fire(rule, minute + shift, 0) for shift in (-1, 0, 1)] == [minute, minute + 60_000, minute + 60_000]


@pytest.mark.parametrize("zone", ["America/New_York", "Pacific/Apia", "Asia/Kathmandu"])
def test_a_year_of_mornings_has_one_fire_per_day(zone: str) -> None:
    rule = ScheduleRule(cron="0 8 * * *", zone=zone)
    start = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    found = fires_between(
        rule, int(start.timestamp() * 1000), int((start + timedelta(365)).timestamp() * 1000), 0, 1000
    )
    local = [datetime.fromtimestamp(at / 1000, ZoneInfo(zone)) for at in found]
    assert len({each.date() for each in local}) == len(found) == 365
    assert {(each.hour, each.minute) for each in local} == {(8, 0)}
