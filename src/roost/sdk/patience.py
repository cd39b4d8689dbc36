"""How long a client keeps trying, and how long it waits in between."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from roost.errors import OutcomeUnknown, Overloaded, RoostError, Unavailable

WORTH_REPEATING = (Overloaded, Unavailable, OutcomeUnknown)
"""Errors that say "not now"; every other one is an answer."""


def may_pass(error: RoostError) -> bool:
    """Whether the same call may go well later, for a worker, which outlives its server's troubles.

    Beside `WORTH_REPEATING` that is a server that failed inside, or that was not given the call in time.
    """
    return error.status in (408, 429) or error.status >= 500


@dataclass(frozen=True, slots=True)
class Patience:
    """Repeat a call for ``seconds`` at most, after pauses from ``base`` doubling up to ``cap``, spread by chance."""

    seconds: float = 30.0
    base: float = 0.05
    cap: float = 5.0
    rng: Callable[[], float] = random.random

    def pause(self, failures: int, error: RoostError, elapsed: float) -> float | None:
        """Seconds to wait after failure number ``failures``; None where the time would be up by then."""
        wait = min(self.cap, self.base * 2 ** min(failures - 1, 16)) * (0.5 + self.rng() / 2)
        if error.retry_after is not None:
            # Never before the server asked for; spread, so that those it turned away do not come back together.
            wait = error.retry_after * (1 + self.rng() / 4)
        return wait if elapsed + wait < self.seconds else None


def new_operation_id() -> str:
    """A name for one logical call, the same for all its repetitions.

    It begins with the time, so that a store finds the new ones side by side: names all over an index made each commit
    twice as dear.
    """
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"
