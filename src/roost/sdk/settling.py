"""Outcomes on their way to the server: whatever ended while the last call was in flight goes in the next one."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from roost.errors import LeaseLost, RoostError
from roost.sdk.attempt import Attempt
from roost.sdk.endings import failed
from roost.sdk.patience import WORTH_REPEATING, Patience, may_pass
from roost.sdk.ports import Flush
from roost.sdk.transport import AsyncTransport
from roost.wire.attempts import Outcome, SettledJobs, SettleJobs
from roost.wire.contract import SETTLE

logger = logging.getLogger("roost.worker")

OUTCOMES_PER_CALL = 1000
BYTES_PER_CALL = 512_000
FAILED_CALLS = 5
"""Times a server may fail over a call before its outcomes are taken for the cause, and tried by themselves."""

Ended = tuple[Attempt, Outcome]


class Settler:
    """Settles in groups, one call at a time; repeats a call until it is answered or the leases are over."""

    def __init__(self, transport: AsyncTransport, flush: Flush, on_settled: Callable[[Attempt], None]) -> None:
        """``on_settled`` is told of each attempt whose outcome was accepted, refused or dropped."""
        self._transport = transport
        self._flush = flush
        self._on_settled = on_settled
        self._patience = Patience(seconds=float("inf"))
        self._waiting: list[Ended] = []
        self._flushing: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, attempt: Attempt, outcome: Outcome) -> None:
        """Settle an ended attempt, after what it still has to tell."""
        if attempt.notes is not None and attempt.notes.pending:
            task = asyncio.create_task(self._after_flush(attempt, outcome))
            self._flushing.add(task)
            task.add_done_callback(self._flushing.discard)
            return
        self._waiting.append((attempt, outcome))
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Return when nothing is left to settle."""
        while self._task is not None or self._flushing:
            await asyncio.wait([*self._flushing, *([self._task] if self._task else [])])

    async def _after_flush(self, attempt: Attempt, outcome: Outcome) -> None:
        await self._flush(attempt)
        attempt.notes = None
        self.add(attempt, outcome)

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                await self._settle(batch)
        finally:
            self._task = None

    def _take(self) -> list[Ended]:
        size = count = 0
        for _, outcome in self._waiting[:OUTCOMES_PER_CALL]:
            size += 0 if outcome.result is None else len(bytes(outcome.result))
            size += 0 if outcome.error is None else len(outcome.error.traceback) + len(outcome.error.message)
            if count and size > BYTES_PER_CALL:
                break
            count += 1
        batch = self._waiting[:count]
        del self._waiting[:count]
        return batch

    async def _settle(self, batch: list[Ended]) -> None:
        failures = 0
        while batch:
            try:
                request = SettleJobs(outcomes=[outcome for _, outcome in batch])
                reply = await self._transport.send(SETTLE, request)
            except RoostError as error:
                failures += 1
                if not isinstance(error, WORTH_REPEATING) and (failures > FAILED_CALLS or not may_pass(error)):
                    await self._refused(batch, error)
                    return
                pause = self._patience.pause(failures, error, 0.0) or 1.0
                logger.warning("settling %d jobs failed, again in %.1f s: %s", len(batch), pause, error)
                await asyncio.sleep(pause)
                batch = self._still_ours(batch)
            else:
                self._answered(batch, reply)
                return

    def _still_ours(self, batch: list[Ended]) -> list[Ended]:
        now = time.monotonic()
        kept = []
        for attempt, outcome in batch:
            if attempt.lease_until > now:
                kept.append((attempt, outcome))
            else:
                logger.warning("the lease of %r ran out before it could be settled; its result is dropped", attempt)
                self._on_settled(attempt)
        return kept

    async def _refused(self, batch: list[Ended], error: RoostError) -> None:
        """One outcome is to blame: found by halves, and told to its job as its failure."""
        if len(batch) > 1:
            half = len(batch) // 2
            await self._settle(batch[:half])
            await self._settle(batch[half:])
            return
        attempt, outcome = batch[0]
        if outcome.error is not None and outcome.error.type == "OutcomeRefused":
            logger.error("%r cannot be settled: %s", attempt, error)
            self._on_settled(attempt)
            return
        logger.error("the outcome of %r was refused, the job fails by it: %s", attempt, error)
        told = f"the {outcome.outcome} of this attempt was refused: {error}"
        await self._settle([(attempt, failed(attempt.id, attempt.token, "OutcomeRefused", told, fatal=True))])

    def _answered(self, batch: list[Ended], reply: SettledJobs) -> None:
        for (attempt, outcome), settled in zip(batch, reply.results, strict=True):
            if settled.error is not None:
                error = settled.error.error()
                if not isinstance(error, LeaseLost) and (
                    outcome.error is None or outcome.error.type != "OutcomeRefused"
                ):
                    logger.error("the outcome of %r was refused, the job fails by it: %s", attempt, error)
                    refusal = f"the {outcome.outcome} of this attempt was refused: {error}"
                    self.add(attempt, failed(attempt.id, attempt.token, "OutcomeRefused", refusal, fatal=True))
                    continue
                logger.warning("%r was not settled, its result is dropped: %s", attempt, error)
            self._on_settled(attempt)
