from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.domain.duration import LONGEST_MS, format_duration, parse_duration
from roost.domain.retry import (
    MOST_ERROR_RULES,
    MOST_RETRIES,
    ErrorRule,
    RetryRule,
    delay_ms,
    rule_for,
    validate,
)
from roost.errors import InvalidDuration, InvalidRequest

pytestmark = pytest.mark.feature("retries")

PLAIN = 0.5
"""The random value that leaves a delay as it is."""


def delays(rule: RetryRule, count: int) -> list[int]:
    return [delay_ms(rule, failures, PLAIN) for failures in range(1, count + 1)]


def test_fixed_waits_the_same_each_time() -> None:
    assert delays(RetryRule(backoff="fixed", base="5s"), 4) == [5000] * 4


def test_linear_grows_by_base_up_to_cap() -> None:
    assert delays(RetryRule(backoff="linear", base="5s", cap="12s"), 4) == [5000, 10_000, 12_000, 12_000]


def test_exponential_doubles_up_to_cap() -> None:
    assert delays(RetryRule(base="5s", cap="1m"), 6) == [5000, 10_000, 20_000, 40_000, 60_000, 60_000]


def test_jitter_spreads_evenly_around_the_delay() -> None:
    rule = RetryRule(backoff="fixed", base="10s", jitter=0.2)
    assert [delay_ms(rule, 1, value) for value in (0.0, 0.25, 0.5, 0.75)] == [8000, 9000, 10_000, 11_000]
    assert 11_990 <= delay_ms(rule, 1, 0.9999) <= 12_000


def test_jitter_never_passes_the_cap() -> None:
    assert delay_ms(RetryRule(backoff="fixed", base="10s", cap="10s", jitter=1.0), 1, 0.99) == 10_000


@pytest.mark.parametrize("backoff", ["fixed", "linear", "exponential"])
def test_a_million_failures_overflow_nothing(backoff: str) -> None:
    rule = RetryRule(backoff=backoff, base="1h", cap="3653d", jitter=0.0)  # type: ignore[arg-type]
    assert delay_ms(rule, 10**6, PLAIN) == {"fixed": 3_600_000}.get(backoff, LONGEST_MS)


def test_a_zero_base_retries_at_once() -> None:
    assert delay_ms(RetryRule(base="0s"), 1000, 0.9) == 0


@given(
    backoff=st.sampled_from(["fixed", "linear", "exponential"]),
    base=st.integers(0, LONGEST_MS),
    cap=st.integers(0, LONGEST_MS),
    jitter=st.floats(0, 1),
    failures=st.integers(1, 10**6),
    rng_value=st.floats(0, 1, exclude_max=True),
)
def test_every_delay_stays_within_its_bounds(
    backoff: str, base: int, cap: int, jitter: float, failures: int, rng_value: float
) -> None:
    base, cap = min(base, cap), max(base, cap)
    rule = RetryRule(
        backoff=backoff,  # type: ignore[arg-type]
        base=format_duration(base),
        cap=format_duration(cap),
        jitter=jitter,
    )
    validate(rule)
    plain = delay_ms(rule, failures, PLAIN)
    delay = delay_ms(rule, failures, rng_value)
    assert 0 <= delay <= cap
    assert abs(delay - plain) <= plain * jitter + 1
    assert plain <= delay_ms(rule, failures + 1, PLAIN)


@pytest.mark.parametrize("failures", [0, -1])
def test_a_delay_needs_a_failure(failures: int) -> None:
    with pytest.raises(ValueError, match="counts from 1"):
        delay_ms(RetryRule(), failures, PLAIN)


