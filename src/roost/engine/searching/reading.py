"""The reading side of searches, errors by fingerprint, saved views and declared paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import msgspec

from roost.domain.holds import HoldFacts
from roost.domain.query import Query, parse
from roost.domain.states import State
from roost.engine import listing, rows
from roost.engine.searching.bulkreading import BulkReader
from roost.engine.searching.sources import Sort
from roost.engine.searching.walk import (
    COUNT_LIMIT,
    SECONDS_LIMIT,
    Bound,
    Looked,
    Place,
    Plan,
    plan,
    read_cursor,
    walk,
    write_cursor,
)
from roost.engine.session import Session
from roost.engine.work.texts import pack
from roost.errors import InvalidCursor, InvalidRequest, NotFound
from roost.wire.codec import timestamp
from roost.wire.jobs import ErrorInfo, JobSummary
from roost.wire.search import (
    CheckedQuery,
    CheckedTerm,
    Count,
    ErrorDetail,
    ErrorGroup,
    ErrorPage,
    ErrorShare,
    Facet,
    Facets,
    IndexDeclared,
    ListErrors,
    ListFacets,
    Searched,
    SearchPage,
    SortText,
    View,
)

FACET_JOBS = 2_000
"""Jobs that are looked at for the values to complete with."""
GROUP_JOBS = 1_000
FOREVER = 2**62
_FACETS = {field: f"j.{field}" for field in ("queue", "kind", "state", "reason", "worker")} | {
    "type": "e.type",
    "schedule": "f.schedule",
    "tag": "t.key",
    "tag.": "t.value",
}
_FACET_JOINS = {
    "e": "JOIN job_error e ON e.job_id = j.id",
    "f": "JOIN fire f ON f.job_id = j.id",
    "t": "JOIN job_tag t ON t.job_id = j.id",
    "j": "",
}
_error = msgspec.json.Decoder(ErrorInfo)


class Candidates(msgspec.Struct):
    """A portion of a bulk operation: ids below its cursor that match, and where to go on (None: at the end)."""

    ids: list[int]
    cursor: int | None


def _timeless() -> float:
    """The clock of a walk that is bounded by its rows alone."""
    return 0.0


def sort_of(text: SortText) -> Sort:
    """The order a request names."""
    return Sort(text.removeprefix("-"), text.startswith("-"))  # type: ignore[arg-type]


class SearchReader(BulkReader):
    """Reads through ``session``; thread-safe. ``elapsed`` is a clock in seconds that does not jump."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]]) -> None:
        super().__init__(session)
        self._session = session

    def search(
        self,
        text: str,
        sort: SortText,
        limit: int,
        cursor: str | None,
        count: bool,
        now: int,
        elapsed: Callable[[], float],
    ) -> SearchPage:
        """A page of matching jobs; raises `InvalidQuery`, `InvalidCursor`, `Unavailable`."""
        order, after = sort_of(sort), None
        if cursor is not None:
            now, after = read_cursor(cursor, text, order.key, order.descending)
        query = parse(text, now)
        with self._session() as session, session.bounded():
            made = plan(query, order, session, _ready(session))
            began, looked = elapsed(), Looked()
            walking = walk(made, session, after, Bound(elapsed), looked, limit + 1)
            places = list(islice(walking, limit + 1))
            seen, complete, last = looked.rows, looked.complete, looked.last
            if len(places) > limit:
                complete, last = True, places[limit - 1]
            found = _summaries(session, [id for _, id in places[:limit]])
            counted = None
            if count:
                if after is not None:
                    # From the beginning; both together are no more than one search may cost.
                    looked, places = Looked(), []
                    bound = Bound(elapsed, seconds=max(0.0, SECONDS_LIMIT - (elapsed() - began)))
                    walking = walk(made, session, None, bound, looked, 1000)
                jobs = len(places) + sum(1 for _ in islice(walking, COUNT_LIMIT + 1 - len(places)))
                counted = Count(jobs=min(jobs, COUNT_LIMIT), exact=looked.complete and jobs <= COUNT_LIMIT)
        return SearchPage(
            jobs=found,
            searched=Searched(rows=seen, complete=complete, index=made.source.name, scan=made.scan),
            cursor=None if last is None else write_cursor(text, order.key, order.descending, now, last),
            count=counted,
        )

    def page(self, query: Query, limit: int, after: int | None) -> tuple[list[JobSummary], int | None]:
        """Matching jobs, newest first, below the id ``after``; and the id to go on from, None at the end.

        A page may be short, even empty, and still have one: a search for what is rare is bounded too.
        """
        with self._session() as session, session.bounded():
            made = plan(query, Sort(), session, _ready(session))
            looked = Looked()
            start: Place | None = None if after is None else (0, after)
            places = list(islice(walk(made, session, start, Bound(_timeless), looked, limit + 1), limit + 1))
            last = places[limit - 1] if len(places) > limit else looked.last
            return _summaries(session, [id for _, id in places[:limit]]), None if last is None else last[1]

    def candidates(self, query: Query, below: int, limit: int, elapsed: Callable[[], float]) -> Candidates:
        """Up to ``limit`` ids that match, the highest first, none above ``below``."""
        with self._session() as session, session.bounded():
            made = plan(query, Sort(), session, _ready(session))
            looked = Looked()
            places = list(islice(walk(made, session, (0, below + 1), Bound(elapsed), looked, limit), limit))
            ids = [id for _, id in places]
            last = ids[-1] if len(ids) == limit else None if looked.last is None else looked.last[1]
            return Candidates(ids, last)

    def tally(self, query: Query, below: int, elapsed: Callable[[], float]) -> tuple[dict[State, int], bool]:
        """How many matching jobs are in each state, counted up to `COUNT_LIMIT`; and whether that is all of them."""
        with self._session() as session, session.bounded():
            made = plan(query, Sort(), session, _ready(session))
            looked = Looked()
            places = list(islice(walk(made, session, (0, below + 1), Bound(elapsed), looked, 1000), COUNT_LIMIT + 1))
            ids = [id for _, id in places]
            return _states(session, ids[:COUNT_LIMIT]), looked.complete and len(ids) <= COUNT_LIMIT

    def selection(self, query: Query, elapsed: Callable[[], float]) -> list[int] | None:
        """The ids of all matching jobs; None where they are more than `COUNT_LIMIT`, or too far apart to be found."""
        with self._session() as session, session.bounded():
            made = plan(query, Sort(), session, _ready(session))
            looked = Looked()
            ids = [id for _, id in islice(walk(made, session, None, Bound(elapsed), looked, 1000), COUNT_LIMIT + 1)]
        return sorted(ids) if looked.complete and len(ids) <= COUNT_LIMIT else None

    def asked(self, ids: list[int]) -> list[HoldFacts]:
        """The open holds of these jobs."""
        with self._session() as session:
            ((text,),) = session.rows("holds_open_of", ids=pack(ids))
        return msgspec.json.decode(text, type=list[HoldFacts])

    def states(self, ids: list[int]) -> dict[State, int]:
        """How many of these jobs are in each state."""
        with self._session() as session:
            return _states(session, ids)

    def check(self, text: str, sort: SortText, now: int) -> CheckedQuery:
        """What a query means and how it would be answered; raises `InvalidQuery`."""
        query = parse(text, now)
        with self._session() as session, session.bounded():
            made = plan(query, sort_of(sort), session, _ready(session))
        terms = [
            CheckedTerm(
                text=text[term.position : term.position + term.length],
                field=term.field,
                path=term.path,
                operator=term.operator,
                values=[value.text for value in term.values],
                negated=term.negated,
                position=term.position,
                length=term.length,
                use=_use(made, term),
            )
            for term in query.terms
        ]
        return CheckedQuery(terms=terms, index=made.source.name, scan=made.scan)

    def facets(self, request: ListFacets, now: int, elapsed: Callable[[], float]) -> Facets:
        """Frequent values of a field among the newest matching jobs; raises `InvalidQuery`, `InvalidRequest`."""
        head, dot, path = request.field.partition(".")
        column = _FACETS.get(head + dot)
        if column is None or (dot and not path):
            known = ", ".join(sorted({name.rstrip(".") for name in _FACETS}))
            raise InvalidRequest(
                f"{request.field[:40]!a} has no values to tell", path="field", help=f"known are {known}, tag.NAME"
            )
        with self._session() as session, session.bounded():
            made = plan(parse(request.query, now), Sort(), session, _ready(session))
            looked = Looked()
            found = list(islice(walk(made, session, None, Bound(elapsed), looked, FACET_JOBS), FACET_JOBS + 1))
            places = found[:FACET_JOBS]
            only = " AND t.key = :key" if dot else ""
            sql = (
                f"SELECT {column} {session.dialect.job_rows()} {_FACET_JOINS[column[0]]} "
                f"WHERE {column} IS NOT NULL{only}"
            )
            told = session.query(sql, {"ids": pack([id for _, id in places]), "key": path})
        values = Counter(value for (value,) in told if value.startswith(request.prefix))
        ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))[: request.limit]
        return Facets(
            values=[Facet(value=value, jobs=jobs) for value, jobs in ranked],
            jobs=len(places),
            complete=looked.complete and len(found) == len(places),
        )

    # --- errors, views, indexes ---------------------------------------------------------------------------------------

    def errors(self, request: ListErrors) -> ErrorPage:
        """Groups of errors, last seen first."""
        before, fingerprint = _error_cursor(request.cursor)
        with self._session() as session:
            found = session.rows(
                "error_groups",
                state=request.state or "",
                before=before,
                before_fingerprint=fingerprint,
                limit=request.limit + 1,
            )
        more = len(found) > request.limit
        last = found[request.limit - 1] if more else None
        return ErrorPage(
            errors=[ErrorGroup(**_group(row)) for row in found[: request.limit]],
            cursor=None if last is None else f"{last[7]}-{last[0]}",
        )

    def error_group(self, fingerprint: str) -> ErrorGroup:
        """A group; raises `NotFound`."""
        with self._session() as session:
            return ErrorGroup(**_group(_error_row(session, fingerprint)))

    def error(self, fingerprint: str) -> ErrorDetail:
        """A group, whole; raises `NotFound`."""
        with self._session() as session:
            row = _error_row(session, fingerprint)
            shares = session.rows("error_jobs", fingerprint=fingerprint, limit=GROUP_JOBS)
            attempts = session.rows("job_attempts", id=row[8])
        error = next((told[5] for told in reversed(attempts) if told[5] is not None), None)
        jobs = [ErrorShare(queue=queue, kind=kind, state=state, jobs=jobs) for queue, kind, state, jobs in shares]
        return ErrorDetail(
            **_group(row),
            jobs=sorted(jobs, key=lambda share: (-share.jobs, share.queue, share.kind, share.state)),
            error=None if error is None else _error.decode(error),
        )

    def views(self) -> list[View]:
        """Every saved view by name."""
        with self._session() as session:
            return [view(row) for row in session.rows("view_rows")]

    def view(self, name: str) -> View:
        """A saved view; raises `NotFound`."""
        with self._session() as session:
            found = session.rows("view_row", name=name)
        if not found:
            raise NotFound(f"there is no view {name}", path="name", help="roost views list shows what there is")
        return view(found[0])

    def index_paths(self) -> list[tuple[Any, ...]]:
        """(path, kind, state, declared_at, declared_by, filled_to) of each declared path."""
        with self._session() as session:
            return session.rows("index_paths")

    def indexes(self) -> list[IndexDeclared]:
        """Every declared path."""
        return [
            IndexDeclared(
                path=f"input.{path}",
                kind=kind or None,
                state=state,
                declared_at=timestamp(declared_at),
                declared_by=declared_by,
            )
            for path, kind, state, declared_at, declared_by, _ in self.index_paths()
        ]


