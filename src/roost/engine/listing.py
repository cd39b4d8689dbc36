"""Lists with filters: conditions from a fixed table, values only ever as parameters."""

from __future__ import annotations

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


def jobs(query: ListJobs) -> tuple[str, dict[str, object]]:
    """The statement and its parameters for one page and one row more; newest first, by id."""
    conditions: list[str] = []
    parameters: dict[str, object] = {"limit": query.limit + 1}
    for column, values in (("state", query.state), ("queue", query.queue), ("kind", query.kind)):
        if values:
            names = [f"{column}_{place}" for place in range(len(values))]
            conditions.append(f"{column} IN ({', '.join(':' + name for name in names)})")
            parameters |= {name: str(value) for name, value in zip(names, values, strict=True)}
    if query.schedule is not None:
        conditions.append("id IN (SELECT job_id FROM fire WHERE schedule = :schedule)")
        parameters["schedule"] = query.schedule
    if query.batch is not None:
        conditions.append("id IN (SELECT job_id FROM batch_member WHERE batch_id = :batch)")
        parameters["batch"] = query.batch
    if query.parent is not None:
        conditions.append("id IN (SELECT job_id FROM child WHERE parent_id = :parent)")
        parameters["parent"] = query.parent
    if query.created_after is not None:
        conditions.append("created_at >= :created_after")
        parameters["created_after"] = milliseconds(query.created_after, "created_after")
    if query.created_before is not None:
        conditions.append("created_at < :created_before")
        parameters["created_before"] = milliseconds(query.created_before, "created_before")
    before = cursor_id(query.cursor)
    if before is not None:
        conditions.append("id < :before")
        parameters["before"] = before
    where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
    # Column and parameter names come from the tables above alone.
    return f"SELECT {COLUMNS} FROM job {where}ORDER BY id DESC LIMIT :limit", parameters  # noqa: S608
