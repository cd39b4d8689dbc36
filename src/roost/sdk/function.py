"""What `@app.job` makes of a function: the function itself, and how to enqueue it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import update_wrapper
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import msgspec

from roost.domain.records import HoldRule
from roost.domain.retry import RetryRule
from roost.errors import RoostError
from roost.sdk.handle import Handle
from roost.sdk.options import Options, Priority, Unique
from roost.sdk.outcome import DurationLike
from roost.sdk.registry import Handler
from roost.wire.jobs import Enqueued, NewJob

if TYPE_CHECKING:
    from roost.sdk.app import App

P = ParamSpec("P")
C = TypeVar("C")
R = TypeVar("R")

BATCH = 1000
"""Jobs in one transaction of `enqueue_many`."""


class Arguments(Generic[P]):
    """One call for `enqueue_many`, typed like the function; made by `arguments`."""

    __slots__ = ("args", "kwargs")

    def __init__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        self.args: tuple[Any, ...] = args
        self.kwargs: dict[str, Any] = kwargs


Call = Arguments[P] | tuple[Any, ...] | Mapping[str, Any]


class Enqueuer(Generic[P, R]):
    """Enqueues one kind of job under one set of options."""

    def __init__(self, app: App, handler: Handler[R], options: Options) -> None:
        self.app = app
        self.handler = handler
        self._options = options
        self._fields = options.template()

    @property
    def kind(self) -> str:
        """The job's name."""
        return self.handler.kind

    def options(
        self,
        *,
        queue: str | None = None,
        priority: Priority | None = None,
        delay: DurationLike | None = None,
        run_at: datetime | None = None,
        ttl: DurationLike | None = None,
        expires_at: datetime | None = None,
        deadline: DurationLike | None = None,
        timeout: DurationLike | None = None,
        retry: RetryRule | None = None,
        unique: Unique | None = None,
        hold: HoldRule | bool | None = None,
        tags: Mapping[str, str] | None = None,
        owner: str | None = None,
    ) -> Enqueuer[P, R]:
        """The same job under other options; what is not given stays as it is.

        ``delay`` or ``run_at``: when it may start. ``ttl`` (counted from then) or ``expires_at``: started by then, or
        never. ``deadline``: ended by then, counted from now. ``timeout``: the longest one attempt may take.
        Raises `InvalidRequest` or `InvalidDuration`.
        """
        changed = self._options.merged(
            queue=queue,
            priority=priority,
            delay=delay,
            run_at=run_at,
            ttl=ttl,
            expires_at=expires_at,
            deadline=deadline,
            timeout=timeout,
            retry=retry,
            unique=unique,
            hold=hold,
            tags=tags,
            owner=owner,
        )
        return Enqueuer(self.app, self.handler, changed)

    def arguments(self, *args: P.args, **kwargs: P.kwargs) -> Arguments[P]:
        """One call for `enqueue_many`."""
        return Arguments(*args, **kwargs)

    def new_job(self, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """What `enqueue` sends; raises `InvalidRequest` with the parameter's path for what the function cannot take."""
        return self._new_job(args, kwargs)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Store a job that calls the function with these arguments; durable when this returns.

        Raises `InvalidRequest` (before anything is sent) for arguments the function would not take, and
        `UniqueConflict` where the unique key belongs to a job with another input.
        """
        job = self._new_job(args, kwargs)
        return self._handle(await self.app.client.jobs.enqueue(job))

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """`enqueue` without an event loop."""
        job = self._new_job(args, kwargs)
        return self._handle(self.app.sync_client.jobs.enqueue(job))

    async def enqueue_many(self, calls: Iterable[Call[P]]) -> list[Handle[R]]:
        """A job for each call: a tuple of arguments, a mapping of them by name, or `arguments(...)`.

        They are stored in order, a thousand to a transaction. Raises as `enqueue`, with the call's index in the path;
        transactions before that one stay, and so do a conflict's neighbours.
        """
        handles: list[Handle[R]] = []
        for jobs in self._batches(calls):
            self._take(handles, await self.app.client.jobs.enqueue_many(jobs))
        return handles

    def enqueue_many_sync(self, calls: Iterable[Call[P]]) -> list[Handle[R]]:
        """`enqueue_many` without an event loop."""
        handles: list[Handle[R]] = []
        for jobs in self._batches(calls):
            self._take(handles, self.app.sync_client.jobs.enqueue_many(jobs))
        return handles

    def _new_job(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NewJob:
        signature = self.handler.signature
        arguments = signature.arguments(args, kwargs)
        data = msgspec.Raw(signature.encode(arguments))
        if self._options.unique is None:
            return NewJob(kind=self.handler.kind, input=data, **self._fields)
        unique = self._options.unique.rule(signature, arguments)
        return NewJob(kind=self.handler.kind, input=data, unique=unique, **self._fields)

    def _batches(self, calls: Iterable[Call[P]]) -> Iterator[list[NewJob]]:
        numbered = enumerate(calls)
        while batch := [self._numbered(index, call) for index, call in islice(numbered, BATCH)]:
            yield batch

    def _numbered(self, index: int, call: Call[P]) -> NewJob:
        try:
            if isinstance(call, Arguments):
                return self._new_job(call.args, call.kwargs)
            if isinstance(call, tuple):
                return self._new_job(call, {})
            return self._new_job((), dict(call))
        except RoostError as error:
            error.path = f"jobs[{index}].{error.path}"
            raise

    def _take(self, handles: list[Handle[R]], answers: Iterable[Enqueued]) -> None:
        for answer in answers:
            if answer.error is not None:
                error = answer.error.error()
                error.path = f"jobs[{len(handles)}].{error.path}".removesuffix(".")
                raise error
            handles.append(self._handle(answer))

    def _handle(self, answer: Enqueued) -> Handle[R]:
        return Handle(answer.id, self.app.connection, self.handler, duplicate=answer.duplicate)


class JobFunction(Enqueuer[P, R], Generic[P, C, R]):
    """A function that is a job: called, it just runs; ``enqueue`` leaves it to a worker."""

    def __init__(self, app: App, function: Callable[P, C], handler: Handler[R], options: Options) -> None:
        super().__init__(app, handler, options)
        self.function = function
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C:
        return self.function(*args, **kwargs)

    @property
    def queue(self) -> str:
        """Where its jobs go unless told otherwise."""
        return self._options.queue or "default"

    def __repr__(self) -> str:
        return f"<job {self.kind}>"
