"""Where a search's candidates come from: one index, in the order of the answer, and what is left to check on each.

A source is one or several ranges of one index, each read from where the last page ended. Everything that an index does
not answer is checked on the candidates it gives; only a search with no index at all walks over the jobs by their ids.
"""

from __future__ import annotations

from typing import Any

import msgspec

from roost.domain.indexing import wanted_texts
from roost.domain.query import BARE, Query, SortKey, Term
from roost.domain.states import TERMINAL, State
from roost.engine.searching.dialects import Dialect, Queries
from roost.errors import InvalidQuery

RARE = (State.WAITING, State.HELD, State.FAILED, State.CANCELLED, State.EXPIRED)
"""The states of the index ``job_state``, in its order."""
HIGHEST = 2**62
QUEUES_LIMIT = 32
"""An index over queues is read queue by queue, no more of them than this."""
RANGES_LIMIT = 64
FEW = 10_000
"""So many ready jobs are sorted by their ids, where their ranks are too many to be read one by one."""
SAMPLE = 1000
"""How far sources are counted to find the narrowest."""
CLOCK_MS = 3_600_000
"""Ids follow the clock but for this much: what a clock that is set back may have mixed."""
LONGEST_ID = 16

_READY_QUEUES = """
WITH RECURSIVE q (name) AS (
  SELECT min(queue) FROM job WHERE state = 'ready'
  UNION ALL
  SELECT (SELECT min(queue) FROM job WHERE state = 'ready' AND queue > q.name) FROM q WHERE q.name IS NOT NULL
)
SELECT name FROM q WHERE name IS NOT NULL LIMIT :limit
"""
_FINISHED_QUEUES = """
WITH RECURSIVE q (name) AS (
  SELECT min(queue) FROM job WHERE finished_at IS NOT NULL
  UNION ALL
  SELECT (SELECT min(queue) FROM job WHERE finished_at IS NOT NULL AND queue > q.name) FROM q WHERE q.name IS NOT NULL
)
SELECT name FROM q WHERE name IS NOT NULL LIMIT :limit
"""
_RANKS = """
WITH RECURSIVE r (rank) AS (
  SELECT min(rank) FROM job WHERE state = 'ready' AND queue = :queue
  UNION ALL
  SELECT (SELECT min(rank) FROM job WHERE state = 'ready' AND queue = :queue AND rank > r.rank)
  FROM r WHERE r.rank IS NOT NULL
)
SELECT rank FROM r WHERE rank IS NOT NULL LIMIT :limit
"""


class Sort(msgspec.Struct, frozen=True):
    """An order of the answer."""

    key: SortKey = "created"
    descending: bool = True


class Range(msgspec.Struct, frozen=True):
    """A piece of an index: ``id`` of ``table`` where ``condition`` holds and each of ``equal`` is its parameter.

    The columns of ``equal`` come first in the index, then the id (or the source's key): in that order it is read.
    """

    table: str
    id: str
    condition: str
    parameters: dict[str, object]
    equal: tuple[tuple[str, str], ...] = ()
    """(column, parameter)."""
    index: str = ""
    """Its name, where it has one and the table has others that SQLite might take."""

    def ordered(self, dialect: Dialect, direction: str) -> str:
        """The rest of a statement behind ``FROM``, in the order of the ids; parameters ``:low`` and ``:high``."""
        return dialect.ordered(self.table, self.index, self.condition, self.equal, self.id, direction)


class Source(msgspec.Struct, frozen=True):
    """Ranges of one index that together hold every candidate once."""

    name: str
    ranges: tuple[Range, ...]
    answered: tuple[Term, ...]
    """The terms that need no further check."""
    key: str = ""
    """The column the ranges are ordered by before the id; empty: by the id alone."""
    scan: bool = False
    """It holds all jobs: what is looked for may be far apart."""


def sources(query: Query, sort: Sort, queries: Queries, indexed: set[tuple[str, str]]) -> list[Source]:
    """The sources that could answer; the last one always can. ``indexed`` are the declared (path, kind) in force."""
    if sort.key != "created":
        return [_sorted(query, sort, queries)]
    found = [source for term in query.terms if not term.negated and (source := _of_term(term, query, queries, indexed))]
    return [*found, Source("primary key", (Range("job c", "c.id", "1 = 1", {}),), (), scan=True)]


def narrowest(found: list[Source], queries: Queries) -> Source:
    """The index with the fewest candidates, counted up to `SAMPLE`; the walk over all jobs only where there is none."""
    if len(found) < 3:
        return found[0]
    best, fewest = found[0], SAMPLE * SAMPLE
    for source in found[:-1]:
        size = 0
        for piece in source.ranges:
            sql = f"SELECT count(*) FROM (SELECT 1 FROM {piece.ordered(queries.dialect, 'DESC')} LIMIT :sample) x"  # noqa: S608
            size += queries.query(sql, piece.parameters | {"sample": SAMPLE, "low": 0, "high": HIGHEST})[0][0]
            if size >= fewest:
                break
        if size < fewest:
            best, fewest = source, size
    return best


