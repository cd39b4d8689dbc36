"""The object a program starts from: its jobs, its schedules, and where they are kept."""

from __future__ import annotations

import asyncio
import importlib
import os
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, Protocol, TypeVar, Unpack, overload

from roost.domain.schedule import OverlapPolicy
from roost.errors import ConfigurationError, InvalidRequest, NotFound
from roost.sdk.around import Around
from roost.sdk.calls import JobCall
from roost.sdk.configuration import find_url
from roost.sdk.connection import Connection
from roost.sdk.flow import BatchHandle, OpenBatch, made, new_batch, parted, take
from roost.sdk.function import JobFunction
from roost.sdk.handle import Handle
from roost.sdk.options import Declaration, Options, read_declaration
from roost.sdk.outcome import DurationLike
from roost.sdk.patience import Patience
from roost.sdk.reference import JobReference
from roost.sdk.registry import Handler, Isolation, Registry
from roost.sdk.schedules import Declared, schedule_rule
from roost.sdk.surroundings import Surroundings
from roost.wire.jobs import NewJob

if TYPE_CHECKING:
    from roost.sdk._async.client import AsyncClient
    from roost.sdk._sync.client import Client
    from roost.sdk.worker import Worker
    from roost.testing import Harness

P = ParamSpec("P")
C = TypeVar("C")
R = TypeVar("R")
A = TypeVar("A", bound=Around)


