"""What `@app.job` makes of a function: the function itself, and how to enqueue it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import update_wrapper
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

import msgspec

from roost.errors import RoostError
from roost.sdk.calls import JobCall, after_ids
from roost.sdk.handle import Handle
from roost.sdk.options import EnqueueRules, Options
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
        for limit in options.limits or ():
            limit.check(handler.parameters)

    @property
    def kind(self) -> str:
        """The job's name."""
        return self.handler.kind

    def options(self, **rules: Unpack[EnqueueRules]) -> Enqueuer[P, R]:
        """The same job under other options; what is not given stays as it is.

        ``delay`` or ``run_at``: when it may start. ``ttl`` (counted from then) or ``expires_at``: started by then, or
        never. ``deadline``: ended by then, counted from now. ``timeout``: the longest one attempt may take. ``after``:
        jobs that must end first, ``after_failure`` what follows where one does not succeed. ``batch``: the open batch
        it joins; ``parent``: the job whose work it is part of; ``limits``: what it counts against. Raises
        `InvalidRequest`, `InvalidDuration`, and `ConfigurationError` for a limit over what is no parameter.
        """
        return Enqueuer(self.app, self.handler, self._options.merged(**rules))

    def handle(self, id: int) -> Handle[R]:
        """The job with this id, as `enqueue` gave it: for a program that kept the id. Nothing is looked up yet."""
        return Handle(id, self.app.connection, self.handler)

    def arguments(self, *args: P.args, **kwargs: P.kwargs) -> Arguments[P]:
        """One call for `enqueue_many`."""
        return Arguments(*args, **kwargs)

    def call(self, *args: P.args, **kwargs: P.kwargs) -> JobCall[R]:
        """A call to be enqueued with others: in a batch, a chain, or by `App.enqueue_all`. Raises as `new_job`."""
        return JobCall(self._new_job(args, kwargs), self.handler, self._options.after or ())

    def new_job(self, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """What `enqueue` sends; raises `InvalidRequest` with the parameter's path for what the function cannot take."""
        return self._placed(self._new_job(args, kwargs))

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """Store a job that calls the function with these arguments; durable when this returns.

        Raises `InvalidRequest` (before anything is sent) for arguments the function would not take, and
        `UniqueConflict` where the unique key belongs to a job with another input.
        """
        job = self._placed(self._new_job(args, kwargs))
        return self._handle(await self.app.client.jobs.enqueue(job))

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> Handle[R]:
        """`enqueue` without an event loop."""
        job = self._placed(self._new_job(args, kwargs))
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
        made = self._options.made(signature, arguments)
        return NewJob(kind=self.handler.kind, input=data, **made, **self._fields)

    def _placed(self, job: NewJob) -> NewJob:
        """The job after those it has to come after."""
        if self._options.after:
            job.after = after_ids(self._options.after)
        return job

    def new_jobs(self, calls: Iterable[Call[P]]) -> list[NewJob]:
        """What `enqueue_many` sends, all of it; raises as that."""
        return [self._numbered(index, call) for index, call in enumerate(calls)]

    def _batches(self, calls: Iterable[Call[P]]) -> Iterator[list[NewJob]]:
        numbered = enumerate(calls)
        while batch := [self._numbered(index, call) for index, call in islice(numbered, BATCH)]:
            yield batch

    def _numbered(self, index: int, call: Call[P]) -> NewJob:
        try:
            if isinstance(call, Arguments):
                job = self._new_job(call.args, call.kwargs)
            elif isinstance(call, tuple):
                job = self._new_job(call, {})
            else:
                job = self._new_job((), dict(call))
            return self._placed(job)
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
