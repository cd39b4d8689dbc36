"""The reading side of bulk operations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from roost.engine.searching import bulkrows
from roost.engine.session import Session
from roost.errors import InvalidCursor, NotFound
from roost.wire.bulk import Bulk, BulkResult, BulkResults, Bulks, ListBulkResults, ListBulks

AT_ONCE = 20
"""Operations that take turns."""
FOREVER = 2**62


class BulkReader:
    """Reads through ``session``; thread-safe."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._rows_session = session

    def running_bulks(self) -> list[bulkrows.StoredBulk]:
        """Operations that have something to do."""
        with self._rows_session() as session:
            return [bulkrows.stored(row) for row in session.rows("bulks_running", limit=AT_ONCE)]

    def bulk(self, id: int) -> Bulk:
        """An operation; raises `NotFound`."""
        with self._rows_session() as session:
            return bulkrows.told(_row(session, id))

    def bulks(self, request: ListBulks) -> Bulks:
        """Operations, last first."""
        with self._rows_session() as session:
            found = session.rows("bulk_rows", before=_before(request.cursor), limit=request.limit + 1)
        bulks = [bulkrows.told(row) for row in found[: request.limit]]
        return Bulks(bulks=bulks, cursor=str(bulks[-1].id) if len(found) > request.limit else None)

    def bulk_results(self, request: ListBulkResults) -> BulkResults:
        """Jobs that were skipped or failed, the highest id first; raises `NotFound`."""
        with self._rows_session() as session:
            _row(session, request.id)
            found = session.rows("bulk_results", id=request.id, before=_before(request.cursor), limit=request.limit + 1)
        results = [
            BulkResult(job=job, outcome=outcome, code=code, message=message)
            for job, outcome, code, message in found[: request.limit]
        ]
        return BulkResults(results=results, cursor=str(results[-1].job) if len(found) > request.limit else None)


def _row(session: Session, id: int) -> tuple[Any, ...]:
    found = session.rows("bulk_row", id=id)
    if not found:
        raise NotFound(f"there is no bulk operation {id}", path="id", help="roost bulk list shows what there is")
    return found[0]


def _before(cursor: str | None) -> int:
    if cursor is None:
        return FOREVER
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 17):
        raise InvalidCursor("the cursor is not one of this list", path="cursor", help="start without a cursor")
    return int(cursor)