class JobDecorator(Protocol):
    """Turns a function, sync or async, into a job."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> JobFunction[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> JobFunction[P, R, R]: ...


class App:
    """Jobs, schedules and their store: a file in this process, a database, or a server; may be shared by threads.

    ``url`` is ``sqlite:///file``, ``sqlite://:memory:``, ``postgresql://…`` or ``http://…``; where None it is taken,
    when first needed, from ``ROOST_URL``, from ``[tool.roost]`` of pyproject.toml or roost.toml, else ``./roost.db``.
    ``timeout`` is how many seconds one answer of a server may take; ``patience`` how long refused calls are repeated.
    """

    def __init__(self, url: str | None = None, *, timeout: float = 30.0, patience: Patience | None = None) -> None:
        self.registry = Registry()
        self.surroundings = Surroundings()
        self.connection = Connection(
            lambda: url or find_url(os.environ, Path.cwd()), timeout=timeout, patience=patience
        )
        self.schedules: dict[str, Declared] = {}
        self._functions: dict[str, JobFunction[..., Any, Any]] = {}

    @property
    def url(self) -> str:
        """Where the jobs are; raises `ConfigurationError` where a configuration file is wrong."""
        return self.connection.url

    @property
    def client(self) -> AsyncClient:
        """Every operation of the API, for code on an event loop."""
        return self.connection.asynchronous

    @property
    def sync_client(self) -> Client:
        """Every operation of the API, for code without an event loop."""
        return self.connection.synchronous

    @property
    def queues(self) -> list[str]:
        """The queues that the program's jobs go to by default, ``default`` last: what its worker takes from."""
        found = {function.queue for function in self._functions.values()}
        return [*sorted(found - {"default"}), "default"]

    @overload
    def job(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> JobFunction[P, Coroutine[Any, Any, R], R]: ...
    @overload
    def job(self, function: Callable[P, R], /) -> JobFunction[P, R, R]: ...
    @overload
    def job(self, /, *, name: str | None = None, **rules: Unpack[Declaration]) -> JobDecorator: ...
    def job(
        self, function: Callable[..., Any] | None = None, /, *, name: str | None = None, **rules: Unpack[Declaration]
    ) -> Any:
        """Make a function a job: it stays callable, and gets ``enqueue`` and its kin.

        Its input is its parameters by name, as JSON; a parameter annotated `roost.Context` (`roost.SyncContext` in a
        sync function) or with `roost.Depends` is given by the worker. ``name`` defaults to ``module.function``.
        ``retries``, ``backoff``, ``retry_base``, ``retry_cap`` and ``errors`` (made by `roost.on_error`) change single
        fields of ``retry``. ``timeout`` bounds one attempt, ``deadline`` the whole job, ``ttl`` its start. ``limits``
        are what it counts against while it runs. ``hold`` makes every job wait for a person's approval.
        ``isolate="process"`` runs it in a process of its own that can be killed, and ``memory`` (such as ``"256MB"``)
        is the most that process may use. Raises `ConfigurationError`, `InvalidRequest` and `InvalidDuration` for what
        cannot be meant.
        """
        isolate, memory, options = read_declaration(rules)

        def decorate(function: Callable[..., Any]) -> JobFunction[..., Any, Any]:
            return self._add(function, name, isolate, memory, options)

        return decorate if function is None else decorate(function)

    def around(self, middleware: A, /) -> A:
        """Run ``middleware(job, call)`` around every job of this application; used as a decorator.

        It calls ``call()`` (``await call()`` in an async one) to run the job, and returns the result; the first one
        added is the outermost. It may raise what a handler may raise. ``job`` is a `roost.RunningJob`.
        """
        self.surroundings.middleware.append(middleware)
        return middleware

    @property
    def overrides(self) -> dict[Callable[..., Any], Callable[..., Any]]:
        """What to call in the place of a function that `roost.Depends` names: for tests."""
        return self.surroundings.scope.overrides

    def schedule(
        self,
        cron: str | None = None,
        *,
        every: DurationLike | None = None,
        at: datetime | str | None = None,
        tz: str = "UTC",
        gap: Literal["next", "skip"] = "next",
        fold: Literal["first", "both"] = "first",
        missed: Literal["latest", "all", "none"] = "latest",
        missed_limit: int = 100,
        grace: DurationLike = "1m",
        overlap: OverlapPolicy = "skip",
        jitter: DurationLike = "0s",
        interval: Literal["anchored", "after_completion"] = "anchored",
        starts_at: datetime | str | None = None,
        ends_at: datetime | str | None = None,
        max_runs: int | None = None,
        alarm_after: DurationLike | None = None,
        alarm_unfinished_after: DurationLike | None = None,
        remove_after_last: bool = False,
        name: str | None = None,
        **rules: Unpack[Declaration],
    ) -> JobDecorator:
        """Make a function without parameters a job, and create one by cron, every so often, or at one time.

        What `job` takes is taken here as well, and holds for the jobs of every fire. Policies as in
        `roost.domain.schedule.ScheduleRule`. The schedule has the job's name; it is stored when a worker starts (or by
        `sync_schedules`), and left alone where it is the same already. Raises `InvalidCron`, `InvalidZone`,
        `InvalidDuration`, `InvalidRequest` and `ConfigurationError`.
        """
        rule = schedule_rule(
            cron, every=every, at=at, tz=tz, gap=gap, fold=fold, missed=missed, missed_limit=missed_limit,
            grace=grace, overlap=overlap, jitter=jitter, interval=interval, starts_at=starts_at, ends_at=ends_at,
            max_runs=max_runs, alarm_after=alarm_after, alarm_unfinished_after=alarm_unfinished_after,
        )  # fmt: skip
        make = self.job(name=name, **rules)

        def decorate(function: Callable[..., Any]) -> Any:
            job = make(function)
            self.schedules[job.kind] = Declared(job.kind, rule, job, remove_after_last)
            return job

        return decorate

    def _add(
        self, function: Callable[..., Any], name: str | None, isolate: Isolation, memory: int | None, options: Options
    ) -> JobFunction[..., Any, Any]:
        handler: Handler[Any] = Handler(
            function, kind=name, isolate=isolate, memory=memory, surroundings=self.surroundings
        )
        job: JobFunction[..., Any, Any] = JobFunction(self, function, handler, options)
        self.registry.add(handler)
        self._functions[handler.kind] = job
        return job

    def batch(
        self,
        name: str = "",
        *,
        on_complete: JobCall[Any] | None = None,
        on_success: JobCall[Any] | None = None,
        on_failure: JobCall[Any] | None = None,
    ) -> OpenBatch:
        """Jobs that belong together: ``async with app.batch("pages", on_complete=report.call()) as batch: …``.

        The block adds jobs (``batch.add``, or any ``enqueue`` with ``.options(batch=batch)``); at its end the batch is
        sealed, or, where it ended by an error, cancelled. When the last job has ended, by whatever way, the callbacks
        are enqueued, once: ``on_complete`` always, ``on_success`` where all succeeded, ``on_failure`` where not.
        """
        request = new_batch(name, seal=False, on_complete=on_complete, on_success=on_success, on_failure=on_failure)
        return OpenBatch(self.connection, request)

    async def chain(
        self,
        *calls: JobCall[Any],
        name: str = "",
        on_complete: JobCall[Any] | None = None,
        on_success: JobCall[Any] | None = None,
        on_failure: JobCall[Any] | None = None,
    ) -> BatchHandle:
        """Run jobs one after the other: one that does not succeed cancels those behind it, and so does `roost.Exit`.

        They are stored in one transaction, with callbacks as those of `batch`; the handle's ``handles`` are theirs.
        """
        request = new_batch(
            name,
            calls,
            chain=True,
            seal=True,
            on_complete=on_complete,
            on_success=on_success,
            on_failure=on_failure,
        )
        return made(await self.client.batches.create(request), calls, self.connection)

    def chain_sync(
        self,
        *calls: JobCall[Any],
        name: str = "",
        on_complete: JobCall[Any] | None = None,
        on_success: JobCall[Any] | None = None,
        on_failure: JobCall[Any] | None = None,
    ) -> BatchHandle:
        """`chain` without an event loop."""
        request = new_batch(
            name,
            calls,
            chain=True,
            seal=True,
            on_complete=on_complete,
            on_success=on_success,
            on_failure=on_failure,
        )
        return made(self.sync_client.batches.create(request), calls, self.connection)

    async def signal(self, name: str, data: object = None, *, job: JobReference | int | None = None) -> int:
        """Wake the jobs that wait for ``name`` (or only ``job``) with ``data``; how many waited for it.

        A job that was created before uses it once, also where it only begins to wait later. Anything that is JSON.
        """
        return (await self.client.signals.send(name, data, job=_id(job))).woken

    def signal_sync(self, name: str, data: object = None, *, job: JobReference | int | None = None) -> int:
        """`signal` without an event loop."""
        return self.sync_client.signals.send(name, data, job=_id(job)).woken

    async def enqueue_all(self, calls: Iterable[JobCall[R]]) -> list[Handle[R]]:
        """Jobs of any kinds, a thousand to a transaction; one may come ``after`` others of the same thousand.

        So a graph is stored whole, or not at all; one with a circle is refused.
        """
        listed = [*calls]
        handles: list[Handle[R]] = []
        for jobs in parted(listed):
            take(handles, listed, await self.client.jobs.enqueue_many(jobs), self.connection)
        return handles

    def enqueue_all_sync(self, calls: Iterable[JobCall[R]]) -> list[Handle[R]]:
        """`enqueue_all` without an event loop."""
        listed = [*calls]
        handles: list[Handle[R]] = []
        for jobs in parted(listed):
            take(handles, listed, self.sync_client.jobs.enqueue_many(jobs), self.connection)
        return handles

    async def sync_schedules(self) -> list[str]:
        """Store the program's schedules that are new or changed, and say which; their names are the jobs' names."""
        written = []
        for declared, job in self._declared():
            try:
                stored = await self.client.schedules.get(declared.name)
            except NotFound:
                stored = None
            if declared.differs(stored, job):
                await self.client.schedules.put(
                    declared.name, declared.rule, job, remove_after_last=declared.remove_after_last
                )
                written.append(declared.name)
        return written

    def _declared(self) -> Iterator[tuple[Declared, NewJob]]:
        for declared in self.schedules.values():
            try:
                yield declared, declared.function.new_job()
            except InvalidRequest as error:
                raise ConfigurationError(
                    f"{declared.name} is scheduled, but cannot be called without arguments: {error}",
                    help="give its parameters defaults, or let it enqueue the job that has them",
                ) from None

    async def worker(
        self,
        *,
        queues: Sequence[str] | Mapping[str, int] | None = None,
        concurrency: int = 10,
        lease: str = "15s",
        name: str | None = None,
        grace: float = 10.0,
    ) -> Worker:
        """A worker for the program's jobs, everything it needs in place: schedules stored, the store's loops running.

        ``queues`` in strict order (`queues` where None), or by weight (``{"mail": 3, "slow": 1}``), ``concurrency``
        jobs at a time, ``grace`` seconds for running jobs when it is stopped.
        """
        from roost.sdk.worker import Worker

        self.registry.check()
        worker = Worker(
            self.registry,
            self.client,
            queues=queues or self.queues,
            concurrency=concurrency,
            lease=lease,
            name=name,
            grace=grace,
        )
        await self.connection.start_loops()
        await self.sync_schedules()
        return worker

    async def run_worker(
        self,
        *,
        queues: Sequence[str] | Mapping[str, int] | None = None,
        concurrency: int = 10,
        lease: str = "15s",
        name: str | None = None,
        grace: float = 10.0,
        until: Literal["stopped", "idle"] = "stopped",
    ) -> None:
        """Run the program's jobs here until the worker is stopped (or, with ``idle``, nothing is ready)."""
        worker = await self.worker(queues=queues, concurrency=concurrency, lease=lease, name=name, grace=grace)
        await worker.run(until=until)

    def run_worker_sync(
        self,
        *,
        queues: Sequence[str] | Mapping[str, int] | None = None,
        concurrency: int = 10,
        lease: str = "15s",
        name: str | None = None,
        grace: float = 10.0,
        until: Literal["stopped", "idle"] = "stopped",
    ) -> None:
        """`run_worker` in an event loop of its own."""
        asyncio.run(
            self.run_worker(queues=queues, concurrency=concurrency, lease=lease, name=name, grace=grace, until=until)
        )

    @contextmanager
    def connected_to(self, connection: Connection) -> Iterator[None]:
        """Keep the jobs elsewhere for a while: what tests do."""
        previous, self.connection = self.connection, connection
        try:
            yield
        finally:
            self.connection = previous

    @contextmanager
    def testing(self) -> Iterator[Harness]:
        """Keep the jobs in memory for a while, under a clock of the test's own; see `roost.testing.Harness`."""
        testing = importlib.import_module("roost.testing")
        with testing.Harness() as harness, harness.bound(self):
            yield harness

    async def aclose(self) -> None:
        """Give connections back; the next use opens them again."""
        await self.connection.aclose()

    def close(self) -> None:
        """`aclose` where no event loop runs."""
        self.connection.close()


def _id(job: JobReference | int | None) -> int | None:
    return job.id if isinstance(job, JobReference) else job
