"""When to try again after a failure."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from roost.domain.duration import parse_duration
from roost.domain.globs import matches
from roost.domain.shapes import at, check_shape
from roost.errors import InvalidRequest

MOST_RETRIES = 10_000
MOST_ERROR_RULES = 16

_DOUBLINGS = 64
"""2 to the 64th milliseconds is beyond every cap, so that more doublings change nothing."""


Backoff = Literal["fixed", "linear", "exponential"]
ErrorName = Annotated[
    str,
    msgspec.Meta(
        min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._:/*<>-]+$", description='such as "app.mail.*", "KeyError"'
    ),
]


class ErrorRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is different for errors of some types; what is None stays as the rule around it says.

    ``types`` are patterns for an error's type or one of its bases, as the attempt tells them (``app.mail.Bounced``, and
    ``ValueError`` for what is built in): ``*`` stands for any text without a dot, ``**`` for any text. ``retries``
    counts all failures of the job, whatever their errors were; 0 means that this one is the last. A ``base`` beyond
    the cap, given without a ``cap`` of its own, is the cap too.
    """

    types: Annotated[tuple[ErrorName, ...], msgspec.Meta(min_length=1, max_length=16)]
    retries: int | None = None
    backoff: Backoff | None = None
    base: str | None = None
    cap: str | None = None
    jitter: float | None = None


class RetryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often a failed job is tried again, and how long it waits before each try.

    After failure n the delay is ``base`` (fixed), ``base * n`` (linear) or ``base * 2 ** (n - 1)`` (exponential), never
    more than ``cap``, then spread by ``jitter`` (0.2 is plus or minus 20 %). ``base`` and ``cap`` are durations. Of
    ``errors`` the first that fits an error is used instead.
    """

    retries: int = 5
    backoff: Backoff = "exponential"
    base: str = "5s"
    cap: str = "10m"
    jitter: float = 0.2
    errors: Annotated[tuple[ErrorRule, ...], msgspec.Meta(max_length=MOST_ERROR_RULES)] = ()


def validate(rule: RetryRule, path: str = "") -> None:
    """Refuse a rule that cannot be meant.

    Raises `InvalidDuration` for a base or cap that is no duration, `InvalidRequest` for any other field.
    """
    check_shape(rule, path)
    _check_values(rule, path)
    for index, one in enumerate(rule.errors):
        place = at(path, f"errors[{index}]")
        for field, text in (("base", one.base), ("cap", one.cap)):
            if text is not None:
                parse_duration(text, path=at(place, field))
        _check_values(_instead(rule, one), place)


def _check_values(rule: RetryRule, path: str) -> None:
    if not 0 <= rule.retries <= MOST_RETRIES:
        raise InvalidRequest(
            f"retries must be from 0 to {MOST_RETRIES}", path=at(path, "retries"), help="0 means one attempt, no retry"
        )
    if not (math.isfinite(rule.jitter) and 0 <= rule.jitter <= 1):
        raise InvalidRequest(
            "jitter must be from 0 to 1", path=at(path, "jitter"), help="0.2 spreads by plus or minus 20 %"
        )
    base_ms = parse_duration(rule.base, path=at(path, "base"))
    cap_ms = parse_duration(rule.cap, path=at(path, "cap"))
    # A base above the cap would quietly wait less than was asked for.
    if base_ms > cap_ms:
        raise InvalidRequest(
            f"base {rule.base} is above cap {rule.cap}", path=at(path, "base"), help="raise cap to at least base"
        )


class _Error(msgspec.Struct):
    """What the rules look at of an attempt's error."""

    type: str = ""
    bases: list[str] = []


_errors = msgspec.json.Decoder(_Error)


def rule_for(rule: RetryRule, error: str | None) -> RetryRule:
    """The rule as it is for ``error``, the JSON text of what the attempt failed with."""
    if not rule.errors or error is None:
        return rule
    told = _errors.decode(error)
    for one in rule.errors:
        if any(matches(pattern, name) for pattern in one.types for name in (told.type, *told.bases)):
            return _instead(rule, one)
    return rule


@lru_cache(maxsize=1024)
def _instead(rule: RetryRule, one: ErrorRule) -> RetryRule:
    """``rule`` with what ``one`` says."""
    cap = one.cap or rule.cap
    if one.base is not None and one.cap is None and parse_duration(one.base) > parse_duration(rule.cap):
        cap = one.base
    return RetryRule(
        retries=rule.retries if one.retries is None else one.retries,
        backoff=one.backoff or rule.backoff,
        base=one.base or rule.base,
        cap=cap,
        jitter=rule.jitter if one.jitter is None else one.jitter,
    )


def delay_ms(rule: RetryRule, failures: int, rng_value: float) -> int:
    """Milliseconds to wait after failure number ``failures`` (1 for the first).

    ``rng_value`` is a random number in [0, 1): 0 gives the shortest delay that jitter allows, 0.5 the plain one. The
    answer is never negative and never above the cap. Raises `ValueError` when ``failures`` is below 1.
    """
    if failures < 1:
        raise ValueError("failures counts from 1")
    cap = parse_duration(rule.cap)
    delay = parse_duration(rule.base)
    if rule.backoff == "linear":
        delay *= failures
    elif rule.backoff == "exponential":
        delay <<= min(failures - 1, _DOUBLINGS)
    delay = min(delay, cap)
    spread = rule.jitter * (2 * rng_value - 1)
    return max(0, min(cap, round(delay * (1 + spread))))
