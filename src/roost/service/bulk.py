"""Bulk operations: preview, start, look, stop; carried out by a loop in small sets."""

from __future__ import annotations

import logging
from typing import Literal

from roost.domain import holds
from roost.domain.admission import TAGS_LIMIT
from roost.domain.bulk import TAKEN, Work, pause_ms, set_size
from roost.domain.names import check_name
from roost.domain.query import parse
from roost.engine.searching import protocol
from roost.engine.searching.bulkrows import StoredBulk
from roost.engine.searching.reading import Candidates
from roost.errors import InvalidRequest, RoostError, Unavailable
from roost.service.core import CallInfo, Core
from roost.wire.bulk import (
    Bulk,
    BulkRef,
    BulkResults,
    Bulks,
    BulkStarted,
    CreateBulk,
    ListBulkResults,
    ListBulks,
)
from roost.wire.search import ErrorRef

log = logging.getLogger("roost.service.bulk")

FOREVER = 2**62
PAUSE_SECONDS = 0.01
"""Between two sets: whatever waits for the store goes first."""
RETRY_MS = 1_000
_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_KEPT_MS = 30 * 86_400_000
_PRUNE_MS = 3_600_000


async def create(core: Core, request: CreateBulk, call: CallInfo) -> BulkStarted:
    """Count what matches and, but for a dry run, start; raises `InvalidQuery`, `InvalidRequest`, `SubjectChanged`."""
    now = core.now()
    work = _work(request, now)
    if (request.query is None) == (request.ids is None):
        raise InvalidRequest("give a query or ids, one of them", path="query", help='an empty query "" is every job')
    if request.ids is not None:
        ids = sorted(set(request.ids))
        states, exact, total = await core.read(core.reader.searches.states, ids), True, len(ids)
    else:
        query = parse(request.query or "", now)
        states, exact = await core.read(core.reader.searches.tally, query, FOREVER, core.clock.monotonic)
        ids, total = None, sum(states.values())
    asked = None
    if request.action == "approve":
        # What is approved is what was shown, to the last job: a query alone would approve what is asked since.
        if ids is None:
            ids = await core.read(core.reader.searches.selection, query, core.clock.monotonic)
        if ids is not None:
            asked = holds.asked(await core.read(core.reader.searches.asked, ids))
        elif not request.dry_run:
            raise InvalidRequest(
                "too many jobs match to approve what each asks", path="query", help="narrow the query: 10,000 at a time"
            )
        if request.asked is None and not request.dry_run:
            raise InvalidRequest(
                "an approval quotes what is asked", path="asked", help="a dry run tells it; look at what is asked first"
            )
    skips = {state.value: jobs for state, jobs in sorted(states.items()) if state not in TAKEN[work.action]}
    started = BulkStarted(jobs=total, exact=exact, skips=skips, asked=asked)
    if not request.dry_run:
        action = protocol.CreateBulk(
            query=request.query or "",
            ids=ids,
            work=work,
            asked=request.asked,
            total=total,
            exact=exact,
            actor=request.actor or call.actor,
        )
        started.bulk = await core.act(action, Bulk, name="bulk.create", request=request, call=call, now=now)
    return started


def _work(request: CreateBulk, now: int) -> Work:
    needs = {
        "move": request.queue is not None or request.priority is not None,
        "priority": request.priority is not None,
        "tag": bool(request.tags or request.untag),
    }
    fields = {"move": "queue", "priority": "priority", "tag": "tags"}
    if not needs.get(request.action, True):
        raise InvalidRequest(
            f"{request.action} needs {fields[request.action]}", path=fields[request.action], help="say what to change"
        )
    if request.queue is not None:
        check_name(request.queue, "queue")
    for key in (*(request.tags or ()), *request.untag):
        check_name(key, "tags")
    if len(request.tags or ()) > TAGS_LIMIT or any(len(value) > 256 for value in (request.tags or {}).values()):
        raise InvalidRequest(
            f"at most {TAGS_LIMIT} tags of 256 characters", path="tags", help="use fewer, shorter tags"
        )
    rate = None
    if request.rate is not None:
        count, _, period = request.rate.partition("/")
        if not count.isdigit() or period not in _PERIODS or int(count) == 0:
            raise InvalidRequest("the rate cannot be read", path="rate", help="write 50/s, 100/m or 1000/h")
        rate = int(count) / _PERIODS[period]
    return Work(
        action=request.action,
        now=now,
        note=request.note,
        queue=request.queue,
        priority=request.priority,
        title=request.title,
        tags=request.tags,
        untag=request.untag,
        rate=rate,
    )


