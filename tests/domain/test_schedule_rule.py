"""Which rules are refused, with which error and path, and how a valid one reads."""

from __future__ import annotations

from datetime import datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.domain.schedule import ScheduleRule, describe, next_fire, preview, validate
from roost.errors import InvalidCron, InvalidDuration, InvalidRequest, InvalidZone, RoostError

pytestmark = pytest.mark.feature("cron")


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def refused(fields: dict[str, object]) -> RoostError:
    with pytest.raises(RoostError) as refusal:
        validate(ScheduleRule(**fields), "schedule")  # type: ignore[arg-type]
    error = refusal.value
    assert 400 <= error.status < 500
    assert error.help
    assert str(error).isascii(), "a message may quote anything, and must be safe to print and to encode"
    assert len(str(error)) < 600
    return error


@pytest.mark.parametrize(
    "cron",
    [
        "",
        " ",
        "*",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 0 *",
        "* * * 13 *",
        "* * * * 8",
        "60 * * * * *",
        "-1 * * * *",
        "*/0 * * * *",
        "*/-5 * * * *",
        "*/61 * * * *",
        "*/90 * * * *",
        "0 */25 * * *",
        "0 0 * * */8",
        "5-1 * * * *",
        "22-2 * * * *",
        "1,,2 * * * *",
        ",1 * * * *",
        "1- * * * *",
        "-1-2 * * * *",
        "1/ * * * *",
        "/5 * * * *",
        "1/2/3 * * * *",
        "** * * * *",
        "a * * * *",
        "* * * FOO *",
        "* * * * MONDAY",
        "* * * JAN1 *",
        "* * * * MON1",
        "* * * * MON#6",
        "* * * * MON#0",
        "* * * * L",
        "* * L/ * *",
        "? * * * *",
        "0 0 ? * MON",
        "0 0 15W * *",
        "H * * * *",
        "@reboot",
        "@every 5m",
        "@",
        "@@daily",
        "@daily 5",
        "0 0 30 2 *",
        "0 0 31 2 *",
        "0 0 31 4,6,9,11 *",
        "0 0 30,31 FEB *",
        "0 0 */31 2 MON#5",
        "0 0 30-31 2 */2",
        "0 8 * * *\n",
        "0 8\n* * *",
        "0 8 * * *\x00",
        "\x000 8 * * *",
        "\ud800 * * * *",
        "٣ * * * *",
        "0\u00a08 * * *",
        "ß * * * *",
        "²L * * * *",
        "* * * * ²L",
        "0 8 * * * ; rm -rf /",
        "1" * 128,
        "*/99999999999999 * * * *",
        "0 8 * * *" + " " * 120,
        "1," * 100_000 + "1 * * * *",
    ],
)
def test_bad_cron(cron: str) -> None:
    error = refused({"cron": cron})
    assert type(error) is InvalidCron
    assert error.path == "schedule.cron"


@pytest.mark.parametrize("cron", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 */31 2 MON#5"])
def test_a_date_that_never_comes_is_said_to_never_fire(cron: str) -> None:
    assert "never fires" in refused({"cron": cron}).message


@pytest.mark.parametrize(
    "cron",
    [
        "* * * * *",
        "0 8 * * MON-FRI",
        "0 8 * * mon-fri",
        "  0   8\t* * *  ",
        "0 0 30 2 MON",
        "*/60 * * * *",
        "0 */24 * * *",
        "0 0 29 2 *",
        "0 0 L * *",
        "0 0 LW * *",
        "0 0 * * 5L",
        "0 0 * * FRI#5",
        "1-59/2,*/7 0-23/3 1,15 JAN-JUN,12 0-7",
        "@hourly",
        "@daily",
        "@midnight",
        "@weekly",
        "@monthly",
        "@yearly",
        "@annually",
        "@DAILY",
        "30 0 8 * * *",
        ",".join(str(minute) for minute in range(43)) + " * * * *",
    ],
)
def test_good_cron_is_accepted_described_and_fires(cron: str) -> None:
    rule = ScheduleRule(cron=cron, zone="Europe/Rome")
    validate(rule)
    assert describe(rule).endswith("Europe/Rome")
    assert next_fire(rule, ms("2026-01-01T00:00Z"), 0) is not None


@pytest.mark.parametrize(
    ("alias", "cron"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * SUN"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 JAN *"),
    ],
)
def test_aliases_mean_their_expressions(alias: str, cron: str) -> None:
    found = [
        preview(ScheduleRule(cron=each, zone="Asia/Tokyo"), ms("2026-01-01T00:30Z"), 0, 3) for each in (alias, cron)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "zone",
    [
        "",
        " ",
        "Mars/Olympus",
        "America",
        "America/",
        "/etc/passwd",
        "../../etc/passwd",
        "America/../Europe/Rome",
        "UTC+1",
        "+01:00",
        "europe/rome/",
        "Europe/Rome\x00",
        "Europe/Rome\n",
        "Europe\\Rome",
        "localtime",
        "posixrules",
        "Factory",
        "posix/Europe/Rome",
        "right/Europe/Rome",
        "tzdata.zi",
        "zone.tab",
        "\ud800",
        "Европа/Рим",
        "A" * 100_000,
        "Europe/" + "A" * 300,
        "Europe/Rome/" * 50,
    ],
)
def test_bad_zone(zone: str) -> None:
    error = refused({"cron": "0 8 * * *", "zone": zone})
    assert type(error) is InvalidZone
    assert error.path == "schedule.zone"