def _of_term(term: Term, query: Query, queries: Queries, indexed: set[tuple[str, str]]) -> Source | None:
    if term.field == "error" or (term.field in ("type", "fp") and term.values[0].kind == "any"):
        answered = (term,) if term.values[0].kind == "any" else ()
        return Source("job_error", (Range("job_error c", "c.job_id", "1 = 1", {}),), answered)
    exact = term.operator == "=" and all(value.kind in ("text", "number") for value in term.values)
    if not exact:
        return None
    texts = [value.text for value in term.values]
    numbers = [value.number for value in term.values]
    match term.field:
        case "id":
            wanted = sorted({int(number) for number in numbers if number is not None})
            ranges = tuple(Range("job c", "c.id", "c.id = :value", {"value": id}) for id in wanted)
            return Source("primary key", ranges, (term,))
        case field if field == BARE:
            number = numbers[0]
            return None if number is None else _id_prefix(term, texts[0])
        case "state":
            return _states(term, query, queries)
        case "held.reason":
            return Source("job_state", (_rare(State.HELD),), ())
        case "has" if texts == ["errors"]:
            return Source("job_error", (Range("job_error c", "c.job_id", "1 = 1", {}),), (term,))
        case "fp":
            return _equal(
                "job_error_fingerprint",
                "job_error c",
                "c.job_id",
                "c.fingerprint",
                texts,
                (term,),
                index="job_error_fingerprint",
            )
        case "type":
            return _equal("job_error_type", "job_error c", "c.job_id", "c.type", texts, (term,), index="job_error_type")
        case "schedule":
            return _equal(
                "fire_job", "fire c", "c.job_id", "c.schedule", texts, (term,), "c.job_id IS NOT NULL", index="fire_job"
            )
        case "batch":
            return _equal(
                "batch_member_job",
                "batch_member c",
                "c.job_id",
                "c.batch_id",
                numbers,
                (term,),
                index="batch_member_job",
            )
        case "parent":
            return _equal("child", "child c", "c.job_id", "c.parent_id", numbers, (term,))
        case "tag":
            return _equal(
                "job_tag", "job_tag c", "c.job_id", "c.value", texts, (term,), equal=(("c.key", "key"),), key=term.path
            )
        case "input":
            return _indexed(term, query, indexed)
    return None


def _equal(
    name: str,
    table: str,
    id: str,
    column: str,
    values: list[Any],
    answered: tuple[Term, ...],
    also: str = "1 = 1",
    equal: tuple[tuple[str, str], ...] = (),
    index: str = "",
    **parameters: object,
) -> Source:
    ranges = tuple(
        Range(table, id, also, {"value": value, **parameters}, (*equal, (column, "value")), index)
        for value in dict.fromkeys(values)
    )
    return Source(name, ranges, answered)


def _id_prefix(term: Term, digits: str) -> Source:
    """Ids that begin with these digits: one range for each length an id may have."""
    ranges = []
    for zeros in range(LONGEST_ID - len(digits) + 1):
        low = int(digits) * 10**zeros
        if int(digits) > 0 or zeros == 0:
            condition = "c.id >= :first AND c.id < :beyond"
            ranges.append(Range("job c", "c.id", condition, {"first": low, "beyond": low + 10**zeros}))
    return Source("primary key", tuple(ranges), (term,))


def _indexed(term: Term, query: Query, indexed: set[tuple[str, str]]) -> Source | None:
    path = term.path or ""
    kinds = next(
        (
            [value.text for value in one.values]
            for one in query.terms
            if one.field == "kind" and not one.negated and all(value.kind == "text" for value in one.values)
        ),
        None,
    )
    covered = (path, "") in indexed or (kinds is not None and all((path, kind) in indexed for kind in kinds))
    if not covered:
        return None
    values = [text for value in term.values for text in wanted_texts(value.text, value.number)]
    # The index holds texts: what is a number there and what is a text is told apart on the candidates.
    return _equal("job_index", "job_index c", "c.job_id", "c.value", values, (), equal=(("c.path", "path"),), path=path)


def _states(term: Term, query: Query, queries: Queries) -> Source | None:
    ranges: list[Range] = []
    for state in dict.fromkeys(State(value.text) for value in term.values):
        if state in RARE:
            ranges.append(_rare(state))
        elif state is State.RUNNING:
            ranges.append(Range("job c", "c.id", "c.state = 'running'", {}, index="job_running"))
        elif state is State.READY:
            ready = _ready(query, queries)
            if ready is None:
                return None
            ranges += ready
        else:
            return None
    special = {State.READY: "job_ready", State.RUNNING: "job_running"}
    used = {special.get(State(value.text), "job_state") for value in term.values}
    return Source(" + ".join(sorted(used)), tuple(ranges), (term,))


def _rare(state: State) -> Range:
    # The index's own condition is written out, as each database has it: so they know that they may use it.
    rare = ", ".join(f"'{one.value}'" for one in RARE)
    others = " AND ".join(f"c.state <> '{one.value}'" for one in State if one not in RARE)
    return Range(
        "job c",
        "c.id",
        f"c.state IN ({rare}) AND {others}",
        {"state": state.value},
        (("c.state", "state"),),
        "job_state",
    )


