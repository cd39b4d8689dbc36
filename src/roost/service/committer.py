"""Group commit: what arrives while a commit is in flight becomes one transaction.

There is no timer. An idle server commits at once; a busy one groups, because more arrives while the disk works.
Settles, heartbeats and steps go first and are never shed: refusing them would turn an overload into lost leases and
repeated work.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from roost.domain.settle import Ending
from roost.engine.batch import (
    BeatenRow,
    BeatRow,
    ClaimAnswer,
    ClaimWork,
    Effects,
    EnqueuedRow,
    EnqueueWork,
    SettledRow,
    SettleRow,
    StepAnswer,
    StepRow,
)
from roost.engine.calls import Acted, Call
from roost.errors import Contended, Overloaded, RoostError, Unavailable
from roost.service.gathering import Gathered, Lanes
from roost.service.health import STORE_FAILURES, Health
from roost.service.host import Host
from roost.service.hub import ClaimFuture, Hub
from roost.service.lane import Waiting
from roost.wire.problems import Problem

log = logging.getLogger("roost.service.committer")

RELEASE = Ending(kind="release")
_NEARLY_FULL = 0.95


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """How much may wait, and how much one transaction takes."""

    rows: int = 20_000
    bytes: int = 64 * 1024 * 1024
    claims: int = 10_000
    actions: int = 512
    batch_rows: int = 5_000
    batch_bytes: int = 8 * 1024 * 1024
    retry_after: float = 1.0
    """Seconds a refused caller is told to wait."""


class _Leased(msgspec.Struct):
    """Of a lease, what giving it back needs."""

    id: int


_leased = msgspec.json.Decoder(list[_Leased])


class Committer:
    """Collects work into transactions and hands the answers back.

    ``heed`` is told the effects of each commit, and the longest lease it granted in milliseconds (0: none).
    """

    def __init__(
        self,
        host: Host,
        *,
        hub: Hub,
        now: Callable[[], int],
        concurrency: int,
        budget: Budget,
        health: Health,
        heed: Callable[[Effects, int], None],
    ) -> None:
        self._host = host
        self._hub = hub
        self._now = now
        self._concurrency = concurrency
        self._budget = budget
        self._health = health
        self._heed = heed
        self._lanes = Lanes()
        self._actions: deque[Waiting[Call, Acted]] = deque()
        self._action_was_last = False
        self._in_flight: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._closed = False

    # --- what callers ask for -----------------------------------------------------------------------------------------

    def enqueue(self, work: EnqueueWork, size: int) -> asyncio.Future[list[EnqueuedRow] | Problem]:
        """Store jobs of ``size`` bytes; raises `Overloaded`."""
        self._check_open()
        lane, budget, rows = self._lanes.enqueues, self._budget, len(work.rows)
        # Only where something waits already: a single call over the budget would otherwise never get in.
        if lane.rows and (lane.rows + rows > budget.rows or lane.bytes + size > budget.bytes):
            raise self._overloaded("jobs")
        future = lane.add(work, rows, size)
        self._schedule()
        return future

    def check_room(self) -> None:
        """Raises `Overloaded` where jobs would very likely be refused: before anybody troubles to read them."""
        lane, budget = self._lanes.enqueues, self._budget
        if lane.rows > budget.rows * _NEARLY_FULL or lane.bytes > budget.bytes * _NEARLY_FULL:
            raise self._overloaded("jobs")

    def claim(self, work: ClaimWork) -> ClaimFuture:
        """Take jobs; raises `Overloaded`. Await it through `taken`, so that nobody's leases are given back."""
        self._check_open()
        lane = self._lanes.claims
        if len(lane) >= self._budget.claims:
            raise self._overloaded("claims")
        future = lane.add(work, work.limit, 0)
        self._schedule()
        return future

    def settle(self, rows: list[SettleRow], size: int) -> asyncio.Future[list[SettledRow]]:
        """End attempts; never shed."""
        self._check_open()
        future = self._lanes.settles.add(rows, len(rows), size)
        self._schedule()
        return future

    def beat(self, rows: list[BeatRow], size: int) -> asyncio.Future[list[BeatenRow]]:
        """Renew leases; never shed."""
        self._check_open()
        future = self._lanes.beats.add(rows, len(rows), size)
        self._schedule()
        return future

    def step(self, row: StepRow, size: int) -> asyncio.Future[StepAnswer]:
        """Record a step; never shed."""
        self._check_open()
        future = self._lanes.steps.add(row, 1, size)
        self._schedule()
        return future

    def act(self, call: Call, *, reserved: bool = False) -> asyncio.Future[Acted]:
        """One control action; raises `Overloaded` unless it is ``reserved`` for the service itself."""
        self._check_open()
        if not reserved and len(self._actions) >= self._budget.actions:
            raise self._overloaded("control actions")
        future: asyncio.Future[Acted] = asyncio.get_running_loop().create_future()
        self._actions.append(Waiting(call, future, 1, 0))
        self._schedule()
        return future

    async def taken(self, future: ClaimFuture) -> ClaimAnswer | Problem:
        """The claim's answer; where the caller is cancelled meanwhile, its leases are given back."""
        try:
            return await future
        except asyncio.CancelledError:
            self.disown(future)
            raise

    def disown(self, future: ClaimFuture) -> None:
        """Nobody waits for this claim any more: what it got, or will get, goes back."""
        if not future.done():
            future.cancel()
        elif not future.cancelled() and future.exception() is None:
            answer = future.result()
            if isinstance(answer, ClaimAnswer) and answer.count:
                self._give_back(answer)

    @property
    def waiting(self) -> int:
        """How many jobs, outcomes and calls wait for their commit to begin."""
        lanes = self._lanes
        counted = (lanes.enqueues, lanes.settles, lanes.beats, lanes.steps)
        return sum(lane.rows for lane in counted) + len(lanes.claims) + len(self._actions)

    async def close(self) -> None:
        """Carry out what was accepted, then refuse."""
        self._closed = True
        while self._in_flight or self._lanes or self._actions:
            self._pump()
            if self._in_flight:
                await asyncio.wait(list(self._in_flight))

    # --- one transaction after the other ------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the server is shutting down", help="try again, or on another node")
        if self._health.fatal.is_set():
            self._health.check()

    def _overloaded(self, what: str) -> Overloaded:
        return Overloaded(
            f"too many {what} are waiting",
            help="try again later, with fewer at once",
            retry_after=self._budget.retry_after,
        )

    def _schedule(self) -> None:
        """Look at the lanes once the loop has run all that is ready now: those requests share a commit."""
        if not self._scheduled and len(self._in_flight) < self._concurrency:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        while len(self._in_flight) < self._concurrency:
            carrying = self._next()
            if carrying is None:
                return
            task = asyncio.get_running_loop().create_task(carrying)
            self._in_flight.add(task)
            task.add_done_callback(self._landed)

    def _next(self) -> Coroutine[Any, Any, None] | None:
        """Actions and batches take turns, so that neither starves the other."""
        if self._actions and not (self._lanes and self._action_was_last):
            self._action_was_last = True
            return self._carry_action(self._actions.popleft())
        self._action_was_last = False
        if not self._lanes:
            return None
        gathered = Gathered.take(self._lanes, self._budget.batch_rows, self._budget.batch_bytes)
        if not gathered:
            # All of their callers had gone.
            return self._next() if self._actions else None
        gathered.invite(self._hub)
        return self._carry_batch(gathered)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.critical("the answers of a commit could not be handed back", exc_info=error)
        if not self._scheduled and (self._lanes or self._actions):
            # Once more around the loop: whoever was just answered may ask again, and share the next commit.
            self._scheduled = True
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self._pump)

    async def _carry_batch(self, gathered: Gathered) -> None:
        try:
            applied = await self._host.submit(gathered.batch(self._now()))
        except Contended as error:
            await self._carry_apart(gathered, error)
            return
        except Exception as error:
            self._failed(error)
            gathered.refuse(error)
            return
        self._health.succeeded()
        granted = gathered.deliver(applied, self._give_back)
        self._heed(applied.effects, granted)

    async def _carry_apart(self, gathered: Gathered, error: Contended) -> None:
        """A transaction that is still open holds a unique key: who wants it is told to come again, the others go on."""
        parts = gathered.apart()
        if not parts:
            self._failed(error)
            gathered.refuse(error)
        held: set[str] = set()
        for part in parts:
            if part.keys & held:
                part.refuse(error)
                continue
            await self._carry_batch(part)
            if part.was_contended:
                held |= part.keys

    async def _carry_action(self, waiting: Waiting[Call, Acted]) -> None:
        try:
            acted = await self._host.submit(waiting.work)
        except Exception as error:
            self._failed(error)
            waiting.refuse(error)
            return
        self._health.succeeded()
        waiting.answer(acted)
        self._heed(acted.effects, 0)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, STORE_FAILURES):
            self._health.failed(error)
        elif isinstance(error, RoostError):
            # A refusal of what was asked: the store is well.
            self._health.succeeded()
        else:
            log.error("a transaction failed: %s", error, exc_info=error)

    def _give_back(self, answer: ClaimAnswer) -> None:
        """Leases that were granted to somebody who is gone: their jobs may be taken at once."""
        rows = [SettleRow(lease.id, answer.token, RELEASE) for lease in _leased.decode(answer.jobs)]
        # Through the lane itself: on the way down nothing new is accepted, yet these must not stay leased.
        future = self._lanes.settles.add(rows, len(rows), 0)
        future.add_done_callback(_forget)
        self._schedule()


def _forget(future: asyncio.Future[list[SettledRow]]) -> None:
    """Where giving back fails, the lease runs out by itself; the failure was logged by the committer."""
    if not future.cancelled():
        future.exception()
