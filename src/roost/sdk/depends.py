"""What handlers are given beside their input: values that functions of the program make, and close again.

`Annotated[Db, roost.Depends(get_db)]` asks for what ``get_db`` returns or yields. A generator goes on behind its
``yield`` when the job (or the worker, for ``scope="app"``) ends, also by an error or a cancel.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import typing
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeVar

from roost.errors import ConfigurationError

T = TypeVar("T")

logger = logging.getLogger("roost.worker")

Scope = Literal["job", "app"]

_GIVEN_UP = object()
"""In a value's place: the job that was to make it was cancelled."""


class Injected:
    """The base of what a handler is given by its worker because a parameter asks for it by annotation."""


class Depends:
    """The parameter's value is what ``get`` returns, yields or awaits; made once for each job, or each worker.

    ``get`` may be sync or async, a function or a generator with one ``yield``, and may depend on others itself. A sync
    one runs where the handler runs: on the loop, or in its thread. With ``scope="app"`` the value is shared by all jobs
    of a worker (of a process, for isolated handlers) and closed when that ends.
    """

    __slots__ = ("get", "scope")

    def __init__(self, get: Callable[..., Any], *, scope: Scope = "job") -> None:
        self.get = get
        self.scope: Scope = scope

    def __repr__(self) -> str:
        return f"Depends({_name(self.get)})"


class Provider:
    """A function that something depends on, read once; raises `ConfigurationError` where it cannot be called."""

    __slots__ = ("context", "get", "is_async", "is_generator", "needs")

    def __init__(self, get: Callable[..., Any]) -> None:
        self.get = get
        self.is_generator = inspect.isgeneratorfunction(get) or inspect.isasyncgenfunction(get)
        self.is_async = inspect.isasyncgenfunction(get) or inspect.iscoroutinefunction(get)
        self.needs: dict[str, Depends] = {}
        self.context: str | None = None
        try:
            hints = typing.get_type_hints(get.__init__ if inspect.isclass(get) else get, include_extras=True)
        except NameError as error:
            raise ConfigurationError(
                f"an annotation of {_name(get)} cannot be resolved: {error}",
                help="import the name in the module itself, not only under TYPE_CHECKING or inside a function",
            ) from None
        for parameter in inspect.signature(get).parameters.values():
            hint = hints.get(parameter.name)
            found = dependency(hint)
            if found is not None:
                self.needs[parameter.name] = found
            elif isinstance(hint, type) and issubclass(hint, Injected):
                self.context = parameter.name
            elif parameter.default is parameter.empty and parameter.kind not in (
                parameter.VAR_POSITIONAL,
                parameter.VAR_KEYWORD,
            ):
                raise ConfigurationError(
                    f"{_name(get)} takes {parameter.name}, which nobody gives it",
                    help="annotate it with roost.Depends(…) or roost.Context, or give it a default",
                )


def dependency(hint: Any) -> Depends | None:
    """What an annotation asks for; None where it asks for nothing."""
    if typing.get_origin(hint) is not typing.Annotated:
        return None
    return next((one for one in typing.get_args(hint)[1:] if isinstance(one, Depends)), None)


def check(depends: Depends, asked_by: str, above: tuple[Depends, ...] = ()) -> None:
    """Raises `ConfigurationError` where it cannot be made: a circle, or a worker's value that needs a job's."""
    if any(one.get is depends.get for one in above):
        circle = " → ".join(_name(one.get) for one in (*above, depends))
        raise ConfigurationError(f"{asked_by} depends on what depends on itself: {circle}", help="break the circle")
    needs = provider(depends.get)
    if depends.scope == "app" and needs.context is not None:
        raise ConfigurationError(
            f"{_name(depends.get)} is the worker's and cannot take a job's context", help='leave scope="app" out'
        )
    for need in needs.needs.values():
        if depends.scope == "app" and need.scope != "app":
            raise ConfigurationError(
                f"{_name(depends.get)} is the worker's and cannot depend on {_name(need.get)}, which is a job's",
                help='say scope="app" there as well',
            )
        check(need, asked_by, (*above, depends))


@lru_cache(maxsize=1024)
def provider(get: Callable[..., Any]) -> Provider:
    """See `Provider`."""
    return Provider(get)


class Ground(Protocol):
    """Where a job's code runs, and so how it waits for something async."""

    async def wait(self, work: Coroutine[Any, Any, T]) -> T: ...

    async def join(self, answer: Future[T]) -> T: ...


