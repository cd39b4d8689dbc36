"""Queues whose order was changed: their jobs are ranked anew in small sets, so that nobody else's jobs wait for it."""

from __future__ import annotations

from roost.engine.calls import RankJobs
from roost.engine.work.ordering import SET
from roost.service.core import Core

READ_AT_ONCE = 400 * SET
"""A look for a queue's jobs by their ids goes through all of them: it is worth many sets."""
_RETRY_MS = 1_000


class Ranker:
    """The work of the ranker's loop."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def __call__(self) -> int | None:
        """Rank until all queues are in order; nothing is known of what comes next."""
        core = self._core
        while found := await core.read(core.reader.rankings):
            for queue, seen in found:
                ids = await core.read(core.reader.to_rank, queue, seen, READ_AT_ONCE)
                for first in range(0, len(ids) + 1, SET):
                    page = ids[first : first + SET]
                    if len(page) < SET and len(ids) == READ_AT_ONCE:
                        # There are more than were read.
                        break
                    if not (await core.act_for_itself(RankJobs(queue, seen, page))).count:
                        # Another node has it in hand, unless it dies.
                        return core.now() + _RETRY_MS
                    seen = page[-1] if page else seen
        return None
