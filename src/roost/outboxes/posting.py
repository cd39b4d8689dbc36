"""What ``roost.outbox(...)`` gives: jobs enqueued in the caller's transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar
from urllib.parse import unquote
from uuid import uuid4

import msgspec

from roost.domain.duration import parse_duration
from roost.errors import ConfigurationError, InvalidRequest, RoostError
from roost.outboxes import direct, table
from roost.outboxes.links import RELEASE, AsyncPsycopgLink, Link, set_savepoint
from roost.sdk.function import Arguments, Call, Enqueuer
from roost.sdk.handle import Handle
from roost.service.admitting import admit
from roost.service.clock import Clock
from roost.service.rules import Rules
from roost.wire.codec import encode
from roost.wire.jobs import NewJob

if TYPE_CHECKING:
    from roost.sdk.app import App

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Posted(Generic[R]):
    """A job that is there as soon as the caller's transaction is committed, and never was where it is rolled back.

    ``handle`` is the job where it was stored beside Roost's own (None where a relay will bring it), ``entry`` the name
    of its row in the outbox table (None where it is stored already).
    """

    __slots__ = ("entry", "handle")

    def __init__(self, handle: Handle[R] | None, entry: str | None) -> None:
        self.handle = handle
        self.entry = entry

    @property
    def id(self) -> int | None:
        """The job's id; None where only the relay will learn it."""
        return None if self.handle is None else self.handle.id

    @property
    def duplicate(self) -> bool:
        """Whether its unique key was held already, and this is the holder."""
        return self.handle is not None and self.handle.duplicate

    def __repr__(self) -> str:
        return f"<posted job {self.id}>" if self.handle is not None else f"<posted as outbox row {self.entry}>"


class Stored(msgspec.Struct, frozen=True):
    """Where a job went: its id, or the name of its row."""

    id: int | None
    entry: str | None
    duplicate: bool = False


def store(link: Link, url: str, jobs: list[NewJob], clock: Clock) -> list[Stored]:
    """Write ``jobs`` in the link's transaction: beside Roost's own where ``url`` is this database, else in its outbox.

    Checked before anything is written; all or none. Raises what admission refuses, with the job's index in the path
    where there are several; `UniqueConflict`; `ConfigurationError` where the database has no outbox.
    """
    if not jobs:
        return []
    home = direct.Homes.of(url, link)
    if home is not None:
        return [Stored(row.id, None, row.duplicate) for row in direct.enqueue(link, home, jobs)]
    _refuse_own_file(link, url)
    now = clock.now()
    rows = []
    for index, job in enumerate(jobs):
        path = "" if len(jobs) == 1 else f"jobs[{index}]."
        if job.ref is not None or any(isinstance(one, str) for one in job.after or ()):
            raise InvalidRequest(
                "a job in an outbox cannot be named by others", path=f"{path}ref", help="enqueue the graph from a job"
            )
        admit(job, Rules(), lambda: now, path)
        rows.append((uuid4().hex, encode(_at_fixed_times(job, now)).decode()))
    table.require(link)
    if link.dialect == "postgresql":
        # Only the server knows for sure whether a transaction is open.
        set_savepoint(link)
        link.run(RELEASE, {})
    table.put(link, rows, now)
    return [Stored(None, id) for id, _ in rows]


def _at_fixed_times(job: NewJob, now: int) -> NewJob:
    """``job`` with times instead of durations where the API takes either: they count from now, not from the relay."""
    changes: dict[str, Any] = {}
    start = now if job.run_at is None else round(job.run_at.timestamp() * 1000)
    if job.delay is not None:
        start = now + parse_duration(job.delay)
        changes |= {"run_at": _moment(start), "delay": None}
    if job.ttl is not None:
        changes |= {"expires_at": _moment(max(start, now) + parse_duration(job.ttl)), "ttl": None}
    return msgspec.structs.replace(job, **changes) if changes else job


