"""How handlers run: on the worker's loop, in its threads, or in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from roost.sdk.attempt import Attempt
from roost.sdk.registry import Handler
from roost.wire.attempts import Outcome


class Executor(Protocol):
    """Runs a handler to its outcome; cancelling the call stops the handler as far as that is possible."""

    async def run(self, attempt: Attempt, handler: Handler[Any], started: Callable[[], None]) -> Outcome:
        """``started`` is called when the handler's own time begins."""
        ...
