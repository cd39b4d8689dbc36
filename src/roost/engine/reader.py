"""The reading side over named statements; one for both engines."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from roost.domain.feed import Position
from roost.domain.records import JobOptions, QueueRules
from roost.domain.states import TERMINAL, State
from roost.domain.why import LimitUse
from roost.engine import listing, rows
from roost.engine.feedreading import FeedReader, FeedSlice
from roost.engine.findings import Due, History, OperatorEvent, ScheduleFacts
from roost.engine.flowreading import Blockers, FlowReader, blockers
from roost.engine.hookreading import SqlHookReader
from roost.engine.searching.reading import SearchReader
from roost.engine.session import Session
from roost.engine.work.texts import pack, unpack
from roost.errors import InvalidCursor, NotFound
from roost.wire.attempts import Step, UnrecordedStep, Worker
from roost.wire.codec import timestamp
from roost.wire.holds import Hold, HoldPage, ListHolds
from roost.wire.jobs import Attempt, Chunk, ChunkPage, Job, JobPage, ListJobs, LogLine, LogPage
from roost.wire.kinds import KindSchema
from roost.wire.limits import LimitPage, ListLimits
from roost.wire.queues import Queue
from roost.wire.schedules import Run, Runs, Schedule

FOREVER = 2**62
CHUNKS_BYTES = 1024 * 1024
"""Where a page of chunks ends, however many were asked for."""
_rules = msgspec.json.Decoder(QueueRules)
_options = msgspec.json.Decoder(JobOptions)


class SqlReader(SqlHookReader):
    """See `roost.engine.reading.Reader`; ``session`` lends a connection that cannot write."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]], close: Callable[[], None]) -> None:
        self._session = session
        self._close = close
        self._feed = FeedReader(session)
        self.searches = SearchReader(session)
        self.flow = FlowReader(session)

    def job(self, id: int) -> Job:
        """A job, whole."""
        with self._session() as session:
            return _job(session, id)

    def jobs(self, query: ListJobs) -> JobPage:
        """A page of jobs, newest first."""
        found, last = self.searches.page(listing.query(query), query.limit, listing.cursor_id(query.cursor))
        return JobPage(jobs=found, cursor=None if last is None else str(last))

    def states(self, ids: list[int]) -> dict[int, State]:
        """The states of those of ``ids`` that are there."""
        with self._session() as session:
            return {id: State(state) for id, state in unpack(session.one("job_states", ids=pack(ids)))}

    def history(self, id: int, workers_since: int) -> History:
        """All there is to tell about one job."""
        with self._session() as session:
            job = _job(session, id)
            (created_at,) = session.query("SELECT created_at FROM job WHERE id = :id", {"id": id})[0]
            paused = {name: (at, by) for name, at, by, _ in session.rows("queue_rows")}
            paused_at, paused_by = paused.get(job.queue, (None, None))
            ready_before = session.one("jobs_before", queue=job.queue, id=id) if job.state is State.READY else 0
            workers = [rows.worker(row) for row in session.rows("worker_rows", since=workers_since)]
            takers = [worker for worker in workers if job.queue in worker.queues]
            return History(
                job=job,
                created_at=created_at,
                attempts=job.attempts,
                holds=[rows.hold(row) for row in session.rows("job_holds", id=id)],
                events=[
                    OperatorEvent(at=at, type=type, actor=actor, data=data)
                    for at, type, actor, data in session.rows("job_events", id=id)
                ],
                steps=[rows.step(row) for row in session.rows("job_steps", id=id)],
                unrecorded=[rows.unrecorded_step(row) for row in session.rows("job_steps_started", id=id)],
                queue_paused_at=paused_at,
                queue_paused_by=paused_by,
                ready_before=ready_before,
                workers=len(takers),
                able=sum(not worker.kinds or job.kind in worker.kinds for worker in takers),
            )

    def limits_of(self, id: int, now: int) -> list[LimitUse]:
        """The limits a job counts against, and whether they have room for it."""
        with self._session() as session:
            found = session.rows("job_limit_uses", id=id)
        return [rows.limit_use(row, now) for row in found]

    def blockers(self, id: int) -> Blockers:
        """What a job waits for now: other jobs (and those in the end), or a signal."""
        return self.flow.blockers(id)

    def logs(self, id: int, after: int, limit: int) -> LogPage:
        """A job's log lines after line ``after``."""
        with self._session() as session:
            found = session.rows("job_logs", id=id, after=after, limit=limit)
            state = _summary(session, id)[3]
        lines = [
            LogLine(number=number, at=timestamp(at), level=level, message=message, attempt=attempt)
            for number, at, level, message, attempt in found
        ]
        return LogPage(lines=lines, ended=State(state) in TERMINAL and len(lines) < limit)

    def options(self, id: int) -> JobOptions:
        """The rules a job was stored with."""
        with self._session() as session:
            text = _first(session.rows("job_whole", id=id), "job", id)[2]
        return _options.decode(text) if text else JobOptions()

    def chunks(self, id: int, after: int, limit: int) -> ChunkPage:
        """A job's result chunks after chunk ``after``."""
        with self._session() as session:
            # The state first: chunks that come between the two are told by the next call.
            state = _summary(session, id)[3]
            found = session.rows("job_chunks", id=id, after=after, limit=limit, bytes=CHUNKS_BYTES)
            last = session.rows("job_chunks_last", id=id)[0][0]
        told = [
            Chunk(number=number, at=timestamp(at), attempt=attempt, chunk=msgspec.Raw(text.encode()))
            for number, at, attempt, text in found
        ]
        more = bool(told) and told[-1].number < last
        return ChunkPage(chunks=told, more=more, ended=State(state) in TERMINAL and not more)

    def steps(self, id: int) -> list[Step]:
        """A job's recorded steps."""
        with self._session() as session:
            _summary(session, id)
            return [rows.step(row) for row in session.rows("job_steps", id=id)]

    def all_steps(self, id: int) -> tuple[list[Step], list[UnrecordedStep]]:
        """A job's recorded steps, and those that were started and not recorded; raises `NotFound`."""
        with self._session() as session:
            _summary(session, id)
            unrecorded = [rows.unrecorded_step(row) for row in session.rows("job_steps_started", id=id)]
            return [rows.step(row) for row in session.rows("job_steps", id=id)], unrecorded

    def queues(self, now: int) -> list[Queue]:
        """Every queue that has jobs or rules, by name."""
        with self._session() as session:
            return _queues(session, now)

    def queue(self, name: str, now: int) -> Queue:
        """One queue; raises `NotFound` where nobody has named it yet."""
        with self._session() as session:
            found = [queue for queue in _queues(session, now) if queue.name == name]
        if not found:
            raise NotFound(f"there is no queue {name!r}", path="name", help="a queue is there with its first job")
        return found[0]

    def uncounted(self, until: int, worth: int) -> list[tuple[str, str]]:
        """Queues and terminal states with ``worth`` ends until then that no count holds."""
        with self._session() as session:
            return [(queue, state) for queue, state in session.rows("queue_uncounted", until=until, worth=worth)]

    def rankings(self) -> list[tuple[str, int]]:
        """Queues whose jobs are ranked anew, and up to which id they are."""
        with self._session() as session:
            return [(queue, upto) for queue, upto in session.rows("rankings")]

    def to_rank(self, queue: str, after: int, limit: int) -> list[int]:
        """Jobs of a queue that have not ended, by their ids."""
        with self._session() as session:
            found: list[int] = unpack(session.one("order_next", queue=queue, after=after, limit=limit))
            return found

    def claims_under_way(self) -> set[str]:
        """Transactions that may be starting jobs, by names of their own."""
        with self._session() as session:
            return {name for (name,) in session.rows("claims_under_way")}

    def running(self, queue: str) -> int:
        """How many of a queue's jobs run."""
        with self._session() as session:
            return int(session.one("queue_running", queue=queue))

    def limits(self, query: ListLimits, now: int) -> LimitPage:
        """A page of keys, in their order."""
        with self._session() as session:
            found = session.rows(
                "limiter_rows", after=listing.cursor_key(query.cursor), prefix=query.prefix, limit=query.limit + 1
            )
        page = [rows.limiter(row, now) for row in found[: query.limit]]
        return LimitPage(limits=page, cursor=listing.key_cursor(page[-1].key) if len(found) > query.limit else None)

    def queue_rules(self) -> dict[str, QueueRules]:
        """The rules of every queue that has any."""
        with self._session() as session:
            return {name: _rules.decode(text) for name, _, _, text in session.rows("queue_rows") if text}

    def kind_schemas(self) -> dict[str, str]:
        """The schema, as JSON text, of every kind that has one."""
        with self._session() as session:
            return {row[0]: row[1] for row in session.rows("kind_rows")}

    def kinds(self) -> list[KindSchema]:
        """All kinds that have a schema, by name."""
        with self._session() as session:
            return [rows.kind(row) for row in session.rows("kind_rows")]

    def kind(self, name: str) -> KindSchema:
        """One kind's schema."""
        with self._session() as session:
            return rows.kind(_first(session.rows("kind_row", name=name), "kind", name))

    def schedules(self) -> list[Schedule]:
        """All schedules by name."""
        with self._session() as session:
            return [rows.schedule(row) for row in session.rows("schedule_rows")]

    def schedule(self, name: str) -> Schedule:
        """One schedule."""
        with self._session() as session:
            return rows.schedule(_first(session.rows("schedule_row", name=name), "schedule", name))

    def schedule_facts(self, name: str) -> ScheduleFacts:
        """One schedule as the planner sees it."""
        with self._session() as session:
            return rows.schedule_facts(_first(session.rows("schedule_fact", name=name), "schedule", name))

    def due_schedules(self, now: int, limit: int) -> list[ScheduleFacts]:
        """Schedules that are due, then those whose queued fire may start."""
        with self._session() as session:
            due = session.rows("schedules_due", now=now, limit=limit)
            names = {row[0] for row in due}
            queued = [row for row in session.rows("schedules_queued", limit=limit) if row[0] not in names]
        return [rows.schedule_facts(row) for row in (*due, *queued)]

    def runs(self, name: str, limit: int, cursor: str | None) -> Runs:
        """What a schedule's fires became, last first; told also after the schedule was deleted."""
        before = listing.cursor_id(cursor)
        with self._session() as session:
            found = session.rows(
                "schedule_runs", name=name, before=FOREVER if before is None else before, limit=limit + 1
            )
        runs = [
            Run(fire_at=timestamp(fire_at), fired_at=timestamp(fired_at), outcome=outcome, job=job, state=state)
            for fire_at, fired_at, outcome, job, state in found[:limit]
        ]
        return Runs(runs=runs, cursor=str(found[limit - 1][0]) if len(found) > limit else None)

    def feed(self, after: Position | None, limit: int) -> FeedSlice:
        """Events behind ``after``."""
        return self._feed.read(after, limit)

    def feed_newest(self) -> Position:
        """The position behind everything that is committed now."""
        return self._feed.newest()

    def hold(self, id: int) -> Hold:
        """One hold."""
        with self._session() as session:
            return rows.hold(_first(session.rows("hold_one", id=id), "hold", id))

    def holds(self, query: ListHolds) -> HoldPage:
        """Open holds, first to expire first; or one job's; or all, last first."""
        with self._session() as session:
            if query.job is not None:
                found = session.rows("job_holds", id=query.job)
                return HoldPage(holds=[hold for row in found if (hold := rows.hold(row)).state == "open" or query.all])
            if query.all:
                before = listing.cursor_id(query.cursor)
                found = session.rows(
                    "holds_all", before_id=FOREVER if before is None else before, limit=query.limit + 1
                )
                cursor = str(found[query.limit - 1][0]) if len(found) > query.limit else None
            else:
                deadline, after = _hold_cursor(query.cursor)
                found = session.rows(
                    "holds_open", forever=FOREVER, after_deadline=deadline, after_id=after, limit=query.limit + 1
                )
                last = found[query.limit - 1] if len(found) > query.limit else None
                cursor = f"{FOREVER if last[10] is None else last[10]}-{last[0]}" if last else None
        return HoldPage(holds=[rows.hold(row) for row in found[: query.limit]], cursor=cursor)

    def workers(self, since: int) -> list[Worker]:
        """Workers heard of since then."""
        with self._session() as session:
            return [rows.worker(row) for row in session.rows("worker_rows", since=since)]

    def draining(self) -> set[str]:
        """Workers that were asked to drain and did not start again since."""
        with self._session() as session:
            return {id for (id,) in session.rows("workers_draining")}

    def due(self) -> Due:
        """When the loops have something to do."""
        with self._session() as session:
            return Due(
                job_at=session.one("due_job"),
                lease_at=session.one("due_lease"),
                schedule_at=session.one("due_schedule"),
                schedule_queued=bool(session.one("due_queued")),
            )

    def finished_queues(self) -> list[tuple[str, str]]:
        """Queues and terminal states that have jobs."""
        with self._session() as session:
            return [(queue, state) for queue, state in session.rows("finished_queues")]

    def ping(self) -> None:
        """Raises `Unavailable` where the store does not answer."""
        with self._session() as session:
            session.query("SELECT 1", {})

    def close(self) -> None:
        """Give the connections back."""
        self._close()


