"""Blocking code for an event loop, in threads that are nobody else's."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The value of a blocking call, made in a thread of its own; raises what it raises.

    Not `asyncio.to_thread`: its few threads are the whole loop's, name look-ups included, and so many jobs at a time
    that each block one would wait for each other for ever. A daemon, so that what is stuck does not keep the program.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            value = context.run(function, *args, **kwargs)
        except StopIteration as error:
            wrapped = RuntimeError("the call raised StopIteration")
            wrapped.__cause__ = error
            tell(_fail, wrapped)
        except BaseException as error:
            tell(_fail, error)
        else:
            tell(_resolve, value)

    def tell(how: Callable[[asyncio.Future[T], Any], None], what: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(how, answer, what)

    threading.Thread(target=run, name="roost-call", daemon=True).start()
    return await answer


def _resolve(answer: asyncio.Future[T], value: T) -> None:
    if not answer.done():
        answer.set_result(value)


def _fail(answer: asyncio.Future[Any], error: BaseException) -> None:
    if not answer.done():
        answer.set_exception(error)
