"""Which workers are there, told to the store now and then: other nodes did not hear them."""

from __future__ import annotations

from roost.engine.workers import SeeWorkers
from roost.service.core import Core

PERIOD_MS = 40_000
"""Well below the time after which a silent worker counts as gone."""


class RollCall:
    """The work of its loop: one statement for all the workers that called since the last time."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._told_until = 0

    async def __call__(self) -> int | None:
        """Tell who was heard of; nothing is written where nobody was."""
        core = self._core
        now = core.now()
        if now < self._told_until:
            # The clock was set back: what was told is in its future.
            self._told_until = 0
        if now < self._told_until + PERIOD_MS:
            return None
        heard = core.seen.heard(self._told_until)
        if heard:
            await core.act_for_itself(SeeWorkers(heard))
        self._told_until = now
        return None