def test_a_misspelt_zone_is_answered_with_the_right_one() -> None:
    assert "did you mean Europe/Rome?" in refused({"every": "5m", "zone": "Europe/Roma"}).help
    assert "did you mean America/New_York?" in refused({"every": "5m", "zone": "america/new york"}).help


@pytest.mark.parametrize(
    ("fields", "path", "error"),
    [
        ({}, "schedule", InvalidRequest),
        ({"cron": "0 8 * * *", "every": "5m"}, "schedule", InvalidRequest),
        ({"cron": "0 8 * * *", "at": "2026-01-01T00:00:00Z"}, "schedule", InvalidRequest),
        ({"every": "5"}, "schedule.every", InvalidDuration),
        ({"every": "0s"}, "schedule.every", InvalidDuration),
        ({"every": "99ms"}, "schedule.every", InvalidDuration),
        ({"every": "11y"}, "schedule.every", InvalidDuration),
        ({"every": 300}, "schedule.every", InvalidRequest),
        ({"every": "5m", "grace": "soon"}, "schedule.grace", InvalidDuration),
        ({"every": "5m", "grace": "0s", "missed": "none"}, "schedule.grace", InvalidDuration),
        ({"every": "5m", "jitter": "-1s"}, "schedule.jitter", InvalidDuration),
        ({"every": "5m", "gap": "maybe"}, "schedule.gap", InvalidRequest),
        ({"every": "5m", "fold": "last"}, "schedule.fold", InvalidRequest),
        ({"every": "5m", "missed": "some"}, "schedule.missed", InvalidRequest),
        ({"every": "5m", "overlap": "kill"}, "schedule.overlap", InvalidRequest),
        ({"every": "5m", "interval": "drifting"}, "schedule.interval", InvalidRequest),
        ({"every": "5m", "missed_limit": 0}, "schedule.missed_limit", InvalidRequest),
        ({"every": "5m", "missed_limit": 1001}, "schedule.missed_limit", InvalidRequest),
        ({"every": "5m", "missed_limit": True}, "schedule.missed_limit", InvalidRequest),
        ({"every": "5m", "zone": None}, "schedule.zone", InvalidRequest),
        ({"cron": 5}, "schedule.cron", InvalidRequest),
        ({"cron": "0 8 * * *", "interval": "after_completion"}, "schedule.interval", InvalidRequest),
        ({"every": "5m", "starts_at": "2026-01-01T00:00:00"}, "schedule.starts_at", InvalidRequest),
        ({"every": "5m", "ends_at": "tomorrow"}, "schedule.ends_at", InvalidRequest),
        (
            {"every": "5m", "starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"},
            "schedule.ends_at",
            InvalidRequest,
        ),
        (
            {"cron": "0 0 1 1 *", "starts_at": "2026-01-02T00:00:00Z", "ends_at": "2026-12-01T00:00:00Z"},
            "schedule.ends_at",
            InvalidRequest,
        ),
        ({"at": "2026-01-01T00:00:00Z", "ends_at": "2026-01-01T00:00:00Z"}, "schedule.ends_at", InvalidRequest),
    ],
)
def test_bad_fields(fields: dict[str, object], path: str, error: type[RoostError]) -> None:
    found = refused(fields)
    assert type(found) is error
    assert found.path == path


@pytest.mark.parametrize(
    "at",
    [
        "",
        "now",
        "2026",
        "2026-01-01",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00+0100",
        "2026-01-01T00:00:00 Z",
        "20260101T000000Z",
        "2026-W01-1T00:00:00Z",
        "2026-01-01T00Z",
        "2026-01-01T00:00.5Z",
        "2026-01-01T00:00:00.Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "12026-01-01T00:00:00Z",
        "-026-01-01T00:00:00Z",
        "1767225600",
        "2026-01-01T00:00:00Z\n",
        "2026-01-01T00:00:00Z\x00",
        "٢٠٢٦-01-01T00:00:00Z",
        "\ud800",
        "2026-01-01T00:00:00" + "0" * 100_000,
    ],
)
def test_bad_time(at: str) -> None:
    error = refused({"at": at})
    assert type(error) is InvalidRequest
    assert error.path == "schedule.at"