def _missing(noun: str, name: object) -> NotFound:
    lists = {"hold": "approvals"}.get(noun, f"{noun}s")
    return NotFound(f"there is no {noun} {name}", path="id", help=f"roost {lists} list shows what there is")


def _first(found: list[tuple[Any, ...]], noun: str, name: object) -> tuple[Any, ...]:
    if not found:
        raise _missing(noun, name)
    return found[0]


def _summary(session: Session, id: int) -> tuple[Any, ...]:
    return _first(session.rows("job_summary", id=id), "job", id)


def _job(session: Session, id: int) -> Job:
    row = _summary(session, id)
    ended: list[Attempt] = [rows.attempt(attempt) for attempt in session.rows("job_attempts", id=id)]
    job = rows.job(row, session.rows("job_whole", id=id)[0], session.rows("job_more", id=id)[0], ended)
    if job.state is State.WAITING:
        waits = blockers(session, id)
        job.waiting_for = waits.count or None
        job.waiting_signal = waits.signal
    return job


def _queues(session: Session, now: int) -> list[Queue]:
    found: dict[str, Queue] = {}
    for name, paused_at, paused_by, rules in session.rows("queue_rows"):
        found[name] = Queue(
            name=name,
            paused=paused_at is not None,
            paused_at=rows.time(paused_at),
            paused_by=paused_by,
            rules=_rules.decode(rules) if rules else None,
        )
    for name, state, count, oldest in session.rows("queue_states"):
        queue = found.setdefault(name, Queue(name=name))
        setattr(queue, state, count)
        if oldest is not None:
            queue.oldest_ready_seconds = max(0, now - oldest) / 1000
    for name, state, count in session.rows("queue_ended"):
        setattr(found.setdefault(name, Queue(name=name)), state, count)
    return [found[name] for name in sorted(found)]


def _hold_cursor(cursor: str | None) -> tuple[int, int]:
    if cursor is None:
        return -1, -1
    deadline, _, id = cursor.partition("-")
    if not (deadline.isascii() and deadline.isdigit() and id.isascii() and id.isdigit() and len(cursor) < 40):
        raise InvalidCursor("the cursor is not one of this list", path="cursor", help="start without a cursor")
    return int(deadline), int(id)
