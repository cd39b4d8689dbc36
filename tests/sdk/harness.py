"""A store in memory (or a file) with a clock that can be moved, and workers on it: the real service, no stand-ins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from roost.embedded import AsyncLocalTransport, Embedded
from roost.sdk._async.client import AsyncClient
from roost.sdk.app import App
from roost.sdk.worker import Worker
from roost.service.clock import SystemClock
from roost.wire.holds import Hold
from roost.wire.jobs import Job


class MovableClock(SystemClock):
    """The machine's clock plus what it was moved by; who waits on it notices the move."""

    def __init__(self) -> None:
        self._moved_by = 0.0
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def now(self) -> int:
        return super().now() + round(self._moved_by * 1000)

    def monotonic(self) -> float:
        return super().monotonic() + self._moved_by

    def advance(self, seconds: float) -> None:
        self._moved_by += seconds
        for loop, moved in list(self._waiting):
            loop.call_soon_threadsafe(moved.set)

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        until = None if seconds is None else self.monotonic() + seconds
        while not event.is_set():
            left = None if until is None else until - self.monotonic()
            if left is not None and left <= 0:
                return False
            moved = asyncio.Event()
            entry = (asyncio.get_running_loop(), moved)
            self._waiting.add(entry)
            tasks = [asyncio.create_task(event.wait()), asyncio.create_task(moved.wait())]
            try:
                await asyncio.wait(tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._waiting.discard(entry)
                for task in tasks:
                    task.cancel()
        return True


class Bench:
    """One store; jobs are declared on `app`, enqueued and run here."""

    def __init__(self, url: str = "sqlite://:memory:", app: App | None = None) -> None:
        self.clock = MovableClock()
        self.embedded = Embedded(url, clock=self.clock)
        self.client = AsyncClient(AsyncLocalTransport(self.embedded))
        self.app = app or App("sqlite://:memory:")

    async def enqueue(self, function: Any, *args: Any, **kwargs: Any) -> int:
        return (await self.client.jobs.enqueue(function.new_job(*args, **kwargs))).id

    def worker(self, **options: Any) -> Worker:
        defaults: dict[str, Any] = {"queues": ["default"], "lease": "15s", "grace": 0.2, "concurrency": 4}
        options = defaults | options
        return Worker(self.app.registry, self.client, **options)

    async def drain(self, **options: Any) -> None:
        await self.embedded.start_loops()
        await self.worker(**options).run(until="idle")

    @asynccontextmanager
    async def running(self, **options: Any) -> AsyncIterator[Worker]:
        """A worker in the background; stopped and waited for at the end."""
        await self.embedded.start_loops()
        worker = self.worker(**options)
        task = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(task, 30)

    async def job(self, id: int) -> Job:
        return await self.client.jobs.get(id)

    async def ended(self, id: int) -> Job:
        """The job when it is terminal; fails the test where it does not get there."""
        job = await self.client.jobs.wait(id, "20s")
        assert job.state in ("succeeded", "failed", "cancelled", "expired"), f"job {id} is {job.state} ({job.reason})"
        return job

    async def until(self, id: int, state: str) -> Job:
        """The job once it is in ``state``, asked again and again for a bounded time."""
        async with asyncio.timeout(20):
            while (job := await self.job(id)).state != state:
                await asyncio.sleep(0.01)
        return job

    async def hold(self, id: int) -> Hold:
        """The job's one open hold."""
        (hold,) = (await self.client.holds.list(job=id)).holds
        return hold

    async def close(self) -> None:
        await self.client.aclose()
        await asyncio.to_thread(self.embedded.close)
