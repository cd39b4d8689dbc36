"""Async handlers, on the worker's loop."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from roost.sdk.attempt import Attempt
from roost.sdk.context import Context, SyncContext
from roost.sdk.execution import run_async
from roost.sdk.registry import Handler
from roost.wire.attempts import Outcome


class LoopExecutor:
    """Awaits the handler in the task it is called from: a handler that never waits costs no task of its own."""

    def __init__(self, context: Callable[[Attempt], Context | SyncContext]) -> None:
        self._context = context

    def run(self, attempt: Attempt, handler: Handler[Any], started: Callable[[], None]) -> Coroutine[Any, Any, Outcome]:
        """The handler's outcome; raises `asyncio.CancelledError` where the handler let the cancel through."""
        started()
        # Handed on, not awaited: one frame less for each job.
        return run_async(handler, attempt.lease, attempt.token, partial(self._context, attempt))