@pytest.mark.parametrize(
    ("at", "zone", "instant"),
    [
        ("2026-03-02T08:00:00Z", "Europe/Rome", "2026-03-02T08:00:00+00:00"),
        ("2026-03-02t08:00:00z", "Europe/Rome", "2026-03-02T08:00:00+00:00"),
        ("2026-03-02T08:00:00+05:30", "Europe/Rome", "2026-03-02T02:30:00+00:00"),
        ("2026-03-02T08:00:00.123456789-00:00", "UTC", "2026-03-02T08:00:00.123+00:00"),
        ("2026-03-02T08:00:00", "Europe/Rome", "2026-03-02T07:00:00+00:00"),
        ("2026-07-02 08:00", "Europe/Rome", "2026-07-02T06:00:00+00:00"),
        ("2026-03-08T02:30:00", "America/New_York", "2026-03-08T07:00:00+00:00"),
        ("2026-11-01T01:30:00", "America/New_York", "2026-11-01T05:30:00+00:00"),
        ("2011-12-30T12:00:00", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
    ],
)
def test_one_shots_fire_at_their_instant(at: str, zone: str, instant: str) -> None:
    rule = ScheduleRule(at=at, zone=zone)
    validate(rule)
    assert preview(rule, 0, 0, 5) == [ms(instant)]
    assert next_fire(rule, ms(instant), 0) is None


def test_a_local_one_shot_follows_gap_and_fold() -> None:
    lost: dict[str, object] = {"at": "2026-03-08T02:30:00", "zone": "America/New_York", "gap": "skip"}
    assert refused(lost).path == "schedule.at"
    twice = ScheduleRule(at="2026-11-01T01:30:00.5", zone="America/New_York", fold="both")
    validate(twice)
    assert preview(twice, 0, 0, 5) == [ms("2026-11-01T05:30:00.500+00:00"), ms("2026-11-01T06:30:00.500+00:00")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"cron": "0 8 * * *", "zone": "Europe/Rome"}, "every day at 08:00 Europe/Rome"),
        ({"cron": "@daily"}, "every day at 00:00 UTC"),
        ({"cron": "*/15 * * * *"}, "every 15th minute of every hour, UTC"),
        ({"cron": "0 8 * * MON-FRI", "zone": "Asia/Tokyo"}, "at 08:00 on Monday through Friday, Asia/Tokyo"),
        ({"every": "90m"}, "every 1h30m"),
        ({"every": "5m", "interval": "after_completion"}, "5m after the last one ends"),
        ({"at": "2026-03-08T07:00:00Z", "zone": "Asia/Tokyo"}, "once at 2026-03-08T07:00:00Z"),
        ({"at": "2026-03-08T07:00", "zone": "Asia/Tokyo"}, "once at 2026-03-08T07:00 Asia/Tokyo"),
    ],
)
def test_description(fields: dict[str, str], words: str) -> None:
    assert describe(ScheduleRule(**fields)) == words  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789*/-,#LWMONSUNJAN @\x00", max_size=24) | st.text(max_size=20))
def test_any_text_is_either_a_schedule_or_one_clear_refusal(text: str) -> None:
    rule = ScheduleRule(cron=text)
    try:
        validate(rule)
    except InvalidCron as error:
        if error.path != "cron":
            raise
        return
    assert describe(rule)
    assert preview(rule, 0, 0, 2)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["*", "0", "7", "1-5", "*/2", "L", "LW", "SUN#2", "5L", "JAN", "MON", "3/2"]),
        min_size=5,
        max_size=6,
    )
)
def test_any_combination_of_fields_is_either_a_schedule_or_one_clear_refusal(fields: list[str]) -> None:
    rule = ScheduleRule(cron=" ".join(fields), zone="Europe/Rome")
    try:
        validate(rule)
    except InvalidCron:
        return
    assert describe(rule)
    assert preview(rule, 0, 0, 2)


def test_the_stored_form_has_only_what_differs_and_refuses_unknown_fields() -> None:
    rule = ScheduleRule(cron="0 8 * * *", zone="Europe/Rome")
    stored = msgspec.json.encode(rule)
    assert stored == b'{"cron":"0 8 * * *","zone":"Europe/Rome"}'
    assert msgspec.json.decode(stored, type=ScheduleRule) == rule
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"crontab":"0 8 * * *"}', type=ScheduleRule)
