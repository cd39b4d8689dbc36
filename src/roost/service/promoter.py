"""Due jobs become ready, late ones expire, overdue ones are cancelled, holds' deadlines fire: by the clock."""

from __future__ import annotations

from roost.engine.calls import Promote
from roost.service.core import Core

LIMIT = 5_000
_RETRY_MS = 1_000


class Promoter:
    """The work of the promoter's loop."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def __call__(self) -> int | None:
        """Promote what is due; when the next job is."""
        core = self._core
        while True:
            due_at = (await core.read(core.reader.due)).job_at
            if due_at is None or due_at > core.now():
                return due_at
            acted = await core.act_for_itself(Promote(LIMIT))
            if not acted.count:
                # Another node was first, or its clock and ours differ by a moment.
                return core.now() + _RETRY_MS if due_at <= core.now() else due_at
