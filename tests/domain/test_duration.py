from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.domain.duration import LONGEST_MS, format_duration, parse_duration, to_milliseconds
from roost.errors import InvalidDuration


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("2h", 7_200_000),
        ("7d", 604_800_000),
        ("1w", 604_800_000),
        ("1h30m", 5_400_000),
        ("1w2d3h4m5s6ms", 788_645_006),
        ("90m", 5_400_000),
        ("0s", 0),
        ("007s", 7_000),
        ("3653d", LONGEST_MS),
    ],
)
def test_text_is_read_as_milliseconds(text: str, ms: int) -> None:
    assert parse_duration(text) == ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "5",
        "0",
        "-5s",
        "+5s",
        "5 s",
        " 5s",
        "5s ",
        "5s\n",
        "1.5h",
        "5S",
        "5M",
        "5sec",
        "s",
        "ms",
        "1m1h",
        "1s1s",
        "1h-5m",
        "1e3s",
        "1_000s",
        "٣s",
        "5s\x00",
        "\ud800",
        "nan",
        "inf",
        "P1D",
        "PT5M",
        "1y",
        "3654d",
        "522w",
        "9" * 60 + "s",
        "9" * 100_000 + "s",
        "1s" * 1000,
    ],
)
def test_anything_else_is_refused_with_path_and_help(text: str) -> None:
    with pytest.raises(InvalidDuration) as refusal:
        parse_duration(text, path="jobs[0].delay")
    assert refusal.value.path == "jobs[0].delay"
    assert "30s" in refusal.value.help
    assert str(refusal.value).isascii()
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("value", [5, 5.0, None, True, b"5s", ["5s"]])
def test_a_number_without_a_unit_is_no_duration(value: object) -> None:
    with pytest.raises(InvalidDuration):
        parse_duration(value)  # type: ignore[arg-type]


@given(st.integers(0, LONGEST_MS))
def test_what_is_written_is_read_back(ms: int) -> None:
    assert parse_duration(format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0s"),
        (1, "1ms"),
        (1500, "1s500ms"),
        (60_000, "1m"),
        (5_400_000, "1h30m"),
        (604_800_000, "1w"),
        (30 * 86_400_000, "30d"),
        (LONGEST_MS, "3653d"),
    ],
)
def test_the_written_form_is_short(ms: int, text: str) -> None:
    assert format_duration(ms) == text


@pytest.mark.parametrize("ms", [-1, LONGEST_MS + 1])
def test_what_could_not_be_read_back_is_not_written(ms: int) -> None:
    with pytest.raises(InvalidDuration):
        format_duration(ms)


@pytest.mark.parametrize(
    ("value", "ms"),
    [
        ("1h30m", 5_400_000),
        (2, 2_000),
        (0, 0),
        (1.5, 1_500),
        (0.0004, 0),
        (0.0006, 1),
        (timedelta(hours=2), 7_200_000),
        (timedelta(microseconds=1_500), 2),
        (timedelta(days=3653), LONGEST_MS),
        (-0.0, 0),
    ],
)
def test_python_values_are_seconds(value: str | int | float | timedelta, ms: int) -> None:
    assert to_milliseconds(value) == ms


@pytest.mark.parametrize(
    "value",
    [
        -1,
        -0.0001,
        float("nan"),
        float("inf"),
        float("-inf"),
        1e300,
        10**400,
        timedelta(seconds=-1),
        timedelta(days=3654),
        timedelta.max,
        timedelta.min,
        True,
        None,
        b"5s",
        "5",
    ],
)
def test_python_values_without_a_meaning_are_refused(value: object) -> None:
    with pytest.raises(InvalidDuration) as refusal:
        to_milliseconds(value, path="delay")  # type: ignore[arg-type]
    assert refusal.value.path == "delay"


@given(st.floats(0, 3653 * 86_400))
def test_seconds_are_rounded_to_the_nearest_millisecond(seconds: float) -> None:
    assert abs(to_milliseconds(seconds) - seconds * 1000) <= 0.5001
