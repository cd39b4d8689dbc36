"""Old jobs are forgotten, in small sets with pauses in between, so that nobody notices."""

from __future__ import annotations

import asyncio

from roost.domain.duration import parse_duration
from roost.domain.records import QueueRules
from roost.domain.states import State
from roost.engine.calls import CountEnded, Prune, PruneFeed, PruneOld, PruneResults
from roost.service.core import Core

LIMIT = 1_000
_PAUSE_SECONDS = 0.05
COUNTED_AFTER_MS = 15_000
"""Ends that are older are counted for good: no transaction is open for so long."""
_IDLE_MS = 600_000
"""After a pass that found nothing."""
_OLD_MS = 86_400_000
"""How long operation ids and silent workers are remembered."""
_OLD_PERIOD_MS = 3_600_000


WORTH_COUNTING = 2_000
"""Ends a count adds at least: fewer are counted as fast when somebody asks."""


class Pruner:
    """The work of the pruner's loop."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._next_old = 0
        self._next_pass = 0
        self._seen: dict[tuple[str, str], int] = {}
        """Until which end results were looked for, by queue and state."""
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End the pass that is going on."""
        self._stop.set()

    async def __call__(self) -> int | None:
        """One pass; when the next is wanted. Between two it is woken to count what has ended."""
        core = self._core
        now = core.now()
        if now >= self._next_pass:
            count = await self._pass(now)
            self._next_pass = now + (round(core.settings.prune_seconds * 1000) if count else _IDLE_MS)
        await self._count_ended(now - COUNTED_AFTER_MS)
        return self._next_pass

    async def _pass(self, now: int) -> int:
        core, count = self._core, 0
        for queue, state in await core.read(core.reader.finished_queues):
            rules = core.rules.of(queue)
            count += await self._prune(queue, state, now - self._keep_ms(rules, state))
            if rules.result_ttl is not None:
                await self._prune_results(queue, state, now - parse_duration(rules.result_ttl))
        if now >= self._next_old and not self._stop.is_set():
            self._next_old = now + _OLD_PERIOD_MS
            await core.act_for_itself(PruneOld(before=now - _OLD_MS))
            await self._prune_feed(now - core.settings.feed_retention_ms)
        return count

    async def _count_ended(self, until: int) -> None:
        core = self._core
        for queue, state in await core.read(core.reader.uncounted, until, WORTH_COUNTING):
            if not self._stop.is_set():
                await core.act_for_itself(CountEnded(queue=queue, state=state, until=until))

    async def _prune(self, queue: str, state: str, before: int) -> int:
        core, count = self._core, 0
        while not self._stop.is_set():
            acted = await core.act_for_itself(Prune(queue=queue, state=state, before=before, limit=LIMIT))
            count += acted.count
            if not acted.more:
                break
            await core.clock.wait(self._stop, _PAUSE_SECONDS)
        return count

    async def _prune_feed(self, before: int) -> None:
        while not self._stop.is_set():
            if not (await self._core.act_for_itself(PruneFeed(before=before, limit=LIMIT))).more:
                break
            await self._core.clock.wait(self._stop, _PAUSE_SECONDS)

    async def _prune_results(self, queue: str, state: str, before: int) -> None:
        while not self._stop.is_set():
            after = self._seen.get((queue, state), 0)
            acted = await self._core.act_for_itself(
                PruneResults(queue=queue, state=state, after=after, before=before, limit=LIMIT)
            )
            self._seen[queue, state] = max(after, int(acted.reply))
            if not acted.more:
                break
            await self._core.clock.wait(self._stop, _PAUSE_SECONDS)

    def _keep_ms(self, rules: QueueRules, state: str) -> int:
        by_state = rules.retention_states
        if by_state is not None and (kept := getattr(by_state, state)) is not None:
            return parse_duration(kept)
        own, default = rules.retention, self._core.settings.retention_ms
        if state == State.FAILED:
            own, default = rules.retention_failed or own, self._core.settings.retention_failed_ms
        return default if own is None else parse_duration(own)
