"""Code around every job of an application: timing, tracing, error reports, transactions.

A middleware is ``around(job, call)``: it calls ``call()``, which runs the job (and the middleware added after it), and
returns what becomes the result. Async ones run on the worker's loop, sync ones in threads, whatever the handler is.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from roost.sdk.threads import in_thread


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """What a middleware is told of the job that runs."""

    id: int
    kind: str
    queue: str
    attempt: int
    failures: int
    arguments: dict[str, Any]
    """The handler's input, as its annotations read it."""


AsyncAround = Callable[[RunningJob, Callable[[], Coroutine[Any, Any, Any]]], Coroutine[Any, Any, Any]]
SyncAround = Callable[[RunningJob, Callable[[], Any]], Any]
Around = AsyncAround | SyncAround


def wrapped_async(
    middleware: Sequence[Around], job: RunningJob, call: Callable[[], Coroutine[Any, Any, Any]]
) -> Callable[[], Coroutine[Any, Any, Any]]:
    """``call``, which runs on the loop, inside of ``middleware``, the first one outermost."""
    for around in reversed(middleware):
        call = partial(around if is_async(around) else partial(_in_thread, around), job, call)
    return call


def wrapped_sync(
    middleware: Sequence[Around], job: RunningJob, call: Callable[[], Any], loop: asyncio.AbstractEventLoop
) -> Callable[[], Any]:
    """``call``, which runs in a thread beside ``loop``, inside of ``middleware``, the first one outermost."""
    for around in reversed(middleware):
        call = partial(partial(_on_loop, loop, around) if is_async(around) else around, job, call)
    return call


def is_async(around: Around) -> bool:
    """Whether it is to be awaited."""
    return inspect.iscoroutinefunction(around) or inspect.iscoroutinefunction(
        getattr(around, "__call__", None)  # noqa: B004  # the method itself is asked about, not callability
    )


async def _in_thread(around: SyncAround, job: RunningJob, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """A sync middleware around async code: it blocks a thread, the code goes on here."""
    loop = asyncio.get_running_loop()
    begun: list[Future[Any]] = []

    def calling() -> Any:
        future = asyncio.run_coroutine_threadsafe(call(), loop)
        begun.append(future)
        return future.result()

    running = asyncio.ensure_future(in_thread(around, job, calling))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        for future in begun:
            future.cancel()
        with suppress(BaseException):  # the cancel is the answer; what the middleware makes of it reaches nobody
            await running
        raise


def _on_loop(loop: asyncio.AbstractEventLoop, around: AsyncAround, job: RunningJob, call: Callable[[], Any]) -> Any:
    """An async middleware around sync code: it runs on the loop, the code in this thread when it is called."""
    asked: queue.SimpleQueue[asyncio.Future[Any] | None] = queue.SimpleQueue()

    async def calling() -> Any:
        answer: asyncio.Future[Any] = loop.create_future()
        asked.put(answer)
        return await answer

    done = asyncio.run_coroutine_threadsafe(_awaited(around(job, calling)), loop)
    done.add_done_callback(lambda _: asked.put(None))
    while (answer := asked.get()) is not None:
        try:
            value = call()
        except BaseException as error:
            loop.call_soon_threadsafe(_raise, answer, error)
        else:
            loop.call_soon_threadsafe(_resolve, answer, value)
    return done.result()


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


def _resolve(answer: asyncio.Future[Any], value: object) -> None:
    if not answer.done():
        answer.set_result(value)


def _raise(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
