"""Lists of jobs: their columns, their cursors, and their filters as a query."""

from __future__ import annotations

from roost.domain.query import Query, Term, Value
from roost.errors import InvalidCursor
from roost.wire.codec import milliseconds
from roost.wire.jobs import ListJobs

COLUMNS = (
    "id, kind, queue, state, reason, priority, attempt, failures, created_at, run_at, started_at, finished_at, "
    "expires_at, deadline_at, worker, flags"
)


def cursor_id(cursor: str | None) -> int | None:
    """The id a cursor names; raises `InvalidCursor`."""
    if cursor is None:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 16:
        raise InvalidCursor("the cursor is not one of this list", path="cursor", help="start without a cursor")
    return int(cursor)


def query(request: ListJobs) -> Query:
    """A list's filters as the terms of a query."""
    terms = [
        Term(field, "=", tuple(Value(str(value)) for value in values))
        for field, values in (
            ("state", request.state),
            ("queue", request.queue),
            ("kind", request.kind),
            ("schedule", None if request.schedule is None else [request.schedule]),
        )
        if values
    ]
    for field, number in (("batch", request.batch), ("parent", request.parent)):
        if number is not None:
            terms.append(Term(field, "=", (Value("", "number", number),)))
    for name, operator, moment in (
        ("created_after", ">=", request.created_after),
        ("created_before", "<", request.created_before),
    ):
        if moment is not None:
            terms.append(Term("created", operator, (Value("", "number", milliseconds(moment, name)),)))  # type: ignore[arg-type]
    return Query(tuple(terms), 0)


def key_cursor(key: str) -> str:
    """The cursor of a list by keys that goes on after ``key``."""
    return f"after-{key.encode().hex()}"


def cursor_key(cursor: str | None) -> str:
    """The key such a cursor names, empty for none; raises `InvalidCursor`."""
    if cursor is None:
        return ""
    prefix, _, digits = cursor.partition("-")
    try:
        key = bytes.fromhex(digits).decode()
    except ValueError:
        key = ""
    if prefix != "after" or not key or key_cursor(key) != cursor:
        raise InvalidCursor("the cursor is not one of this list", path="cursor", help="start without a cursor")
    return key
