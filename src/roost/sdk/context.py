"""What a handler is given: steps that are never repeated, sleeps and questions that occupy no worker, and a voice.

`Context` is for async handlers, `SyncContext` for sync ones. Both run the code of `roost.sdk.core`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Literal, ParamSpec, TypeVar, overload

from roost.errors import JobFailed
from roost.sdk.attempt import Cancellation
from roost.sdk.children import Child, SyncChild
from roost.sdk.core import Core, Decision, Level
from roost.sdk.depends import Injected
from roost.sdk.function import Call, Enqueuer
from roost.sdk.handle import Handle
from roost.sdk.outcome import DurationLike
from roost.sdk.ports import Port, Tell
from roost.sdk.reference import JobReference
from roost.sdk.results import Results, SyncResults
from roost.sdk.styles import LoopStyle, Style, ThreadStyle, drive
from roost.wire.attempts import Lease
from roost.wire.batches import Batch

P = ParamSpec("P")
T = TypeVar("T")
Item = TypeVar("Item")
StepKind = Literal["code", "llm", "tool"]

_MAP_CONCURRENCY = 10


class _Base(Injected):
    """What needs no waiting, the same in both contexts."""

    __slots__ = ("_core",)

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def job_id(self) -> int:
        return self._core.lease.id

    @property
    def attempt(self) -> int:
        """Counts from 1; a resume after a sleep or a hold is a new attempt too."""
        return self._core.lease.attempt

    @property
    def failures(self) -> int:
        """How many attempts failed before this one."""
        return self._core.lease.failures

    @property
    def kind(self) -> str:
        return self._core.lease.kind

    @property
    def queue(self) -> str:
        return self._core.lease.queue

    @property
    def deadline(self) -> datetime | None:
        """By when the whole job must have ended, in UTC."""
        ms = self._core.lease.deadline_ms
        return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)

    @property
    def cancelled(self) -> bool:
        """Whether the handler should come to an end: somebody cancelled the job, or its time or its lease is over."""
        return self._core.cancellation.is_set()

    def progress(self, current: float | None = None, total: float | None = None, message: str = "") -> None:
        """Say how far the job is; the last word travels with the next heartbeat or step."""
        self._core.progress(current, total, message)

    def log(self, message: str, level: Level = "info") -> None:
        """Add a line to the job's log (4096 characters at most), and to the logger ``roost.job``."""
        self._core.log(message, level)

    def summary(self, text: str) -> None:
        """Say in a sentence or two (4000 characters at most) what came of this attempt, for people."""
        self._core.sum_up(text)

    @property
    def last_summary(self) -> str | None:
        """What `summary` was last told."""
        return self._core.summary

    def save(self, state: object) -> None:
        """Replace the job's state blob (1 MiB); `saved` gives it to the next attempt.

        Raises `InvalidRequest` if it is not JSON, and `TooLarge`.
        """
        self._core.save(state)


