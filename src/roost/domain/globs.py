"""Patterns for names: ``*`` stands for any text without ``.`` and ``/``, ``**`` for any text at all.

The whole name must match, case counts, and nothing else is special. Matching takes time in proportion to pattern times
name, whatever the pattern.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import msgspec

Glob = Annotated[
    str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._:/*-]+$", description='such as "mail.*"')
]

_SEPARATORS = "./"


def matches_any(patterns: Sequence[str], name: str) -> bool:
    """Whether one of ``patterns`` matches ``name``."""
    return any(matches(pattern, name) for pattern in patterns)


@lru_cache(maxsize=4096)
def matches(pattern: str, name: str) -> bool:
    """Whether ``pattern`` matches all of ``name``."""
    parts = _parts(pattern)
    # The places in the pattern that may be reached with what was read so far.
    reached = _skip({0}, parts)
    for character in name:
        following = set()
        for place in reached:
            if place == len(parts):
                continue
            part = parts[place]
            if part == "**" or (part == "*" and character not in _SEPARATORS):
                following.add(place)
            elif part == character:
                following.add(place + 1)
        reached = _skip(following, parts)
    return len(parts) in reached


def _skip(reached: set[int], parts: list[str]) -> set[int]:
    """Stars may stand for nothing."""
    found = set(reached)
    for place in sorted(reached):
        while place < len(parts) and parts[place][0] == "*":
            place += 1
            found.add(place)
    return found


def _parts(pattern: str) -> list[str]:
    parts: list[str] = []
    place = 0
    while place < len(pattern):
        if pattern[place] == "*":
            stars = len(pattern[place:]) - len(pattern[place:].lstrip("*"))
            parts.append("**" if stars > 1 else "*")
            place += stars
        else:
            parts.append(pattern[place])
            place += 1
    return parts
