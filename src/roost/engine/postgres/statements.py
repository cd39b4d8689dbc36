"""The catalogue's ``:name`` parameters as psycopg writes them, and as the server does."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple

from roost.engine import catalogue

# What can hold a colon or a percent sign that is none of ours comes first.
_TOKENS = re.compile(
    r"""
      (?P<kept>'(?:[^']|'')*' | "(?:[^"]|"")*" | ::)
    | :(?P<parameter>[A-Za-z_]\w*)
    | (?P<percent>%)
    """,
    re.VERBOSE,
)
_LOCKS = re.compile(r"\s+FOR (?:NO KEY )?UPDATE(?: OF \w+)?(?: SKIP LOCKED)?")


def _token(match: re.Match[str]) -> str:
    if match["parameter"]:
        return f"%({match['parameter']})s"
    return match[0].replace("%", "%%")


@lru_cache(512)
def translate(sql: str) -> str:
    """``sql`` with ``%(name)s`` for ``:name``; literals and casts stay as they are."""
    return _TOKENS.sub(_token, sql)


class Numbered(NamedTuple):
    """A statement with ``$1``, ``$2`` … for its parameters, and their names in that order."""

    sql: bytes
    names: tuple[str, ...]


@lru_cache(512)
def numbered(sql: str) -> Numbered:
    """``sql`` with numbers for names; a name that stands in it twice has one number."""
    places: dict[str, int] = {}

    def token(match: re.Match[str]) -> str:
        name = match["parameter"]
        return f"${places.setdefault(name, len(places) + 1)}" if name else match[0]

    text = _TOKENS.sub(token, sql)
    return Numbered(text.encode(), tuple(places))


@cache
def writing() -> dict[str, Numbered]:
    """Every statement by name, for transactions that write."""
    return {name: numbered(sql) for name, sql in catalogue.load("roost.engine.postgres").items()}


@cache
def reading() -> dict[str, str]:
    """Every statement by name, without its row locks: a reader waits for nobody."""
    return {name: _LOCKS.sub("", translate(sql)) for name, sql in catalogue.load("roost.engine.postgres").items()}
