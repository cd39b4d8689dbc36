"""Indexes of declared paths are filled with the jobs of before, and removed ones emptied, in small sets."""

from __future__ import annotations

from roost.engine.searching.protocol import FillIndex
from roost.service.core import Core

SETTLE_MS = 5_000
"""How long after a declaration (or a removal) every connection has heard of it: only then its bound is drawn."""
PAUSE_MS = 20


class Indexer:
    """The work of the indexer's loop."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def __call__(self) -> int | None:
        """One set of each index that is not ready; when the next is wanted."""
        core = self._core
        due: list[int] = []
        for path, kind, state, declared_at, _, filled_to in await core.read(core.reader.searches.index_paths):
            if state == "ready":
                continue
            removing = state == "removing"
            settled = (filled_to if removing else declared_at) + SETTLE_MS
            if (removing or filled_to is None) and settled > core.now():
                due.append(settled)
                continue
            expected = None if removing else filled_to
            acted = await core.act_for_itself(FillIndex(path=path, kind=kind, expected=expected, removing=removing))
            if acted.more:
                due.append(core.now() + PAUSE_MS)
        return min(due, default=None)
