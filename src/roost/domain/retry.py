"""When to try again after a failure."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from roost.domain.duration import parse_duration
from roost.domain.shapes import at, check_shape
from roost.errors import InvalidRequest

MOST_RETRIES = 10_000

_DOUBLINGS = 64
"""2 to the 64th milliseconds is beyond every cap, so that more doublings change nothing."""


class RetryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How often a failed job is tried again, and how long it waits before each try.

    After failure n the delay is ``base`` (fixed), ``base * n`` (linear) or ``base * 2 ** (n - 1)`` (exponential), never
    more than ``cap``, then spread by ``jitter`` (0.2 is plus or minus 20 %). ``base`` and ``cap`` are durations.
    """

    retries: int = 5
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    base: str = "5s"
    cap: str = "10m"
    jitter: float = 0.2


def validate(rule: RetryRule, path: str = "") -> None:
    """Refuse a rule that cannot be meant.

    Raises `InvalidDuration` for a base or cap that is no duration, `InvalidRequest` for any other field.
    """
    check_shape(rule, path)
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
