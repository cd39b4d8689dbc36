"""A bulk operation's row, as it is stepped and as it is told."""

from __future__ import annotations

from typing import Any

import msgspec

from roost.domain.bulk import BulkState, Work
from roost.engine.rows import time
from roost.wire.bulk import Bulk
from roost.wire.codec import timestamp


class StoredBulk(msgspec.Struct, kw_only=True):
    """See the table ``bulk``; ``cursor`` is the highest id that is still to do."""

    id: int
    work: Work
    query: str
    ids: list[int] | None
    state: BulkState
    actor: str | None
    cursor: int
    done: int
    skipped: int
    failed: int
    next_at: int | None


def stored(row: tuple[Any, ...]) -> StoredBulk:
    """From the columns of ``bulk_row``."""
    id, work, query, ids, state, actor, cursor, _, _, done, skipped, failed, _, _, next_at, _ = row
    return StoredBulk(
        id=id,
        work=msgspec.json.decode(work, type=Work),
        query=query,
        ids=None if ids is None else msgspec.json.decode(ids),
        state=state,
        actor=actor,
        cursor=cursor,
        done=done,
        skipped=skipped,
        failed=failed,
        next_at=next_at,
    )


def told(row: tuple[Any, ...]) -> Bulk:
    """The same for the API."""
    bulk = stored(row)
    work = bulk.work
    return Bulk(
        id=bulk.id,
        action=work.action,
        query=bulk.query,
        ids=bulk.ids is not None,
        state=bulk.state,
        actor=bulk.actor,
        note=work.note,
        queue=work.queue,
        priority=work.priority,
        tags=work.tags,
        untag=work.untag,
        rate=work.rate,
        jobs=row[7],
        exact=bool(row[8]),
        done=bulk.done,
        skipped=bulk.skipped,
        failed=bulk.failed,
        error=row[12],
        created_at=timestamp(row[13]),
        ended_at=time(row[15]),
    )
