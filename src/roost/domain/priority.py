"""Priorities: 0 to 9, where 9 goes first, and the three that have names."""

from __future__ import annotations

from typing import Literal

PRIORITIES: dict[str, int] = {"low": 2, "normal": 5, "high": 8}
NORMAL = 5

Named = Literal["low", "normal", "high"]


def number(priority: int | str | None, default: int | str | None = None) -> int:
    """The number of a priority that was checked before; ``default`` (or normal) for None."""
    if priority is None:
        return NORMAL if default is None else number(default)
    return PRIORITIES[priority] if isinstance(priority, str) else priority
