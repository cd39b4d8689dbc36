"""Leases that ran out end as lost, so that somebody else gets their jobs; but never because *we* were away.

No lease is reaped for a whole lease after the start, after a lost store came back and after the wall clock jumped: in
those times heartbeats could not arrive, or the leases' ends mean nothing. Time is measured by the monotonic clock.
Leases that were granted since are not affected: nothing kept their heartbeats away.
"""

from __future__ import annotations

import logging

from roost.engine.calls import Reap
from roost.service.core import Core

log = logging.getLogger("roost.service.reaper")

LIMIT = 1_000
JUMP_MS = 1_000


class Reaper:
    """The work of the reaper's loop."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._grace_ms = core.settings.grace_ms
        self._grace_until = float("-inf")
        self._granted_after = 0
        self._offset = self._wall_minus_monotonic()
        self.begin_grace("start")

    def begin_grace(self, why: str) -> None:
        """Reap nothing for the longest lease there may be."""
        self._grace_until = self._core.clock.monotonic() + self._grace_ms / 1000
        self._granted_after = self._core.now()
        if why != "start":
            log.warning("no lease is reaped for %.0f s: %s", self._grace_ms / 1000, why)

    def granted(self, lease_ms: int) -> None:
        """A lease of this length was granted: the next grace is as long at least."""
        self._grace_ms = max(self._grace_ms, lease_ms)

    async def __call__(self) -> int | None:
        """Reap what ran out; when the next lease does, or the grace ends."""
        core = self._core
        while True:
            lease_at = (await core.read(core.reader.due)).lease_at
            if lease_at is None:
                self._watch_the_clock()
                return None
            # After the read, so that a jump while it ran is seen before anything is reaped by the new time.
            self._watch_the_clock()
            now = core.now()
            if lease_at > now:
                return lease_at
            left_ms = max(0, int((self._grace_until - core.clock.monotonic()) * 1000))
            granted_after = self._granted_after if left_ms else 0
            acted = await core.act_for_itself(Reap(before=now, limit=LIMIT, granted_after=granted_after), now)
            if not acted.count:
                # Another node was first, or what ran out is under the grace.
                return now + min(JUMP_MS, left_ms or JUMP_MS)
            log.warning("%d leases ran out: their workers were not heard of", acted.count)

    def _watch_the_clock(self) -> None:
        offset = self._wall_minus_monotonic()
        moved, self._offset = offset - self._offset, offset
        if abs(moved) > JUMP_MS:
            self.begin_grace(f"the clock jumped by {moved / 1000:+.1f} s")

    def _wall_minus_monotonic(self) -> float:
        return self._core.now() - self._core.clock.monotonic() * 1000
