"""Times and durations as a query writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from roost.domain.duration import parse_duration
from roost.errors import InvalidDuration, InvalidQuery

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
_HELP = "write 24h (ago), +1h (from now), 2026-11-21 (a day, UTC) or 2026-11-21T09:00+01:00"


def duration(word: str) -> int:
    """Milliseconds of ``30s`` or ``1h30m``; raises `InvalidDuration`."""
    return parse_duration(word)


def moment(word: str, now: int, position: int) -> tuple[int, int | None, bool]:
    """The instant in milliseconds, the end of its day where it is a day, and whether it is relative.

    Raises `InvalidQuery`.
    """
    try:
        if _DAY.fullmatch(word):
            day = datetime.fromisoformat(word).replace(tzinfo=UTC)
            return _milliseconds(day), _milliseconds(day + timedelta(days=1)), False
        if _INSTANT.fullmatch(word):
            return _milliseconds(datetime.fromisoformat(word)), None, False
        if word.startswith("+"):
            return now + parse_duration(word[1:]), None, True
        return now - parse_duration(word), None, True
    except (ValueError, OverflowError, InvalidDuration):
        raise InvalidQuery(
            f"{word[:40]!a} is not a time (character {position + 1})", position=position, help=_HELP
        ) from None


def _milliseconds(at: datetime) -> int:
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1))