class Context(_Base):
    """What an async handler gets for a parameter annotated with it."""

    __slots__ = ()

    @property
    def results(self) -> Results:
        """``await ctx.results.append(chunk)``: the result piece by piece."""
        return Results(self._core)

    async def wait_cancelled(self) -> None:
        """Until the handler should come to an end."""
        await self._core.style.cancelled(self._core.cancellation)

    @overload
    async def step(
        self, name: str, fn: Callable[..., Awaitable[T]], *args: Any, kind: StepKind = "code", **kwargs: Any
    ) -> T: ...
    @overload
    async def step(self, name: str, fn: Callable[..., T], *args: Any, kind: StepKind = "code", **kwargs: Any) -> T: ...
    async def step(self, name: str, fn: Callable[..., Any], *args: Any, kind: StepKind = "code", **kwargs: Any) -> Any:
        """``fn(*args, **kwargs)``, recorded once under ``name``: later attempts get the recorded output, not a call.

        The output goes through JSON and comes back by the function's return annotation; it is durable by then.
        A sync ``fn`` runs in a thread. Raises `StepChanged` where the name was recorded with other arguments.
        """
        return await self._core.step(name, fn, args, kwargs, kind)

    @overload
    async def map(
        self,
        name: str,
        fn: Callable[[Item], Awaitable[T]],
        items: Iterable[Item],
        *,
        concurrency: int = ...,
        kind: StepKind = ...,
    ) -> list[T]: ...
    @overload
    async def map(
        self, name: str, fn: Callable[[Item], T], items: Iterable[Item], *, concurrency: int = ..., kind: StepKind = ...
    ) -> list[T]: ...
    async def map(
        self,
        name: str,
        fn: Callable[[Any], Any],
        items: Iterable[Any],
        *,
        concurrency: int = _MAP_CONCURRENCY,
        kind: StepKind = "code",
    ) -> list[Any]:
        """A step ``name[i]`` for each item, ``concurrency`` at a time; results in order, a failure is raised.

        A failure cancels the steps that run beside it; those of kind ``llm`` and ``tool`` come to their end first, and
        are recorded.
        """
        return await self._core.map(name, fn, items, concurrency, kind)

    async def sleep(self, duration: DurationLike, name: str | None = None) -> None:
        """Go on after ``duration``; from one second on the attempt ends and no worker is occupied.

        The handler starts again from its top then, with its steps recorded. Sleeps without a name are told apart by
        their order. Raises `InvalidDuration`, and `StepChanged` where the recorded sleep had another length.
        """
        await self._core.sleep(duration, name)

    async def spawn(self, job: Enqueuer[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Child[T]:
        """Start ``job`` as part of this one's work, once, however often the handler is run again.

        Children have retries, limits and a queue of their own, and go on whatever becomes of this attempt. They are
        told apart by their order; `spawn_named` gives one a name. ``job.options(...)`` says how it runs. Raises as
        ``enqueue``, and `StepChanged` where the same child was started with another input.
        """
        return await self._core.related.spawn(job, args, kwargs, None)

    async def spawn_named(self, name: str, job: Enqueuer[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Child[T]:
        """`spawn` under a name, for handlers that start children in an order that may differ."""
        return await self._core.related.spawn(job, args, kwargs, name)

    async def spawn_many(
        self, job: Enqueuer[P, T], calls: Iterable[Call[P]], *, name: str | None = None
    ) -> list[Child[T]]:
        """A child for each call, as ``enqueue_many`` takes them: one transaction for a thousand, one step for all."""
        return await self._core.related.spawn_many(job, calls, name)

    @overload
    async def wait_for(
        self, jobs: Iterable[Child[T] | Handle[T]], *, timeout: DurationLike | None = ...
    ) -> list[T]: ...
    @overload
    async def wait_for(
        self,
        jobs: Iterable[Child[T] | Handle[T]],
        *,
        timeout: DurationLike | None = ...,
        return_failures: Literal[True],
    ) -> list[T | JobFailed]: ...
    @overload
    async def wait_for(
        self, jobs: Iterable[JobReference | int], *, timeout: DurationLike | None = ..., return_failures: bool = ...
    ) -> list[Any]: ...
    async def wait_for(
        self,
        jobs: Iterable[JobReference | int],
        *,
        timeout: DurationLike | None = None,
        return_failures: bool = False,
    ) -> list[Any]:
        """The results of these jobs, in order, once all have ended; until then the job waits and occupies no worker.

        Children, handles of jobs that were enqueued elsewhere, or ids (their results are plain JSON). Raises
        `ConfigurationError` for a job this handler enqueued itself: resumed, it would enqueue another; `spawn` it.
        Raises `JobFailed` for the first that did not succeed (``return_failures`` puts it in its result's place), and
        `ResultTimeout` where one has not ended after ``timeout``.
        """
        return await self._core.related.wait_for(jobs, timeout, return_failures=return_failures)

    @overload
    async def wait(
        self, signal: str, *, type: type[T], timeout: DurationLike | None = ..., name: str | None = ...
    ) -> T: ...
    @overload
    async def wait(self, signal: str, *, timeout: DurationLike | None = ..., name: str | None = ...) -> Any: ...
    async def wait(
        self, signal: str, *, type: Any = Any, timeout: DurationLike | None = None, name: str | None = None
    ) -> Any:
        """The data of a signal that was sent since the job was created, each once; until then the job waits.

        No worker is occupied. Waits for the same signal are told apart by their order, or by ``name``. Raises
        `ResultTimeout` where none came within ``timeout``.
        """
        return await self._core.related.wait(signal, timeout, type, name)

    @overload
    async def dependencies(self, type: type[T]) -> list[T]: ...
    @overload
    async def dependencies(self) -> list[Any]: ...
    async def dependencies(self, type: Any = Any) -> list[Any]:
        """The results of the jobs this one came ``after`` (in a chain: the one before), as they were enqueued.

        None stands for one that did not succeed.
        """
        return await self._core.related.dependencies(type)

    async def batch(self) -> Batch:
        """The batch this job belongs to, or is called back for; raises `InvalidRequest` where there is none."""
        return await self._core.related.batch()

    async def approve(
        self,
        title: str,
        *,
        show: object = None,
        expires: DurationLike | None = None,
        on_expiry: Literal["deny", "approve"] = "deny",
    ) -> Decision:
        """The approval of exactly ``show`` by a person; until it is given the job is held and occupies no worker.

        Another subject than the approved one is asked anew. Denied, or expired so, the job fails.
        """
        return await self._core.approve(title, show, expires, on_expiry)

    @overload
    async def ask(
        self, question: str, *, type: type[T], show: object = ..., expires: DurationLike | None = ...
    ) -> T: ...
    @overload
    async def ask(self, question: str, *, show: object = ..., expires: DurationLike | None = ...) -> Any: ...
    async def ask(
        self, question: str, *, type: Any = Any, show: object = None, expires: DurationLike | None = None
    ) -> Any:
        """A person's answer as ``type``; until then the job is held. Unanswered at its deadline, the job fails."""
        return await self._core.ask(question, show, expires, type)

    @overload
    async def saved(self, type: type[T]) -> T | None: ...
    @overload
    async def saved(self) -> Any: ...
    async def saved(self, type: Any = Any) -> Any:
        """The state blob last saved, by this attempt or an earlier one; None where there is none."""
        return await self._core.saved(type)


class SyncContext(_Base):
    """What a sync handler gets: as `Context`, blocking; step functions run in the handler's own thread."""

    __slots__ = ()

    @property
    def results(self) -> SyncResults:
        """``ctx.results.append(chunk)``: the result piece by piece."""
        return SyncResults(self._core)

    def wait_cancelled(self) -> None:
        """See `Context.wait_cancelled`."""
        drive(self._core.style.cancelled(self._core.cancellation))

    def step(self, name: str, fn: Callable[..., T], *args: Any, kind: StepKind = "code", **kwargs: Any) -> T:
        """See `Context.step`."""
        value: T = drive(self._core.step(name, fn, args, kwargs, kind))
        return value

    def map(
        self,
        name: str,
        fn: Callable[[Item], T],
        items: Iterable[Item],
        *,
        concurrency: int = 1,
        kind: StepKind = "code",
    ) -> list[T]:
        """See `Context.map`; more than one at a time run in threads of their own."""
        return drive(self._core.map(name, fn, items, concurrency, kind))

    def sleep(self, duration: DurationLike, name: str | None = None) -> None:
        """See `Context.sleep`."""
        drive(self._core.sleep(duration, name))

    def spawn(self, job: Enqueuer[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SyncChild[T]:
        """See `Context.spawn`."""
        return SyncChild(drive(self._core.related.spawn(job, args, kwargs, None)))

    def spawn_named(self, name: str, job: Enqueuer[P, T], /, *args: P.args, **kwargs: P.kwargs) -> SyncChild[T]:
        """See `Context.spawn_named`."""
        return SyncChild(drive(self._core.related.spawn(job, args, kwargs, name)))

    def spawn_many(
        self, job: Enqueuer[P, T], calls: Iterable[Call[P]], *, name: str | None = None
    ) -> list[SyncChild[T]]:
        """See `Context.spawn_many`."""
        return [SyncChild(child) for child in drive(self._core.related.spawn_many(job, calls, name))]

    @overload
    def wait_for(self, jobs: Iterable[SyncChild[T] | Handle[T]], *, timeout: DurationLike | None = ...) -> list[T]: ...
    @overload
    def wait_for(
        self,
        jobs: Iterable[SyncChild[T] | Handle[T]],
        *,
        timeout: DurationLike | None = ...,
        return_failures: Literal[True],
    ) -> list[T | JobFailed]: ...
    @overload
    def wait_for(
        self, jobs: Iterable[JobReference | int], *, timeout: DurationLike | None = ..., return_failures: bool = ...
    ) -> list[Any]: ...
    def wait_for(
        self,
        jobs: Iterable[JobReference | int],
        *,
        timeout: DurationLike | None = None,
        return_failures: bool = False,
    ) -> list[Any]:
        """See `Context.wait_for`."""
        return drive(self._core.related.wait_for(jobs, timeout, return_failures=return_failures))

    @overload
    def wait(self, signal: str, *, type: type[T], timeout: DurationLike | None = ..., name: str | None = ...) -> T: ...
    @overload
    def wait(self, signal: str, *, timeout: DurationLike | None = ..., name: str | None = ...) -> Any: ...
    def wait(
        self, signal: str, *, type: Any = Any, timeout: DurationLike | None = None, name: str | None = None
    ) -> Any:
        """See `Context.wait`."""
        return drive(self._core.related.wait(signal, timeout, type, name))

    @overload
    def dependencies(self, type: type[T]) -> list[T]: ...
    @overload
    def dependencies(self) -> list[Any]: ...
    def dependencies(self, type: Any = Any) -> list[Any]:
        """See `Context.dependencies`."""
        return drive(self._core.related.dependencies(type))

    def batch(self) -> Batch:
        """See `Context.batch`."""
        return drive(self._core.related.batch())

    def approve(
        self,
        title: str,
        *,
        show: object = None,
        expires: DurationLike | None = None,
        on_expiry: Literal["deny", "approve"] = "deny",
    ) -> Decision:
        """See `Context.approve`."""
        return drive(self._core.approve(title, show, expires, on_expiry))

    def ask(
        self, question: str, *, type: type[T] | None = None, show: object = None, expires: DurationLike | None = None
    ) -> T:
        """See `Context.ask`."""
        value: T = drive(self._core.ask(question, show, expires, Any if type is None else type))
        return value

    def saved(self, type: type[T] | None = None) -> T | None:
        """See `Context.saved`."""
        value: T | None = drive(self._core.saved(Any if type is None else type))
        return value


def make_context(
    lease: Lease, port: Port, tell: Callable[[Tell], None], cancellation: Cancellation, *, blocking: bool
) -> Context | SyncContext:
    """The context for a handler; ``blocking`` for a sync one, with a ``port`` that never suspends."""
    style: Style = ThreadStyle(cancellation) if blocking else LoopStyle()
    core = Core(lease, port, style, tell, cancellation)
    return SyncContext(core) if blocking else Context(core)