@pytest.mark.parametrize(
    ("fields", "path", "error"),
    [
        ({"retries": -1}, "retry.retries", InvalidRequest),
        ({"retries": MOST_RETRIES + 1}, "retry.retries", InvalidRequest),
        ({"retries": True}, "retry.retries", InvalidRequest),
        ({"retries": "5"}, "retry.retries", InvalidRequest),
        ({"backoff": "quadratic"}, "retry.backoff", InvalidRequest),
        ({"base": "5"}, "retry.base", InvalidDuration),
        ({"base": 5}, "retry.base", InvalidRequest),
        ({"cap": "forever"}, "retry.cap", InvalidDuration),
        ({"base": "1h"}, "retry.base", InvalidRequest),
        ({"jitter": -0.1}, "retry.jitter", InvalidRequest),
        ({"jitter": 1.1}, "retry.jitter", InvalidRequest),
        ({"jitter": float("nan")}, "retry.jitter", InvalidRequest),
        ({"jitter": float("inf")}, "retry.jitter", InvalidRequest),
        ({"jitter": object()}, "retry", InvalidRequest),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(
    fields: dict[str, object], path: str, error: type[InvalidRequest]
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        validate(RetryRule(**fields), "retry")  # type: ignore[arg-type]
    assert type(refusal.value) is error
    assert refusal.value.path == path
    assert refusal.value.help


def test_the_stored_form_has_only_what_differs_and_refuses_unknown_fields() -> None:
    assert msgspec.json.encode(RetryRule(retries=3)) == b'{"retries":3}'
    assert msgspec.json.decode(b'{"retries":3}', type=RetryRule) == RetryRule(retries=3)
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"tries":3}', type=RetryRule)


def test_the_defaults_are_valid() -> None:
    validate(RetryRule())
    assert parse_duration(RetryRule().cap) == 600_000


def fails(kind: str, *bases: str) -> str:
    return msgspec.json.encode({"type": kind, "message": "m", "traceback": "", "bases": bases}).decode()


RULES = RetryRule(
    retries=5,
    base="5s",
    errors=(
        ErrorRule(types=("app.mail.Bounced", "KeyError"), retries=0),
        ErrorRule(types=("app.*.Slow", "OSError"), backoff="fixed", base="1h"),
        ErrorRule(types=("**",), jitter=0.0),
    ),
)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (fails("app.mail.Bounced"), {"retries": 0, "jitter": 0.2}),
        (fails("app.Missing", "KeyError", "LookupError"), {"retries": 0}),
        (fails("app.web.Slow"), {"retries": 5, "backoff": "fixed", "base": "1h", "cap": "1h"}),
        (fails("app.web.deep.Slow"), {"base": "5s", "jitter": 0.0}),
        (fails("ConnectionResetError", "ConnectionError", "OSError"), {"backoff": "fixed"}),
        (fails("bounced"), {"retries": 5, "base": "5s", "cap": "10m", "jitter": 0.0}),
        (fails(""), {"jitter": 0.0}),
        (None, {"jitter": 0.2}),
    ],
)
def test_the_first_error_rule_that_fits_is_used_instead(error: str | None, expected: dict[str, object]) -> None:
    rule = rule_for(RULES, error)
    assert {field: getattr(rule, field) for field in expected} == expected


def test_a_rule_without_errors_reads_no_error() -> None:
    rule = RetryRule()
    assert rule_for(rule, "this is no JSON") is rule


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"types": ()}, "retry.errors[1].types"),
        ({"types": ("a b",)}, "retry.errors[1].types[0]"),
        ({"types": ("x" * 201,)}, "retry.errors[1].types[0]"),
        ({"types": "KeyError"}, "retry.errors[1].types"),
        ({"retries": -1}, "retry.errors[1].retries"),
        ({"base": "soon"}, "retry.errors[1].base"),
        ({"base": "1h", "cap": "1m"}, "retry.errors[1].base"),
        ({"cap": "1s"}, "retry.errors[1].base"),
        ({"jitter": 2.0}, "retry.errors[1].jitter"),
    ],
)
def test_an_error_rule_that_cannot_be_meant_is_refused(fields: dict[str, object], path: str) -> None:
    rule = RetryRule(errors=(ErrorRule(types=("**",)), ErrorRule(**{"types": ("*",), **fields})))  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest) as refusal:
        validate(rule, "retry")
    assert refusal.value.path == path


def test_there_is_an_end_to_error_rules() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        validate(RetryRule(errors=(ErrorRule(types=("*",)),) * (MOST_ERROR_RULES + 1)), "retry")
    assert refusal.value.path == "retry.errors"
