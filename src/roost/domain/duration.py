"""Durations: text such as ``30s`` or ``1h30m`` outside, whole milliseconds inside."""

from __future__ import annotations

import math
import re
from datetime import timedelta

from roost.errors import InvalidDuration

UNITS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
"""Milliseconds per unit, largest first: the only order in which they may be written."""

LONGEST_MS = 3653 * UNITS["d"]
"""Ten years, three leap days included: far beyond any real wait, far below any integer column's end."""

_HELP = "write whole numbers with units, largest first: 500ms, 30s, 5m, 1h30m, 7d, 2w; at most ten years"
_LONGEST_TEXT = 64
_PATTERN = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in UNITS))


def parse_duration(text: str, *, path: str = "") -> int:
    """Read a duration such as ``500ms``, ``30s``, ``1h30m`` or ``7d`` as milliseconds.

    Units are w, d, h, m, s and ms, each at most once, largest first, with whole numbers. A number without a unit is
    refused: nobody should have to guess whether ``30`` is seconds or milliseconds.

    Raises `InvalidDuration` for anything else, and for more than ten years.
    """
    if not isinstance(text, str):
        raise InvalidDuration(f"a duration is text, not {type(text).__name__}", path=path, help=_HELP)
    found = _PATTERN.fullmatch(text) if 0 < len(text) <= _LONGEST_TEXT else None
    if found is None:
        raise InvalidDuration(f"{_shown(text)} is not a duration", path=path, help=_HELP)
    total = sum(int(count) * size for count, size in zip(found.groups(), UNITS.values(), strict=True) if count)
    return _bounded(total, _shown(text), path)


def format_duration(ms: int) -> str:
    """Write milliseconds as a duration that `parse_duration` reads back exactly.

    Each unit takes as much as it can (``1h30m``, never ``90m``), except that weeks appear only when nothing is left
    over: thirty days are ``30d``, not ``4w2d``.
    """
    _bounded(ms, f"{ms} ms", "")
    if ms == 0:
        return "0s"
    if ms % UNITS["w"] == 0:
        return f"{ms // UNITS['w']}w"
    parts = []
    for unit, size in UNITS.items():
        if unit == "w":
            continue
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def to_milliseconds(value: str | int | float | timedelta, *, path: str = "") -> int:
    """Read what a Python caller may pass as a duration: text, a number of seconds, or a `timedelta`.

    Fractions are rounded to the nearest millisecond. Raises `InvalidDuration` for negative values, NaN, infinity, more
    than ten years, and any other type (`bool` included).
    """
    if isinstance(value, str):
        return parse_duration(value, path=path)
    if isinstance(value, timedelta):
        microseconds = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
        return _bounded((microseconds + 500) // 1000, str(value), path)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidDuration(f"a duration cannot be a {type(value).__name__}", path=path, help=_HELP)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidDuration(f"{value} is not a duration", path=path, help=_HELP)
        # Refused before rounding, which would turn -0.0001 into an innocent zero.
        if value < 0:
            raise InvalidDuration("a duration cannot be negative", path=path, help=_HELP)
        return _bounded(round(value * 1000), f"{value} seconds", path)
    return _bounded(value * 1000, "the number of seconds", path)


def _bounded(ms: int, shown: str, path: str) -> int:
    if ms < 0:
        raise InvalidDuration("a duration cannot be negative", path=path, help=_HELP)
    if ms > LONGEST_MS:
        raise InvalidDuration(f"{shown} is longer than ten years", path=path, help=_HELP)
    return ms


def _shown(text: str) -> str:
    """Quote at most forty characters in ASCII, so that no message can carry a lone surrogate or a control character."""
    return ascii(text if len(text) <= 40 else text[:40] + "...")
