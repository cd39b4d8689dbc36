"""When a handler has to stop, and what its attempt ends with then: limits, cancels, lost leases and shutdown.

A handler is asked first where that makes sense (`Context.cancelled`), then told (its task is cancelled, its process
killed), and where it does not react its attempt ends without it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from roost.domain.duration import format_duration
from roost.sdk.attempt import Attempt, Why
from roost.sdk.endings import failed
from roost.wire.attempts import Outcome

logger = logging.getLogger("roost.worker")

PATIENCE = 5.0
"""Seconds that a handler has to end after it was told to."""


class Supervisor:
    """Watches the running attempts of one worker, on its loop."""

    def __init__(self, grace: float, lease_seconds: float, abandon: Callable[[Attempt], None]) -> None:
        """``abandon`` ends an attempt whose handler does not react.."""
        self._grace = grace
        self._lease_seconds = lease_seconds
        self._abandon = abandon

    def limit(self, attempt: Attempt, server_now: int | None) -> None:
        """The handler starts now: its time limit and its job's deadline (by the server's clock) count from here."""
        loop = asyncio.get_running_loop()
        timeout_ms, deadline_ms = attempt.lease.timeout_ms, attempt.lease.deadline_ms
        seconds: float | None = None
        why: Why = "timeout"
        if timeout_ms is not None:
            seconds = timeout_ms / 1000
        if deadline_ms is not None and server_now is not None:
            left = max(0.0, (deadline_ms - server_now) / 1000)
            if seconds is None or left < seconds:
                seconds, why = left, "deadline"
        if seconds is not None:
            attempt.later(loop.call_later(seconds, self.interrupt, attempt, why))
            # A handler that blocks the loop is not reached by that timer. The heart sees this and lets the lease go.
            attempt.stale_at = time.monotonic() + seconds + PATIENCE + self._lease_seconds

    def cancel(self, attempt: Attempt) -> None:
        """Somebody asked for a cancel: the handler may end by itself within the grace."""
        if attempt.ended or attempt.why is not None:
            return
        attempt.why = "cancel"
        attempt.signal()
        logger.info("%r is asked to cancel", attempt, extra=attempt.tag)
        loop = asyncio.get_running_loop()
        attempt.later(loop.call_later(self._grace, self.interrupt, attempt, "cancel"))

    def interrupt(self, attempt: Attempt, why: Why) -> None:
        """The handler has to stop at once; a moment later its attempt ends without it."""
        if attempt.ended or attempt.interrupted:
            return
        attempt.why, attempt.interrupted = why, True
        attempt.signal()
        if attempt.lane is not None:
            attempt.lane.cancel()
            loop = asyncio.get_running_loop()
            attempt.later(loop.call_later(PATIENCE, self._abandon, attempt))


def ending(attempt: Attempt) -> Outcome | None:
    """What an attempt ends with that was told to stop; None where nobody may hear of it any more."""
    lease = attempt.lease
    still = "; nothing can stop it, it may run on: isolate='process' makes it killable" if attempt.runs_on else ""
    match attempt.why:
        case "timeout":
            limit = format_duration(lease.timeout_ms or 0)
            outcome = failed(attempt.id, attempt.token, "TimeLimit", f"over its time limit of {limit}{still}")
            outcome.timed_out = True
            return outcome
        case "deadline":
            outcome = failed(attempt.id, attempt.token, "Deadline", f"the job's deadline has passed{still}")
            outcome.timed_out = True
            return outcome
        case "cancel":
            return Outcome(id=attempt.id, token=attempt.token, outcome="cancel")
        case "shutdown":
            return Outcome(id=attempt.id, token=attempt.token, outcome="release")
        case _:
            return None
