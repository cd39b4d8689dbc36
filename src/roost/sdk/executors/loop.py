"""Async handlers, on the worker's loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from roost.sdk.attempt import Attempt
from roost.sdk.context import Context, SyncContext
from roost.sdk.endings import raised, returned
from roost.sdk.registry import Handler
from roost.wire.attempts import Outcome


class LoopExecutor:
    """Awaits the handler in the task it is called from: a handler that never waits costs no task of its own."""

    def __init__(self, context: Callable[[Attempt], Context | SyncContext]) -> None:
        self._context = context

    async def run(self, attempt: Attempt, handler: Handler[Any], started: Callable[[], None]) -> Outcome:
        """The handler's outcome; raises `asyncio.CancelledError` where the handler let the cancel through."""
        started()
        lease = attempt.lease
        try:
            context = None if handler.signature.injected is None else self._context(attempt)
            args, kwargs = handler.call(lease.input, context)
            return returned(attempt.id, attempt.token, handler, await handler.function(*args, **kwargs))
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as error:
            return raised(attempt.id, attempt.token, error)
