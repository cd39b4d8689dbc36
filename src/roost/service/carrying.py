"""Ends are carried on to those who wait for them, as soon as they are committed."""

from __future__ import annotations

from roost.engine.calls import AdvanceFlow
from roost.service.core import Core

LIMIT = 1_000
_RETRY_MS = 1_000


class Carrier:
    """The work of the flow's loop: woken by this node's commits; its timer is for what dead nodes left undone."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def __call__(self) -> int | None:
        """Carry on what there is; nothing is known of what comes next."""
        core = self._core
        while await core.read(core.reader.flow.waits):
            if not (await core.act_for_itself(AdvanceFlow(LIMIT))).more:
                # Another node has it in hand.
                return core.now() + _RETRY_MS
        return None