def view(row: tuple[Any, ...]) -> View:
    """From the columns of ``view_row``."""
    name, query, sort, columns, owner, shared, created_at, changed_at = row
    return View(
        name=name,
        query=query,
        sort=sort,
        columns=msgspec.json.decode(columns),
        owner=owner,
        shared=bool(shared),
        created_at=timestamp(created_at),
        changed_at=timestamp(changed_at),
    )


def _ready(session: Session) -> set[tuple[str, str]]:
    return {(path, kind) for path, kind, state, *_ in session.rows("index_paths") if state == "ready"}


def _summaries(session: Session, ids: list[int]) -> list[JobSummary]:
    columns = ", ".join(f"j.{name.strip()}" for name in listing.COLUMNS.split(","))
    sql = f"SELECT {columns} {session.dialect.job_rows()}"
    found = {row[0]: rows.summary(row) for row in session.query(sql, {"ids": pack(ids)})} if ids else {}
    return [found[id] for id in ids if id in found]


def _states(session: Session, ids: list[int]) -> dict[State, int]:
    sql = f"SELECT j.state, count(*) {session.dialect.job_rows()} GROUP BY j.state"
    return {State(state): jobs for state, jobs in session.query(sql, {"ids": pack(ids)})} if ids else {}


def _use(made: Plan, term: Any) -> Any:
    by_index = made.source.name == "job_index" and term.field == "input" and not term.negated
    if by_index or term.field == "created" or not any(term is one for one in made.rest):
        return "index"
    return "scan" if made.source.scan else "filter"


def _error_row(session: Session, fingerprint: str) -> tuple[Any, ...]:
    found = session.rows("error_group_row", fingerprint=fingerprint)
    if not found:
        raise NotFound(f"there is no error {fingerprint[:40]!a}", path="fingerprint", help="roost errors list")
    return found[0]


def _group(row: tuple[Any, ...]) -> dict[str, Any]:
    names = ("fingerprint", "type", "message", "frame", "state", "count")
    times = {"first_seen": timestamp(row[6]), "last_seen": timestamp(row[7]), "changed_at": rows.time(row[9])}
    return dict(zip(names, row[:6], strict=True)) | times | {"last_job": row[8], "changed_by": row[10]}


def _error_cursor(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return FOREVER, ""
    before, _, fingerprint = cursor.partition("-")
    if not (before.isascii() and before.isdigit() and len(before) < 17):
        raise InvalidCursor("the cursor is not one of this list", path="cursor", help="start without a cursor")
    return int(before), fingerprint
