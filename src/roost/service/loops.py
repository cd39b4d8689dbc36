"""The background loops, together."""

from __future__ import annotations

import asyncio

from roost.engine.batch import Effects
from roost.service.bulk import Worker as BulkWorker
from roost.service.carrying import Carrier
from roost.service.core import Core
from roost.service.dispatcher import Dispatcher
from roost.service.indexer import Indexer
from roost.service.loop import Loop, Work
from roost.service.planner import Planner
from roost.service.promoter import Promoter
from roost.service.pruner import COUNTED_AFTER_MS, Pruner
from roost.service.ranker import Ranker
from roost.service.reaper import Reaper
from roost.service.rollcall import RollCall

_PRUNER_SAFETY_SECONDS = 3600.0


class Loops:
    """Promoter, reaper, planner and pruner, each woken by what concerns it."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._reaping = Reaper(core)
        self._pruning = Pruner(core)
        safety = core.settings.safety_seconds
        self._promoter = self._loop("promoter", Promoter(core), safety)
        self._reaper = self._loop("reaper", self._reaping, safety)
        self._planner = self._loop("planner", Planner(core), safety)
        self._pruner = self._loop("pruner", self._pruning, _PRUNER_SAFETY_SECONDS)
        self._carrier = self._loop("flow", Carrier(core), safety)
        self._bulks = self._loop("bulk worker", BulkWorker(core), safety)
        self._indexer = self._loop("indexer", Indexer(core), safety)
        self._ranker = self._loop("ranker", Ranker(core), safety)
        self._roll_call = self._loop("roll call", RollCall(core), safety)
        self._dispatching = Dispatcher(core)
        self._webhooks = self._loop("webhooks", self._dispatching, safety)
        self._dispatching.wake_by(self._webhooks.hint)
        core.health.when_regained(self._regained)

    def start(self) -> None:
        """Begin all of them."""
        for loop in (
            self._promoter,
            self._reaper,
            self._planner,
            self._pruner,
            self._carrier,
            self._webhooks,
            self._bulks,
            self._indexer,
            self._ranker,
            self._roll_call,
        ):
            loop.start()

    async def stop(self) -> None:
        """Let each finish what it is doing."""
        self._pruning.stop()
        loops = (
            self._promoter,
            self._reaper,
            self._planner,
            self._pruner,
            self._carrier,
            self._webhooks,
            self._bulks,
            self._indexer,
            self._ranker,
            self._roll_call,
        )
        await asyncio.gather(*(loop.stop() for loop in loops))
        await self._dispatching.stop()

    def heed(self, effects: Effects, lease_until: int | None, granted_ms: int) -> None:
        """A commit may have made something due earlier than the loops know."""
        if effects.due_at is not None:
            self._promoter.hint(effects.due_at)
        if effects.ended:
            # Those who ask for counts then look at what ended lately only.
            self._pruner.hint(self._core.now() + COUNTED_AFTER_MS)
        if effects.fed:
            self._dispatching.heed()
        if effects.flow:
            self._carrier.wake()
        if effects.schedules:
            self._planner.wake()
        if effects.chores:
            self._bulks.wake()
            self._indexer.wake()
            self._ranker.wake()
        if lease_until is not None:
            self._reaping.granted(granted_ms)
            self._reaper.hint(lease_until)

    def wake(self) -> None:
        """Look at everything now."""
        self._promoter.wake()
        self._reaper.wake()
        self._planner.wake()
        self._carrier.wake()
        self._bulks.wake()
        self._indexer.wake()
        self._ranker.wake()
        self._webhooks.wake()

    def _regained(self) -> None:
        self._reaping.begin_grace("the store is back")
        self.wake()

    def _loop(self, name: str, work: Work, safety_seconds: float) -> Loop:
        core = self._core
        return Loop(name, work, clock=core.clock, now=core.now, health=core.health, safety_seconds=safety_seconds)
