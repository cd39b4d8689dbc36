"""What a store tells of jobs that wait for each other."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec

from roost.domain.flow import WAITS_FOR_JOBS, WAITS_FOR_SIGNAL, last_of
from roost.domain.states import State
from roost.engine import listing, rows
from roost.engine.session import Session
from roost.engine.work.texts import pack, unpack
from roost.errors import NotFound
from roost.wire.batches import Batch, BatchPage, ListBatches
from roost.wire.flow import DependencyPage, ListDependencies

_FOREVER = 2**62
BLOCKERS = 20
_EDGES_FOLLOWED = 1_000


class Blocker(msgspec.Struct, frozen=True, kw_only=True):
    """A job that another one waits for; ``state`` None: it was deleted a moment ago."""

    id: int
    kind: str | None
    queue: str | None
    state: State | None
    reason: str | None
    last: Blocker | None = None
    """Where it waits for jobs itself: one that all of them come to in the end."""
    circle: bool = False
    """It waits, by others, for jobs that wait for it."""


class Blockers(msgspec.Struct, frozen=True, kw_only=True):
    """What a waiting job waits for: the ends of ``count`` jobs (the first of them in ``jobs``), or a signal."""

    count: int = 0
    jobs: list[Blocker] = []
    signal: str | None = None


NONE = Blockers()


def blockers(session: Session, id: int) -> Blockers:
    """What job ``id`` waits for now; `NONE` where it waits for no job and no signal."""
    found = session.rows("job_waiting_for", id=id)
    if not found:
        return NONE
    unmet, signal, reason = found[0]
    if reason == WAITS_FOR_SIGNAL:
        return Blockers(signal=signal)
    if reason != WAITS_FOR_JOBS:
        return NONE
    jobs = [
        Blocker(id=need, kind=kind, queue=queue, state=None if state is None else State(state), reason=why)
        for need, kind, queue, state, why in session.rows("job_blockers", id=id, limit=BLOCKERS)
    ]
    return Blockers(count=unmet or 0, jobs=jobs)


class FlowReader:
    """``reader.flow``; ``session`` lends a connection that cannot write."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._session = session

    def blockers(self, id: int) -> Blockers:
        """What a job waits for now, and what those wait for in the end that wait for jobs themselves."""
        with self._session() as session:
            found = blockers(session, id)
            behind = [each.id for each in found.jobs if each.reason == WAITS_FOR_JOBS]
            if not behind:
                return found
            waits: dict[int, list[int]] = {}
            for job, need in unpack(session.one("waits_behind", ids=pack(behind), limit=_EDGES_FOLLOWED)):
                waits.setdefault(job, []).append(need)
            lasts = {start: last_of(start, waits) for start in behind if start in waits}
            ids = sorted({last for last in lasts.values() if last is not None})
            places = {
                job: Blocker(id=job, kind=kind, queue=queue, state=State(state), reason=why)
                for job, kind, queue, state, why in session.rows("job_places", ids=pack(ids))
            }
        jobs = [
            msgspec.structs.replace(each, last=places.get(lasts[each.id] or 0), circle=lasts[each.id] is None)
            if each.id in lasts
            else each
            for each in found.jobs
        ]
        return msgspec.structs.replace(found, jobs=jobs)

    def waits(self) -> bool:
        """Whether an end or a signal waits to be carried on."""
        with self._session() as session:
            return bool(session.one("flow_waits"))

    def check(self, id: int) -> None:
        """Raises `NotFound` where there is no such job."""
        with self._session() as session:
            _check(session, id)

    def dependencies(self, query: ListDependencies) -> DependencyPage:
        """What a job waits for or waited for, by id; raises `NotFound`, `InvalidCursor`."""
        after = listing.cursor_id(query.cursor)
        with self._session() as session:
            _check(session, query.id)
            found = session.rows(
                "job_dependencies",
                id=query.id,
                results=int(query.results),
                after=-1 if after is None else after,
                limit=query.limit + 1,
            )
        page = [rows.dependency(row) for row in found[: query.limit]]
        return DependencyPage(dependencies=page, cursor=str(page[-1].id) if len(found) > query.limit else None)

    def batch(self, id: int) -> Batch:
        """One batch; raises `NotFound`."""
        with self._session() as session:
            found = session.rows("batch_rows", ids=pack([id]))
        if not found:
            raise NotFound(f"there is no batch {id}", path="id", help="roost batches list shows what there is")
        return rows.batch(found[0])

    def batches(self, query: ListBatches) -> BatchPage:
        """A page of batches, newest first; raises `InvalidCursor`."""
        before = listing.cursor_id(query.cursor)
        with self._session() as session:
            ids = unpack(
                session.one(
                    f"batches_{query.state or 'all'}",
                    before=_FOREVER if before is None else before,
                    limit=query.limit + 1,
                )
            )
            page = [rows.batch(row) for row in session.rows("batch_rows", ids=pack(ids[: query.limit]))]
        return BatchPage(batches=page, cursor=str(page[-1].id) if len(ids) > query.limit else None)


def _check(session: Session, id: int) -> None:
    if not session.one("job_exists", id=id):
        raise NotFound(f"there is no job {id}", path="id", help="roost jobs list shows what there is")