def _moment(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


def _refuse_own_file(link: Link, url: str) -> None:
    """Raises `ConfigurationError` where an SQLite connection is to the very file Roost keeps its jobs in."""
    if link.dialect != "sqlite" or not url.startswith("sqlite:///"):
        return
    file = next((row[2] for row in link.rows("PRAGMA database_list", {}) if row[1] == "main"), "")
    if file and Path(file).resolve() == Path(unquote(url.removeprefix("sqlite:///"))).resolve():
        raise ConfigurationError(
            f"{file} is the file Roost keeps its jobs in, which no other SQLite library may write",
            help="keep your tables in a file of their own, with an outbox table that a relay empties",
        )


class _Context:
    """What the sync and the async outbox share: which Roost is meant, and whether the block is still open."""

    def __init__(self, url: str | None, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._open = True

    def _target(self, app: App | None) -> str:
        if not self._open:
            raise ConfigurationError("the outbox was left already", help="enqueue inside the with block")
        if self._url is not None:
            return self._url
        if app is None:
            raise ConfigurationError("which Roost is meant?", path="url", help="roost.outbox(connection, url=...)")
        return app.url


def _posted(function: Enqueuer[Any, R], stored: Stored) -> Posted[R]:
    if stored.id is None:
        return Posted(None, stored.entry)
    return Posted(Handle(stored.id, function.app.connection, function.handler, duplicate=stored.duplicate), None)


def _new_jobs(function: Enqueuer[P, Any], calls: Iterable[Call[P]]) -> list[NewJob]:
    # A call that is no `Arguments` is checked by the function's own signature, not by the type checker.
    untyped: Enqueuer[..., Any] = function
    jobs: list[NewJob] = []
    for index, call in enumerate(calls):
        try:
            if isinstance(call, Arguments):
                jobs.append(untyped.new_job(*call.args, **call.kwargs))
            elif isinstance(call, tuple):
                jobs.append(untyped.new_job(*call))
            else:
                jobs.append(untyped.new_job(**call))
        except RoostError as error:
            error.path = f"jobs[{index}].{error.path}"
            raise
    return jobs


class Outbox(_Context):
    """Enqueues in the transaction of one connection, which stays its owner's to commit or to roll back."""

    def __init__(self, link: Callable[[], Link], url: str | None, clock: Clock) -> None:
        super().__init__(url, clock)
        self._link = link

    def enqueue(self, function: Enqueuer[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Posted[R]:
        """Enqueue a call of ``function`` (a job, or ``job.options(...)``) with the caller's transaction.

        Raises, with nothing written, `InvalidRequest` for arguments and options that cannot be; `UniqueConflict` where
        the job is stored at once and its key is another input's; `ConfigurationError` where the connection is in no
        transaction or its database has no outbox.
        """
        url = self._target(function.app)
        job = function.new_job(*args, **kwargs)
        return _posted(function, store(self._link(), url, [job], self._clock)[0])

    def enqueue_many(self, function: Enqueuer[P, R], calls: Iterable[Call[P]]) -> list[Posted[R]]:
        """`enqueue` for each call (as `JobFunction.enqueue_many` takes them), all or none, in one set of statements."""
        url = self._target(function.app)
        jobs = _new_jobs(function, calls)
        return [_posted(function, stored) for stored in store(self._link(), url, jobs, self._clock)]

    def put(self, jobs: Sequence[NewJob]) -> list[Stored]:
        """`enqueue_many` for jobs of any kind, as the API takes them; needs ``roost.outbox(..., url=...)``."""
        return store(self._link(), self._target(None), [*jobs], self._clock)

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False


class Runner(Protocol):
    """Runs work that needs a `Link` to an asynchronous connection."""

    async def __call__(self, work: Callable[[Link], T]) -> T: ...


class AsyncOutbox(_Context):
    """`Outbox` for SQLAlchemy's `AsyncSession` and `AsyncConnection` and for psycopg's `AsyncConnection`."""

    def __init__(self, run: Runner, url: str | None, clock: Clock) -> None:
        super().__init__(url, clock)
        self._run = run

    async def enqueue(self, function: Enqueuer[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Posted[R]:
        """See `Outbox.enqueue`."""
        url = self._target(function.app)
        jobs = [function.new_job(*args, **kwargs)]
        stored = await self._run(lambda link: store(link, url, jobs, self._clock))
        return _posted(function, stored[0])

    async def enqueue_many(self, function: Enqueuer[P, R], calls: Iterable[Call[P]]) -> list[Posted[R]]:
        """See `Outbox.enqueue_many`."""
        url = self._target(function.app)
        jobs = _new_jobs(function, calls)
        return [_posted(function, one) for one in await self._run(lambda link: store(link, url, jobs, self._clock))]

    async def put(self, jobs: Sequence[NewJob]) -> list[Stored]:
        """See `Outbox.put`."""
        url = self._target(None)
        return await self._run(lambda link: store(link, url, [*jobs], self._clock))

    async def __aenter__(self) -> AsyncOutbox:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._open = False


class InThread:
    """A `Runner` for psycopg's asynchronous connection: the work in a thread, its statements on the loop."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def __call__(self, work: Callable[[Link], T]) -> T:
        link = AsyncPsycopgLink(self._connection, asyncio.get_running_loop())
        task = asyncio.ensure_future(asyncio.to_thread(work, link))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # Whoever cancelled will use the connection, to roll back at least: no statement may be under way then.
            await asyncio.wait([task])
            raise


class InSession:
    """A `Runner` for SQLAlchemy's asynchronous session or connection."""

    def __init__(self, owner: Any, link: Callable[[Any], Link]) -> None:
        self._owner = owner
        self._link = link

    async def __call__(self, work: Callable[[Link], T]) -> T:
        found: T = await self._owner.run_sync(lambda owner: work(self._link(owner)))
        return found
