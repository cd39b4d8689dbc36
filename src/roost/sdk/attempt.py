"""One lease in this worker's hands: until when it is ours, how far its handler is, and why it has to stop."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextvars import ContextVar
from typing import Any, Literal

from roost.sdk.notes import Notes
from roost.wire.attempts import Lease

Why = Literal["cancel", "lost", "timeout", "deadline", "shutdown"]

current: ContextVar[Attempt | None] = ContextVar("roost_attempt", default=None)
"""The attempt whose handler runs here; logging filters and handlers' helpers read its ids."""


class Cancellation:
    """A one-way signal that code on an event loop and code in threads can both wait for."""

    __slots__ = ("_event", "_lock", "_waiters")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """From any thread; twice does no harm."""
        with self._lock:
            self._event.set()
            waiters, self._waiters = self._waiters, []
        for loop, waiter in waiters:
            loop.call_soon_threadsafe(_wake, waiter)

    async def wait(self) -> None:
        """Until it is set."""
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._event.is_set():
                return
            waiter: asyncio.Future[None] = loop.create_future()
            self._waiters.append((loop, waiter))
        await waiter

    def wait_blocking(self, seconds: float | None = None) -> bool:
        """Until it is set, or ``seconds`` have passed; whether it is set."""
        return self._event.wait(seconds)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Attempt:
    """A claimed job while this worker has it; all but `notes` and `cancellation` belongs to the worker's loop."""

    __slots__ = (
        "cancellation",
        "claimed_at",
        "ended",
        "id",
        "interrupted",
        "lane",
        "lease",
        "lease_until",
        "notes",
        "runs_on",
        "stale_at",
        "timers",
        "token",
        "why",
    )

    def __init__(self, lease: Lease, token: str, claimed_at: float, lease_until: float) -> None:
        self.id = lease.id
        self.lease = lease
        self.token = token
        self.claimed_at = claimed_at
        """When the claim's answer came, on the monotonic clock."""
        self.lease_until = lease_until
        """On the monotonic clock, counted from before the claim or the heartbeat was sent."""
        self.stale_at: float | None = None
        """From then on nobody renews the lease: the handler is far over its limit and its loop does not react."""
        self.why: Why | None = None
        """Why the handler was asked, or told, to stop."""
        self.interrupted = False
        """The handler was told to stop; what it raises now is the answer to that, not a failure."""
        self.runs_on = False
        """The handler was given up while it ran: nothing can make it stop."""
        self.ended = False
        """Its outcome is decided (or dropped); whatever the handler still does counts no more."""
        self.lane: asyncio.Task[None] | None = None
        self.timers: list[asyncio.TimerHandle] | None = None
        self.notes: Notes | None = None
        self.cancellation: Cancellation | None = None

    def signal(self) -> None:
        """Tell a handler that looks at ``ctx.cancelled``."""
        if self.cancellation is None:
            self.cancellation = Cancellation()
        self.cancellation.set()

    def watch(self) -> Cancellation:
        """What tells the handler; made at first need, for most handlers never look."""
        if self.cancellation is None:
            self.cancellation = Cancellation()
        return self.cancellation

    def end(self) -> None:
        """Its outcome is decided."""
        self.ended = True
        if self.timers is not None:
            for timer in self.timers:
                timer.cancel()
            self.timers = None

    def later(self, timer: asyncio.TimerHandle) -> None:
        """Cancel ``timer`` when the attempt ends."""
        if self.timers is None:
            self.timers = []
        self.timers.append(timer)

    @property
    def tag(self) -> dict[str, Any]:
        """For ``extra=`` of a log record."""
        return {"job_id": self.id, "attempt": self.lease.attempt, "kind": self.lease.kind}

    def __repr__(self) -> str:
        return f"job {self.id} ({self.lease.kind}, attempt {self.lease.attempt})"


class AttemptFilter(logging.Filter):
    """Gives every record of a logger ``job_id``, ``attempt`` and ``kind`` (None outside a handler), for formatters."""

    def filter(self, record: logging.LogRecord) -> bool:
        attempt = current.get()
        tag: dict[str, Any] = {"job_id": None, "attempt": None, "kind": None} if attempt is None else attempt.tag
        for name, value in tag.items():
            # What was logged about another attempt on purpose says so itself.
            record.__dict__.setdefault(name, value)
        return True


for _name in ("roost.worker", "roost.job"):
    logging.getLogger(_name).addFilter(AttemptFilter())
