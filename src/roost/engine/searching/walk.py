"""The walk of a search: candidates in portions, what is left to check on each portion, and a bound on both.

A search never costs more than its bound, whatever it looks for: it answers with what it found until then, says how far
it looked, and a cursor goes on from there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator

import msgspec

from roost.domain.query import Query, SortKey, Term
from roost.engine.searching.conditions import Condition, condition
from roost.engine.searching.dialects import Dialect, Queries
from roost.engine.searching.sources import Range, Sort, Source, bounds, narrowest, sources
from roost.engine.work.texts import pack
from roost.errors import InvalidCursor

ROWS_LIMIT = 50_000
"""Candidates one search looks at."""
SECONDS_LIMIT = 1.0
"""After this long no further portion is begun."""
SMALLEST, LARGEST = 200, 5_000
"""Candidates of a portion: few at first, more where little is found."""
COUNT_LIMIT = 10_000
_PARAMETER = re.compile(r":(?!low\b|high\b)([a-z_]\w*)")
"""Of a range; the bounds are all ranges' own."""

Place = tuple[int, int]
"""(key, id) of a candidate; the key is 0 where the order is by ids alone."""


class Plan(msgspec.Struct, frozen=True):
    """How a query is answered."""

    query: Query
    sort: Sort
    source: Source
    low: int
    high: int
    rest: tuple[Term, ...]
    """What is checked on each candidate."""

    @property
    def scan(self) -> bool:
        """Whether rows are looked at that no index chose."""
        return self.source.scan and any(term.field != "created" for term in self.rest)


class Looked(msgspec.Struct):
    """How far a search went."""

    rows: int = 0
    complete: bool = True
    last: Place | None = None
    """Where to go on; None at the end."""


class Bound(msgspec.Struct):
    """What a search may cost."""

    elapsed: Callable[[], float]
    """Seconds on a clock that does not jump."""
    rows: int = ROWS_LIMIT
    seconds: float = SECONDS_LIMIT


def plan(query: Query, sort: Sort, queries: Queries, indexed: set[tuple[str, str]]) -> Plan:
    """The way to answer ``query`` that reads least."""
    source = narrowest(sources(query, sort, queries, indexed), queries)
    low, high, by_id = bounds(query, queries) if sort.key == "created" else (0, 2**62, ())
    answered = (*source.answered, *by_id)
    rest = tuple(term for term in query.terms if not any(term is one for one in answered))
    return Plan(query, sort, source, low, high, rest)


def walk(
    plan: Plan, queries: Queries, after: Place | None, bound: Bound, looked: Looked, first: int
) -> Iterator[Place]:
    """The places of matching jobs after ``after``, in order; ``first`` is how many are wanted at first.

    What was looked at is told in ``looked`` as it goes on: ``last`` is the place of what was given last, or where the
    bound ended it.
    """
    began = bound.elapsed()
    check = condition(list(plan.rest), plan.query, queries.dialect) if plan.rest else None
    portion = max(SMALLEST, 2 * first) if check else first
    while True:
        portion = min(portion, LARGEST, max(1, bound.rows - looked.rows))
        candidates = _portion(plan, queries, after, portion)
        matching = _matching([id for _, id in candidates], check, queries)
        for place in candidates:
            looked.rows += 1
            if place[1] in matching:
                looked.last = place
                yield place
        if len(candidates) < portion:
            looked.last = None
            return
        after = looked.last = candidates[-1]
        spent = bound.elapsed() - began
        if looked.rows >= bound.rows or spent > bound.seconds:
            looked.complete = False
            return
        portion *= 4
        if spent > 0:
            # No larger than what the time that is left is enough for: some terms cost a hundred times others.
            portion = min(portion, max(SMALLEST, int(looked.rows / spent * (bound.seconds - spent))))


def _matching(ids: list[int], check: Condition | None, queries: Queries) -> set[int]:
    if check is None or not ids:
        return set(ids)
    sql = f"SELECT j.id {queries.dialect.job_rows()} {check.joined} WHERE {check.sql}"
    return {id for (id,) in queries.query(sql, check.parameters | {"ids": pack(ids)})}


