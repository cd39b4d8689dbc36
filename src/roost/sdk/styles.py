"""How a context's code runs: awaiting on an event loop, or blocking in a handler's thread; one code for both.

The context is written once, with ``await``. In a thread its coroutines are driven to their end in one go, because the
style and the port they are given there block instead of suspending.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any, Protocol, TypeVar

from roost.sdk.attempt import Cancellation
from roost.sdk.threads import in_thread

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]


class Style(Protocol):
    """What differs between the two."""

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The step function's value, whether it is sync or async."""
        ...

    async def all(self, works: Sequence[Work[T]], concurrency: int, *, costly: bool) -> list[T]:
        """The results in order; the first failure ends the rest and is raised.

        ``costly``: what has begun by then comes to its end first, for its work would have to be paid again.
        """
        ...

    async def pause(self, seconds: float) -> None: ...

    async def cancelled(self, cancellation: Cancellation) -> None: ...


class LoopStyle:
    """For async handlers: sync step functions run in a thread, so that neighbours on the loop go on."""

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*args, **kwargs)
        value = await in_thread(_called, function, args, kwargs)
        return await value if inspect.isawaitable(value) else value

    async def all(self, works: Sequence[Work[T]], concurrency: int, *, costly: bool) -> list[T]:
        free = asyncio.Semaphore(concurrency)
        begun: set[asyncio.Task[T] | None] = set()
        failing = False

        async def one(work: Work[T]) -> T:
            nonlocal failing
            async with free:
                if failing:
                    raise asyncio.CancelledError
                begun.add(asyncio.current_task())
                try:
                    return await work()
                except (KeyboardInterrupt, SystemExit) as error:
                    failing = True
                    raise _Quit(error) from None
                except BaseException:
                    failing = True
                    raise

        tasks = [asyncio.create_task(one(work)) for work in works]
        if not tasks:
            return []
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if costly:
                for task in tasks:
                    if task not in begun:
                        task.cancel()
                await asyncio.wait(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        failed = [task for task in tasks if not task.cancelled() and task.exception()]
        try:
            return [task.result() for task in (failed or tasks)]
        except _Quit as quitting:
            raise quitting.error from None

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def cancelled(self, cancellation: Cancellation) -> None:
        await cancellation.wait()


class ThreadStyle:
    """For sync handlers: everything happens in the handler's own thread; `drive` runs it."""

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation

    async def call(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        value = function(*args, **kwargs)
        return asyncio.run(_value_of(value)) if inspect.isawaitable(value) else value

    async def all(self, works: Sequence[Work[T]], concurrency: int, *, costly: bool) -> list[T]:
        """A thread cannot be ended: here everything that has begun comes to its end."""
        if concurrency == 1 or len(works) < 2:
            return [drive(work()) for work in works]
        with ThreadPoolExecutor(min(concurrency, len(works)), thread_name_prefix="roost-map") as pool:
            futures = [pool.submit(contextvars.copy_context().run, _driven, work) for work in works]
            wait(futures, return_when=FIRST_EXCEPTION)
            pool.shutdown(wait=True, cancel_futures=True)
        failed = [one for one in futures if not one.cancelled() and one.exception()]
        return [one.result() for one in (failed or futures)]

    async def pause(self, seconds: float) -> None:
        self._cancellation.wait_blocking(seconds)

    async def cancelled(self, cancellation: Cancellation) -> None:
        cancellation.wait_blocking()


class _Quit(BaseException):
    """What a task must not raise as it is: the loop would end by it, and with the loop the worker."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(repr(error))
        self.error = error


def _called(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return function(*args, **kwargs)
    except StopIteration as error:
        # No future takes it: whoever waits for the thread would wait for ever. Generators make the same of it.
        raise RuntimeError("the step's function raised StopIteration") from error


async def _value_of(value: Any) -> Any:
    return await value


def _driven(work: Work[T]) -> T:
    return drive(work())


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, to its end, in this thread."""
    try:
        work.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    work.close()
    raise RuntimeError("a blocking context had to wait for an event loop")