class OnLoop:
    """On the event loop, where waiting is free."""

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return await work

    async def join(self, answer: Future[T]) -> T:
        # Shielded: who no longer waits must not take the value from the others.
        return await asyncio.shield(asyncio.wrap_future(answer))


class OffLoop:
    """In a thread beside the event loop: never suspends, so that `roost.sdk.styles.drive` can run it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def join(self, answer: Future[T]) -> T:
        return answer.result()


class AppScope:
    """The values that live as long as the workers of a process; any thread may ask."""

    def __init__(self) -> None:
        self.overrides: dict[Callable[..., Any], Callable[..., Any]] = {}
        """Other functions in the place of those that are depended on: what tests set."""
        self._made: dict[Callable[..., Any], Future[Any]] = {}
        self._closers: list[Callable[[], Awaitable[object]]] = []
        self._lock = threading.Lock()
        self._users = 0

    def enter(self) -> None:
        """A worker starts."""
        with self._lock:
            self._users += 1

    async def leave(self) -> None:
        """A worker has ended; with the last one everything is closed, what was made last first. On its loop."""
        with self._lock:
            self._users -= 1
            if self._users > 0:
                return
            closers, self._closers = self._closers, []
            self._made.clear()
        for close in reversed(closers):
            try:
                await close()
            except Exception:  # the jobs are done: what cannot be closed keeps nothing else from it
                logger.exception("a value of the worker's could not be closed")

    async def value(self, get: Callable[..., Any], make: Callable[[], Awaitable[Any]], ground: Ground) -> Any:
        """What ``get`` made, ``make`` called for the first who asks; the others wait for it.

        They share its error, but not its cancel: then the next one makes it.
        """
        while True:
            with self._lock:
                answer = self._made.get(get)
                mine = answer is None
                if answer is None:
                    answer = self._made[get] = Future()
            if mine:
                break
            value = await ground.join(answer)
            if value is not _GIVEN_UP:
                return value
        try:
            value = await make()
        except BaseException as error:
            with self._lock:
                self._made.pop(get, None)
            if isinstance(error, Exception):
                answer.set_exception(error)
            else:
                answer.set_result(_GIVEN_UP)
            raise
        answer.set_result(value)
        return value

    def closing(self, close: Callable[[], Awaitable[object]]) -> None:
        """Call ``close`` at the end."""
        with self._lock:
            self._closers.append(close)


class Resolver:
    """Makes what one job needs; its values are closed with ``stack``."""

    __slots__ = ("_app", "_context", "_ground", "_made", "_stack")

    def __init__(self, app: AppScope, ground: Ground, stack: AsyncExitStack, context: object) -> None:
        self._app = app
        self._ground = ground
        self._stack = stack
        self._context = context
        self._made: dict[Callable[..., Any], Any] = {}

    async def values(self, needs: Mapping[str, Depends]) -> dict[str, Any]:
        """A value for each name; raises what the functions raise."""
        return {name: await self._value(depends) for name, depends in needs.items()}

    async def _value(self, depends: Depends) -> Any:
        get = self._app.overrides.get(depends.get, depends.get)
        if depends.scope == "app":

            async def make() -> Any:
                return await self._make(get, closing_with_worker=True)

            return await self._app.value(get, make, self._ground)
        if get not in self._made:
            self._made[get] = await self._make(get, closing_with_worker=False)
        return self._made[get]

    async def _make(self, get: Callable[..., Any], *, closing_with_worker: bool) -> Any:
        needs = provider(get)
        arguments = await self.values(needs.needs)
        if needs.context is not None:
            arguments[needs.context] = self._context
        if not needs.is_generator:
            return await self._ground.wait(get(**arguments)) if needs.is_async else get(**arguments)
        if needs.is_async:
            opened = asynccontextmanager(get)(**arguments)
            value = await self._ground.wait(opened.__aenter__())
            if closing_with_worker:
                self._app.closing(lambda: opened.__aexit__(None, None, None))
            else:
                self._stack.push_async_exit(lambda *error: self._ground.wait(opened.__aexit__(*error)))
            return value
        entered = contextmanager(get)(**arguments)
        value = entered.__enter__()
        if closing_with_worker:
            self._app.closing(_later(lambda: entered.__exit__(None, None, None)))
        else:
            self._stack.push(entered.__exit__)
        return value


def _later(close: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def closed() -> object:
        return close()

    return closed


def _name(get: Callable[..., Any]) -> str:
    return str(getattr(get, "__qualname__", get))
