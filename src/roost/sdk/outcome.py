"""What a handler raises to end its attempt otherwise than by success or failure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from roost.domain.duration import format_duration, to_milliseconds

DurationLike = str | int | float | timedelta
"""A duration as Python callers write it: ``"5m"``, seconds, or a `timedelta`."""


def duration_text(value: DurationLike, path: str) -> str:
    """The API's text for ``value``; raises `InvalidDuration` with ``path``."""
    return format_duration(to_milliseconds(value, path=path))


class AttemptEnding(Exception):
    """The base of what a handler may raise on purpose; anything else that it raises is a failure."""


class Snooze(AttemptEnding):
    """Run the job again after ``duration``; this attempt does not count as a failure."""

    def __init__(self, duration: DurationLike) -> None:
        self.after = duration_text(duration, "duration")
        super().__init__(f"snoozed for {self.after}")


class Cancel(AttemptEnding):
    """Cancel the job; ``why`` is kept with it."""

    def __init__(self, why: str = "") -> None:
        self.why = why
        super().__init__(why)


class Retry(AttemptEnding):
    """Fail this attempt and try again after ``after`` (where None: after the retry rule's delay)."""

    def __init__(self, why: str = "", *, after: DurationLike | None = None) -> None:
        self.why = why
        self.after = None if after is None else duration_text(after, "after")
        super().__init__(why)


class Fatal(AttemptEnding):
    """Fail the job for good, whatever its retry rule says."""

    def __init__(self, why: str = "") -> None:
        self.why = why
        super().__init__(why)


class Exit(AttemptEnding):
    """Succeed with ``result`` and leave the chain: the jobs behind this one are not needed. Raised, or returned."""

    def __init__(self, result: Any = None) -> None:
        self.result = result
        super().__init__("the rest of the chain is not needed")
