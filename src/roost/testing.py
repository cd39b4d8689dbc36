"""Tests of programs that use Roost: a store in memory, a clock that moves when told to, and jobs that run when told to.

With pytest, `roost.pytest_plugin` has all of this as fixtures.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import msgspec

from roost.domain.duration import to_milliseconds
from roost.embedded import Embedded
from roost.errors import ConfigurationError, RoostError
from roost.sdk._async.client import AsyncClient
from roost.sdk.adapters import encode
from roost.sdk.app import App
from roost.sdk.connection import Connection
from roost.sdk.function import Enqueuer
from roost.sdk.outcome import DurationLike
from roost.sdk.registry import Registry
from roost.sdk.worker import Worker
from roost.service.clock import SystemClock
from roost.wire.jobs import Job

MEMORY = "sqlite://:memory:"
MOST_ROUNDS = 1000
LEASE_MS = 15_000
"""How long a worker's lease is where nobody says so."""


class VirtualClock:
    """A clock that stands still until it is moved; `roost.service.clock.Clock`, safe to move from any thread."""

    def __init__(self, start: datetime | None = None) -> None:
        """Starts at ``start``, or at the present."""
        self._ms = SystemClock().now() if start is None else round(start.timestamp() * 1000)
        self._passed_ms = 0
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Future[None], float] = {}

    def now(self) -> int:
        """Wall time in milliseconds since the epoch."""
        return self._ms

    def monotonic(self) -> float:
        """Seconds that have passed on this clock."""
        return self._passed_ms / 1000

    @property
    def time(self) -> datetime:
        """Wall time, in UTC."""
        return datetime.fromtimestamp(self._ms / 1000, UTC)

    def advance(self, duration: DurationLike) -> None:
        """Let ``duration`` pass: whatever waited for a moment in it wakes up."""
        passed = to_milliseconds(duration, path="duration")
        with self._lock:
            self._ms += passed
            self._passed_ms += passed
            due = [future for future, until in self._waiting.items() if until <= self._passed_ms / 1000]
        for future in due:
            with contextlib.suppress(RuntimeError):  # its loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_wake, future)

    def travel(self, moment: datetime) -> None:
        """Let time pass until ``moment``; raises `ValueError` where that is past."""
        left = round(moment.timestamp() * 1000) - self._ms
        if left < 0:
            raise ValueError(f"{moment} is past: the clock says {self.time}")
        self.advance(left / 1000)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait until ``event`` is set or ``seconds`` have passed on this clock; True when it is set."""
        if event.is_set():
            return True
        if seconds is not None and seconds <= 0:
            return False
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if seconds is not None:
            with self._lock:
                self._waiting[alarm] = self._passed_ms / 1000 + seconds
        setting = asyncio.ensure_future(event.wait())
        try:
            either: set[asyncio.Future[Any]] = {setting, alarm}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return event.is_set()
        finally:
            setting.cancel()
            alarm.cancel()
            with self._lock:
                self._waiting.pop(alarm, None)


class Harness:
    """A store in memory with a virtual clock, applications bound to it, and a worker that runs on demand.

    Used as a context manager: ``with app.testing() as roost: …``.
    """

    def __init__(self, clock: VirtualClock | None = None) -> None:
        self.clock = clock or VirtualClock()
        self._embedded = Embedded(MEMORY, clock=self.clock, durable=False)
        self._connection = Connection(lambda: MEMORY, store=self._embedded)
        self._apps: list[App] = []
        self._makes_worker: Callable[..., Worker] = Worker

    def __enter__(self) -> Harness:
        self._embedded.run(self._embedded.runtime.start_loops())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._embedded.close()

    @contextlib.contextmanager
    def bound(self, app: App) -> Iterator[App]:
        """Keep the jobs of ``app`` here for a while, its schedules stored as by a worker's start."""
        self._apps.append(app)
        try:
            with app.connected_to(self._connection):
                self._embedded.run(app.sync_schedules())
                yield app
        finally:
            self._apps.remove(app)

    async def drain(self, *, concurrency: int = 10, timeout: float = 60.0) -> None:
        """Run what is ready, and what is due on the clock, and what that enqueues, until nothing is left to run now.

        Jobs that wait for a later time, a person or a resumed queue stay. Raises `ConfigurationError` for a job nobody
        has a handler for, `AssertionError` where it does not end within ``timeout`` real seconds.
        """
        registry = self._registry()
        try:
            async with asyncio.timeout(timeout):
                while queues := self._ready(registry):
                    client = self._connection.asynchronous
                    worker = self._makes_worker(registry, client, queues=queues, concurrency=concurrency, grace=0)
                    await worker.run("idle")
        except TimeoutError:
            raise AssertionError(
                f"after {timeout:g} s there are still jobs to run: does one come back at once?"
            ) from None

    def drain_sync(self, *, concurrency: int = 10, timeout: float = 60.0) -> None:
        """`drain` in an event loop of its own, for tests without one."""
        asyncio.run(self.drain(concurrency=concurrency, timeout=timeout))

    @property
    def client(self) -> AsyncClient:
        """Every operation of the API, on this store."""
        return self._connection.asynchronous

    def jobs(self, job: Enqueuer[..., Any] | str | None = None) -> list[Job]:
        """All jobs in the order they were enqueued (of one kind), whatever became of them."""
        client = self._connection.synchronous
        kind = None if job is None else [_kind(job)]
        found: list[Job] = []
        cursor = None
        while True:
            page = client.jobs.list(kind=kind, limit=500, cursor=cursor)
            found += [client.jobs.get(summary.id) for summary in page.jobs]
            cursor = page.cursor
            if cursor is None:
                return found[::-1]

    def assert_enqueued(self, job: Enqueuer[..., Any] | str, /, **input: object) -> Job:
        """The first job of the kind whose input has these values; raises `AssertionError` where there is none."""
        for found in self.jobs(job):
            if _matches(found, input):
                return found
        others = "".join(f"\n  {other.kind} {bytes(other.input).decode()}" for other in self.jobs()) or " nothing"
        raise AssertionError(f"no {_kind(job)} with {_shown(input)} was enqueued; enqueued:{others}")

    def refute_enqueued(self, job: Enqueuer[..., Any] | str, /, **input: object) -> None:
        """Raises `AssertionError` where a job of the kind has these values in its input."""
        for found in self.jobs(job):
            if _matches(found, input):
                raise AssertionError(f"job {found.id} is a {found.kind} with {bytes(found.input).decode()}")

    @contextlib.contextmanager
    def working_with(self, make: Callable[..., Worker]) -> Iterator[None]:
        """Let `drain` use another kind of worker for a while."""
        previous, self._makes_worker = self._makes_worker, make
        try:
            yield
        finally:
            self._makes_worker = previous

    def lose_leases(self) -> None:
        """Let time pass until every lease that is held now has run out, and what that means has happened."""
        due = self._embedded.store.reader.due()
        if due.lease_at is not None:
            self.clock.advance((max(due.lease_at - self.clock.now(), 0) + LEASE_MS) / 1000)
            self._embedded.run(self._reaped())

    def skip_to_next(self) -> bool:
        """Let time pass until the next job is due; False where none waits for a time."""
        at = self._embedded.store.reader.due().job_at
        if at is None:
            return False
        self.clock.advance(max(at - self.clock.now(), 0) / 1000)
        return True

    async def _reaped(self) -> None:
        for _ in range(MOST_ROUNDS):
            lease_at = self._embedded.store.reader.due().lease_at
            if lease_at is None or lease_at > self.clock.now():
                return
            await asyncio.sleep(0)
        raise AssertionError("leases that ran out are not taken back; the log says why")

    def _registry(self) -> Registry:
        merged = Registry()
        for app in self._apps:
            for handler in app.registry:
                merged.add(handler)
        return merged

    def _ready(self, registry: Registry) -> list[str]:
        """The queues with something to run, once the store's loops have done what is due."""
        self._embedded.run(self._settled())
        client = self._connection.synchronous
        queues = [queue.name for queue in client.queues.list() if queue.ready and not queue.paused]
        if queues:
            for job in client.jobs.list(state=["ready"], queue=queues, limit=500).jobs:
                if registry.get(job.kind) is None:
                    raise ConfigurationError(f"nobody handles {job.kind!r} (job {job.id})", help="bind its app too")
        return queues

    async def _settled(self) -> None:
        """Let the loops, which the clock has woken, go on until nothing is due any more."""
        for _ in range(MOST_ROUNDS):
            due, now = self._embedded.store.reader.due(), self.clock.now()
            moments = [moment for moment in (due.job_at, due.schedule_at) if moment is not None]
            if not due.schedule_queued and all(moment > now for moment in moments):
                return
            await asyncio.sleep(0)
        raise AssertionError("the store does not get done with what is due; its log says why")


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _kind(job: Enqueuer[..., Any] | str) -> str:
    return job if isinstance(job, str) else job.kind


def _matches(job: Job, wanted: dict[str, object]) -> bool:
    found = msgspec.json.decode(job.input)
    if not isinstance(found, dict):
        return not wanted
    missing = object()
    return all(found.get(name, missing) == value for name, value in _plain(wanted).items())


def _plain(values: dict[str, object]) -> dict[str, Any]:
    """As they are in a stored input."""
    try:
        plain: dict[str, Any] = msgspec.json.decode(encode(values))
    except RoostError as error:
        raise AssertionError(f"no input can have that: {error}") from None
    return plain


def _shown(values: dict[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items()) or "any input"