def matching(query: Query, ids: list[int], queries: Queries) -> set[int]:
    """Those of ``ids`` that match ``query`` as they are now."""
    return _matching(ids, condition(list(query.terms), query, queries.dialect), queries)


def _portion(plan: Plan, queries: Queries, after: Place | None, limit: int) -> list[Place]:
    sql, parameters = statement(plan, after, limit, queries.dialect)
    return [(key, id) for key, id in queries.query(sql, parameters)] if sql else []


def statement(plan: Plan, after: Place | None, limit: int, dialect: Dialect) -> tuple[str, dict[str, object]]:
    """The statement of a portion of candidates; empty where there is nowhere to look."""
    parameters: dict[str, object] = {"portion": limit}
    low, high = plan.low, plan.high
    by_key = bool(plan.source.key)
    if by_key:
        if after is not None:
            parameters |= {"after_key": after[0], "after_id": after[1]}
    else:
        if after is not None:
            low, high = (low, min(high, after[1] - 1)) if plan.sort.descending else (max(low, after[1] + 1), high)
        parameters |= {"low": low, "high": high}
    # The highest priority has the smallest rank: first is who is claimed first.
    direction = "DESC" if plan.sort.descending != (plan.sort.key == "priority") else "ASC"
    parts = []
    for place, piece in enumerate(plan.source.ranges):
        parts.append(_part(piece, plan, after, f"r{place}_", direction, dialect))
        parameters |= {f"r{place}_{name}": value for name, value in piece.parameters.items()}
    if not parts:
        return "", {}
    order = f"ORDER BY k {direction}, id {direction}" if by_key else f"ORDER BY id {direction}"
    if len(parts) == 1:
        return parts[0], parameters
    union = " UNION ALL ".join(f"SELECT * FROM ({part}) u{place}" for place, part in enumerate(parts))  # noqa: S608
    return f"SELECT k, id FROM ({union}) c {order} LIMIT :portion", parameters  # noqa: S608


def _part(piece: Range, plan: Plan, after: Place | None, prefix: str, direction: str, dialect: Dialect) -> str:
    key = plan.source.key
    if not key:
        rest = _PARAMETER.sub(lambda found: f":{prefix}{found[1]}", piece.ordered(dialect, direction))
        return f"SELECT 0 AS k, {piece.id} AS id FROM {rest} LIMIT :portion"  # noqa: S608 - words of ours alone
    condition = _PARAMETER.sub(lambda found: f":{prefix}{found[1]}", piece.condition)
    go_on = ""
    if after is not None:
        beyond = "<" if direction == "DESC" else ">"
        go_on = f" AND {key} {beyond}= :after_key AND ({key} {beyond} :after_key OR {piece.id} {beyond} :after_id)"
    return (
        f"SELECT {key} AS k, {piece.id} AS id FROM {piece.table} WHERE {condition}{go_on} "  # noqa: S608
        f"ORDER BY {key} {direction}, {piece.id} {direction} LIMIT :portion"
    )


# --- cursors ----------------------------------------------------------------------------------------------------------


class _Cursor(msgspec.Struct, array_like=True):
    digest: str
    now: int
    key: int
    id: int


def write_cursor(text: str, sort: SortKey, descending: bool, now: int, place: Place) -> str:
    """Where a page ended, for the same query only; the moment its relative times count from goes with it."""
    data = msgspec.json.encode(_Cursor(_digest(text, sort, descending), now, *place))
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def read_cursor(cursor: str, text: str, sort: SortKey, descending: bool) -> tuple[int, Place]:
    """The moment and the place; raises `InvalidCursor`."""
    try:
        if len(cursor) > 200:
            raise ValueError("too long")
        found = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=_Cursor)
        if not all(abs(number) < 2**62 for number in (found.now, found.key, found.id)) or found.now < 0:
            raise ValueError("out of range")
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise InvalidCursor(
            "the cursor is not one of this list", path="cursor", help="start without a cursor"
        ) from None
    if found.digest != _digest(text, sort, descending):
        raise InvalidCursor("the cursor is another query's", path="cursor", help="start without a cursor")
    return found.now, (found.key, found.id)


def _digest(text: str, sort: SortKey, descending: bool) -> str:
    return hashlib.sha256(f"{sort}\n{descending}\n{text}".encode()).hexdigest()[:12]
