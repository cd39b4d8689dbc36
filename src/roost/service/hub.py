"""Who waits for what: claims for jobs of their queues, callers for a job's end. Nobody polls.

A waiting claim is registered before it is first tried, so that a job which becomes ready in between wakes it. Each job
that becomes ready is a *credit*, given to one waiting claim. A claim that leaves without having used its credits passes
them on; so no job stays ready while a claim that could have it sleeps, and one job does not wake a hundred claims.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from roost.engine.batch import ClaimAnswer, ClaimWork, Effects
from roost.service.clock import Clock
from roost.service.lane import Waiting
from roost.wire.problems import Problem

ClaimFuture = asyncio.Future[ClaimAnswer | Problem]


class ClaimWaiter:
    """A claim that may wait."""

    __slots__ = ("credits", "event", "joined", "work")

    def __init__(self, work: ClaimWork) -> None:
        self.work = work
        self.event = asyncio.Event()
        self.credits: dict[str, int] = {}
        self.joined: ClaimFuture | None = None
        """The answer of the batch it was invited to."""

    def room(self) -> int:
        """How many more jobs it could take than it has been promised."""
        return self.work.limit - sum(self.credits.values())


class Hub:
    """Waiting claims and waiting callers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # Dictionaries as ordered sets: first come, first served, and leaving costs no search.
        self._trying: dict[str, dict[ClaimWaiter, None]] = {}
        self._idle: dict[str, dict[ClaimWaiter, None]] = {}
        self._jobs: dict[int, set[asyncio.Event]] = {}
        self._listeners: set[asyncio.Event] = set()
        self.closed = False

    # --- claims -------------------------------------------------------------------------------------------------------

    @property
    def has_idle(self) -> bool:
        """Whether any claim waits for a job."""
        return bool(self._idle)

    def register(self, work: ClaimWork) -> ClaimWaiter:
        """A waiter for ``work``; call it before the claim is tried, and `leave` in the end."""
        waiter = ClaimWaiter(work)
        _put(self._trying, waiter)
        return waiter

    async def wait(self, waiter: ClaimWaiter, seconds: float) -> bool:
        """Wait until there may be a job for it; False when the time is over. Its credits count as used then."""
        if not waiter.event.is_set() and not self.closed:
            _remove(self._trying, waiter)
            _put(self._idle, waiter)
            try:
                await self._clock.wait(waiter.event, seconds)
            finally:
                _remove(self._idle, waiter)
                _put(self._trying, waiter)
        if not waiter.event.is_set():
            return False
        waiter.event.clear()
        return not self.closed

    def use(self, waiter: ClaimWaiter) -> dict[str, int]:
        """The credits it is about to use in a claim."""
        used, waiter.credits = waiter.credits, {}
        return used

    def leave(self, waiter: ClaimWaiter, unused: dict[str, int]) -> None:
        """It waits no more; what it was promised and did not use goes to the next."""
        _remove(self._trying, waiter)
        for credits in (unused, waiter.credits):
            self._credit(credits)

    def join(self, ready: dict[str, int]) -> list[Waiting[ClaimWork, ClaimAnswer | Problem]]:
        """Idle claims that take part in the batch which makes ``ready`` jobs ready, as calls of that batch."""
        loop = asyncio.get_running_loop()
        invited: list[Waiting[ClaimWork, ClaimAnswer | Problem]] = []
        for queue, count in ready.items():
            left = count
            for waiter in list(self._idle.get(queue, ())):
                if left <= 0:
                    break
                if waiter.event.is_set():
                    continue
                waiter.joined = loop.create_future()
                waiter.event.set()
                left -= waiter.work.limit
                invited.append(Waiting(waiter.work, waiter.joined, waiter.work.limit, 0))
        return invited

    # --- ends ---------------------------------------------------------------------------------------------------------

    def watch(self, job: int) -> asyncio.Event:
        """An event that is set when ``job`` ends; give it back with `unwatch`."""
        event = asyncio.Event()
        self._jobs.setdefault(job, set()).add(event)
        if self.closed:
            event.set()
        return event

    def unwatch(self, job: int, event: asyncio.Event) -> None:
        """Nobody waits on ``event`` any more."""
        events = self._jobs.get(job)
        if events is not None:
            events.discard(event)
            if not events:
                del self._jobs[job]

    def listen(self) -> asyncio.Event:
        """An event that is set by every commit; give it back with `unlisten`."""
        event = asyncio.Event()
        self._listeners.add(event)
        return event

    def unlisten(self, event: asyncio.Event) -> None:
        """Nobody waits on ``event`` any more."""
        self._listeners.discard(event)

    # --- what happened ------------------------------------------------------------------------------------------------

    def feed(self, effects: Effects) -> None:
        """Wake those whom a commit concerns."""
        if effects.ready:
            self._credit(effects.ready)
        for event in self._listeners:
            event.set()
        if self._jobs:
            for job in effects.ended:
                for event in self._jobs.get(job, ()):
                    event.set()

    def wake_all(self) -> None:
        """Something happened elsewhere and nobody knows what: all look again."""
        for waiters in (*self._idle.values(), *self._trying.values()):
            for waiter in waiters:
                waiter.event.set()
        for events in (*self._jobs.values(), self._listeners):
            for event in events:
                event.set()

    def close(self) -> None:
        """Let all go with what they have; nobody waits from now on."""
        self.closed = True
        self.wake_all()

    def _credit(self, ready: dict[str, int]) -> None:
        for queue, count in ready.items():
            # Those who sleep first: one that is trying may come back full, and the job would wait for its answer.
            left = _give(self._idle.get(queue, ()), queue, count)
            if left > 0:
                _give(self._trying.get(queue, ()), queue, left)


def _give(waiters: Iterable[ClaimWaiter], queue: str, count: int) -> int:
    """Promise ``count`` jobs of ``queue``; how many nobody has room for."""
    for waiter in waiters:
        if count <= 0:
            break
        given = min(count, waiter.room())
        if given > 0:
            waiter.credits[queue] = waiter.credits.get(queue, 0) + given
            waiter.event.set()
            count -= given
    return count


def _put(sets: dict[str, dict[ClaimWaiter, None]], waiter: ClaimWaiter) -> None:
    for queue in waiter.work.queues:
        sets.setdefault(queue, {})[waiter] = None


def _remove(sets: dict[str, dict[ClaimWaiter, None]], waiter: ClaimWaiter) -> None:
    for queue in waiter.work.queues:
        waiters = sets.get(queue)
        if waiters is not None:
            waiters.pop(waiter, None)
            if not waiters:
                del sets[queue]