async def retry_error(core: Core, request: ErrorRef, call: CallInfo) -> BulkStarted:
    """Run every failed job of a group of errors again; raises `NotFound`."""
    await core.read(core.reader.searches.error, request.fingerprint)
    asked = CreateBulk(action="retry", query=f"state:failed fp:{request.fingerprint}", actor=request.actor)
    return await create(core, asked, call)


async def page(core: Core, request: ListBulks, call: CallInfo) -> Bulks:
    """Operations, last first; raises `InvalidCursor`."""
    return await core.read(core.reader.searches.bulks, request)


async def get(core: Core, request: BulkRef, call: CallInfo) -> Bulk:
    """An operation; raises `NotFound`."""
    return await core.read(core.reader.searches.bulk, request.id)


async def results(core: Core, request: ListBulkResults, call: CallInfo) -> BulkResults:
    """Whom it was not done to, and why; raises `NotFound`, `InvalidCursor`."""
    return await core.read(core.reader.searches.bulk_results, request)


async def pause(core: Core, request: BulkRef, call: CallInfo) -> Bulk:
    """Begin no further set."""
    return await _set(core, request, call, "paused")


async def resume(core: Core, request: BulkRef, call: CallInfo) -> Bulk:
    """Go on."""
    return await _set(core, request, call, "running")


async def abort(core: Core, request: BulkRef, call: CallInfo) -> Bulk:
    """End it; what was done stays done."""
    return await _set(core, request, call, "aborted")


async def _set(core: Core, request: BulkRef, call: CallInfo, state: Literal["paused", "running", "aborted"]) -> Bulk:
    action = protocol.SetBulkState(id=request.id, state=state, actor=request.actor or call.actor)
    return await core.act(action, Bulk, name=f"bulk.{state}", request=request, call=call)


class Worker:
    """The work of the loop that carries bulk operations out, one set of each in turn."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._next_prune = 0

    async def __call__(self) -> int | None:
        """One set of each operation that is due; when the next is wanted."""
        core = self._core
        due: list[int] = []
        failure: Unavailable | None = None
        for bulk in await core.read(core.reader.searches.running_bulks):
            if bulk.next_at is not None and bulk.next_at > core.now():
                due.append(bulk.next_at)
                continue
            try:
                due.append(await self._step(bulk))
            except Unavailable as error:
                # A search that takes too long, say: the others have their turn, and this one its next look.
                failure = error
        if failure is not None:
            if not due:
                raise failure
            log.warning("a bulk operation is looked at again in a second: %s", failure)
            due.append(core.now() + RETRY_MS)
        now = core.now()
        if now >= self._next_prune:
            self._next_prune = now + _PRUNE_MS
            await core.act_for_itself(protocol.PruneBulks(before=now - _KEPT_MS))
        return min(due, default=None)

    async def _step(self, bulk: StoredBulk) -> int:
        """Carry out one set; when the next of this operation is due."""
        core = self._core
        now = core.now()
        try:
            found = await self._candidates(bulk)
            cursor = -1 if found.cursor is None else found.cursor - 1
            wait = pause_ms(bulk.work, len(found.ids))
            step = protocol.StepBulk(
                id=bulk.id, expected=bulk.cursor, cursor=cursor, ids=found.ids, next_at=now + wait if wait else None
            )
            await core.act_for_itself(step, now)
        except Unavailable:
            raise
        except RoostError as error:
            if error.status >= 500:
                raise
            failed = protocol.SetBulkState(id=bulk.id, state="failed", error=str(error)[:500])
            await core.act_for_itself(failed)
            return now
        return now + max(wait, round(PAUSE_SECONDS * 1000))

    async def _candidates(self, bulk: StoredBulk) -> Candidates:
        core, limit = self._core, set_size(bulk.work)
        if bulk.ids is not None:
            ids = [id for id in bulk.ids if id <= bulk.cursor]
            return Candidates(ids[:limit], ids[limit - 1] if len(ids) > limit else None)
        query = parse(bulk.query, bulk.work.now)
        return await core.read(core.reader.searches.candidates, query, bulk.cursor, limit, core.clock.monotonic)
