"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from typing import Any

START = 1_795_000_000_000


class VirtualClock:
    """See `roost.service.clock.Clock`; `advance` moves both times, `jump` the wall's only."""

    def __init__(self) -> None:
        self._wall = START
        self._monotonic = 1000.0
        self._alarms: dict[asyncio.Future[None], float] = {}

    def now(self) -> int:
        return self._wall

    def monotonic(self) -> float:
        return self._monotonic

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        if event.is_set() or (seconds is not None and seconds <= 0):
            return event.is_set()
        alarm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if seconds is not None:
            self._alarms[alarm] = self._monotonic + seconds
        setting = asyncio.ensure_future(event.wait())
        try:
            waiting: list[asyncio.Future[Any]] = [setting, alarm]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            return event.is_set()
        finally:
            setting.cancel()
            self._alarms.pop(alarm, None)

    async def advance(self, milliseconds: int) -> None:
        """Let time pass, alarm by alarm, and everybody do what they do then."""
        await settle()
        end, wall_end = self._monotonic + milliseconds / 1000, self._wall + milliseconds
        while due := [at for at in self._alarms.values() if at <= end]:
            at = max(min(due), self._monotonic)
            self._wall += round((at - self._monotonic) * 1000)
            self._monotonic = at
            for alarm in [alarm for alarm, when in self._alarms.items() if when <= at]:
                del self._alarms[alarm]
                alarm.set_result(None)
            await settle()
        self._wall, self._monotonic = wall_end, end
        await settle()

    def jump(self, milliseconds: int) -> None:
        """Somebody sets the wall clock."""
        self._wall += milliseconds


async def settle() -> None:
    """Run the loop until everything that is in memory has come to rest."""
    for _ in range(60):
        await asyncio.sleep(0)
