"""Ends are carried on to those who wait for them, as soon as they are committed."""

from __future__ import annotations

from roost.engine.protocol import AdvanceFlow
from roost.service.core import Core

LIMIT = 1_000


class Carrier:
    """The work of the flow's loop: woken by this node's commits; its timer is for what dead nodes left undone."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def __call__(self) -> int | None:
        """Carry on what there is; nothing is known of what comes next."""
        while (await self._core.act_for_itself(AdvanceFlow(LIMIT))).more:
            pass
        return None
