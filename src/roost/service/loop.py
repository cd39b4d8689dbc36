"""A supervised loop: does what is due, sleeps until the next thing is, is woken early, survives errors."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from roost.errors import Unavailable
from roost.service.clock import Clock
from roost.service.health import Health

log = logging.getLogger("roost.service.loop")

_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 5.0

Work = Callable[[], Awaitable[int | None]]
"""Does what is due; when the next thing is, in milliseconds since the epoch (None: nothing is known)."""


class Loop:
    """Runs ``work`` whenever something is due, and every ``safety_seconds`` in any case."""

    def __init__(
        self,
        name: str,
        work: Work,
        *,
        clock: Clock,
        now: Callable[[], int],
        health: Health,
        safety_seconds: float,
    ) -> None:
        self._name = name
        self._work = work
        self._clock = clock
        self._now = now
        self._health = health
        self._safety = safety_seconds
        self._event = asyncio.Event()
        self._due_at: int | None = None
        self._woken = False
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; the first look is at once."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"roost-{self._name}")

    async def stop(self) -> None:
        """Finish what is being done, then end."""
        self._stopping = True
        self._event.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    def wake(self) -> None:
        """Look now."""
        self._woken = True
        self._event.set()

    def hint(self, at: int) -> None:
        """Something is due at ``at`` (milliseconds since the epoch); sooner than what is known, it moves the alarm."""
        if self._due_at is None or at < self._due_at:
            self._due_at = at
            self._event.set()

    async def _run(self) -> None:
        backoff = _FIRST_BACKOFF
        while not self._stopping:
            self._woken, self._due_at = False, None
            try:
                due_at = await self._work()
            except Exception as error:
                self._health.failed(error)
                level = logging.WARNING if isinstance(error, Unavailable) else logging.ERROR
                log.log(level, "the %s failed, again in %.1f s: %s", self._name, backoff, error, exc_info=error)
                await self._pause(backoff)
                backoff = min(backoff * 2, _LONGEST_BACKOFF)
                continue
            backoff = _FIRST_BACKOFF
            # A hint that came while it worked may be sooner than what it saw.
            if due_at is not None:
                self.hint(due_at)
            await self._sleep()

    async def _sleep(self) -> None:
        until = self._clock.monotonic() + self._safety
        while not (self._stopping or self._woken):
            left = until - self._clock.monotonic()
            if self._due_at is not None:
                left = min(left, (self._due_at - self._now()) / 1000)
            if left <= 0:
                return
            self._event.clear()
            await self._clock.wait(self._event, left)

    async def _pause(self, seconds: float) -> None:
        """Wait after a failure; only the end interrupts it, or a stream of hints would turn it into a storm."""
        until = self._clock.monotonic() + seconds
        while not self._stopping and (left := until - self._clock.monotonic()) > 0:
            self._event.clear()
            await self._clock.wait(self._event, left)