def _ready(query: Query, queries: Queries) -> list[Range] | None:
    """Ready jobs by their ids: a range for each rank of each queue, or for each queue where they are few.

    None where there are many of many ranks: then the next one by id is never far.
    """
    names = _queues(query, queries, _READY_QUEUES)
    if names is None:
        return None
    ready, place = "c.state = 'ready'", (("c.queue", "queue"), ("c.rank", "rank"))
    ranges = [
        Range("job c", "c.id", ready, {"queue": queue, "rank": rank}, place, "job_ready")
        for queue in names
        for (rank,) in queries.query(_RANKS, {"queue": queue, "limit": RANGES_LIMIT + 1})
    ]
    if len(ranges) <= RANGES_LIMIT:
        return ranges
    ranked = f"{ready} AND c.queue = :queue"
    sql = f"SELECT count(*) FROM (SELECT 1 FROM job c WHERE {ranked} ORDER BY c.queue, c.rank LIMIT :limit) x"  # noqa: S608
    few = sum(queries.query(sql, {"queue": queue, "limit": FEW + 1})[0][0] for queue in names) <= FEW
    return [Range("job c", "c.id", ranked, {"queue": queue}) for queue in names] if few else None


def _queues(query: Query, queries: Queries, every: str) -> list[str] | None:
    """The queues to look into: those the query names, else all there are; None where they are too many."""
    for term in query.terms:
        if term.field == "queue" and not term.negated and all(value.kind == "text" for value in term.values):
            named = list(dict.fromkeys(value.text for value in term.values))
            return named if len(named) <= QUEUES_LIMIT else None
    found = [name for (name,) in queries.query(every, {"limit": QUEUES_LIMIT + 1})]
    return found if len(found) <= QUEUES_LIMIT else None


def _sorted(query: Query, sort: Sort, queries: Queries) -> Source:
    """The index that carries the order: it holds only jobs that have the key."""
    if sort.key == "run_at":
        return Source("job_waiting", (Range("job c", "c.id", "c.state = 'waiting'", {}),), (), "c.run_at")
    if sort.key == "started":
        return Source("job_running", (Range("job c", "c.id", "c.state = 'running'", {}),), (), "c.started_at")
    if sort.key == "priority":
        names = _queues(query, queries, _READY_QUEUES)
        ranges = [Range("job c", "c.id", "c.state = 'ready' AND c.queue = :queue", {"queue": q}) for q in names or ()]
        source = Source("job_ready", tuple(ranges), (), "c.rank")
    else:
        names = _queues(query, queries, _FINISHED_QUEUES)
        condition = "c.queue = :queue AND c.state = '{}' AND c.finished_at IS NOT NULL"
        ended = [state for state in State if state in TERMINAL and _asked(state, query)]
        ranges = [
            Range("job c", "c.id", condition.format(state.value), {"queue": q}) for q in names or () for state in ended
        ]
        source = Source("job_finished", tuple(ranges), (), "c.finished_at")
    if names is None:
        raise InvalidQuery(
            f"more than {QUEUES_LIMIT} queues cannot be sorted by {sort.key} together",
            help="add queue:NAME",
            position=0,
        )
    return source


def _asked(state: State, query: Query) -> bool:
    return all(
        (state.value in {value.text for value in term.values}) != term.negated
        for term in query.terms
        if term.field == "state"
    )


def bounds(query: Query, queries: Queries) -> tuple[int, int, tuple[Term, ...]]:
    """The lowest and the highest id that terms on ids and times of creation allow, and the terms that answers."""
    low, high = 0, HIGHEST
    answered = []
    for term in query.terms:
        if term.negated or term.values[0].number is None:
            continue
        number = int(term.values[0].number)
        if term.field == "id" and term.operator != "=":
            answered.append(term)
            if term.operator in (">", ">="):
                low = max(low, number + (term.operator == ">"))
            else:
                high = min(high, number - (term.operator == "<"))
        elif term.field == "created":
            until = term.values[0].until
            if term.operator in (">", ">=") or (until is not None and len(term.values) == 1):
                low = max(low, _first_id(queries, number - CLOCK_MS))
            if term.operator in ("<", "<=") or (until is not None and len(term.values) == 1):
                high = min(high, _first_id(queries, (until or number) + CLOCK_MS) - 1)
    return low, high, tuple(answered)


def _first_id(queries: Queries, at: int) -> int:
    """The first id of the jobs created at ``at`` or later, found by halving: ids follow the clock."""
    bounds = queries.query("SELECT coalesce(min(id), 0), coalesce(max(id), 0) FROM job", {})[0]
    low, high = int(bounds[0]), int(bounds[1]) + 1
    while low < high:
        middle = (low + high) // 2
        found = queries.query("SELECT created_at FROM job WHERE id <= :id ORDER BY id DESC LIMIT 1", {"id": middle})
        if found and found[0][0] < at:
            low = middle + 1
        else:
            high = middle
    return low
