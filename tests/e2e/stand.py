"""Roost as its users have it: an engine behind a transport, and workers on it."""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import roost
from roost.embedded import Embedded
from roost.engine.opening import open_store
from roost.server.app import App as HttpApp
from roost.server.guard import Limits
from roost.server.hosts import Hosts
from roost.server.listener import Listener
from roost.server.run import Stop, serve
from roost.server.settings import Settings
from roost.service.clock import Clock
from roost.service.ids import SystemIds
from roost.service.runtime import Runtime
from roost.wire.holds import Hold
from roost.wire.jobs import Job

T = TypeVar("T")

SECONDS = 20.0
"""How long a test waits for what must happen."""


@dataclass(frozen=True)
class Stand:
    """A running Roost."""

    url: str
    """What an application is given: the server's URL, or the store's."""
    store_url: str
    transport: str
    engine: str

    def app(self) -> roost.App:
        """A new application; close it."""
        return roost.App(self.url)


@contextmanager
def serving(store_url: str, transport: str, engine: str) -> Iterator[Stand]:
    """Roost with its loops running, until the block ends."""
    if transport == "http":
        with http_server(store_url) as url:
            yield Stand(url, store_url, transport, engine)
    else:
        embedded = Embedded.open(store_url)
        try:
            embedded.run(embedded.runtime.start_loops())
            yield Stand(store_url, store_url, transport, engine)
        finally:
            embedded.release()


@contextmanager
def http_server(store_url: str) -> Iterator[str]:
    """The URL of a server in a thread of its own; it must drain in the end."""
    started: list[str] = []
    codes: list[int] = []
    ready = threading.Event()
    handles: list[tuple[asyncio.AbstractEventLoop, Stop]] = []

    def tell(url: str) -> None:
        started.append(url)
        ready.set()

    async def main() -> None:
        stop = Stop()
        handles.append((asyncio.get_running_loop(), stop))
        codes.append(await serve(Settings(port=0, store=store_url), ready=tell, stop=stop, version="test"))

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    assert ready.wait(SECONDS)
    try:
        yield started[0]
    finally:
        loop, stop = handles[0]
        loop.call_soon_threadsafe(stop.begin)
        thread.join(SECONDS)
    assert codes == [0]


@asynccontextmanager
async def clocked(store_url: str, transport: str, clock: Clock) -> AsyncIterator[roost.AsyncClient]:
    """A client of a Roost with a clock of the test's and no loops: nothing happens by itself there."""
    if transport == "embedded":
        embedded = Embedded(store_url, clock=clock)
        async with roost.AsyncClient(embedded.async_transport()) as client:
            yield client
        await asyncio.to_thread(embedded.close)
        return
    store = open_store(store_url, "server", rng=random.Random(1).random)
    runtime = Runtime(store, clock=clock, version="test")
    bound = socket.create_server(("127.0.0.1", 0))
    port = bound.getsockname()[1]
    hosts = Hosts("127.0.0.1", port, ())
    listener = Listener(HttpApp(runtime, hosts=hosts, ids=SystemIds(), pages={}), bound, Limits())
    await runtime.start(loops=False)
    await listener.start()
    async with roost.AsyncClient.connect(f"http://127.0.0.1:{port}") as client:
        yield client
    listener.close()
    await runtime.quiesce()
    await listener.finished()
    await runtime.stop()
    store.close()
    bound.close()


@asynccontextmanager
async def working(app: roost.App, *queues: str, concurrency: int = 4, **options: Any) -> AsyncIterator[None]:
    """A worker in the background; stopped and waited for at the end."""
    worker = await app.worker(queues=list(queues), concurrency=concurrency, grace=1.0, **options)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await asyncio.wait_for(task, SECONDS)


async def eventually(look: Callable[[], Awaitable[T | None]], what: str) -> T:
    """The first answer that is not None (or False); fails the test where none comes in time."""
    try:
        async with asyncio.timeout(SECONDS):
            while not (found := await look()):
                await asyncio.sleep(0.01)
            return found
    except TimeoutError:
        raise AssertionError(f"this did not happen: {what}") from None


async def ended(app: roost.App, id: int) -> Job:
    """The job when it is terminal."""
    job = await app.client.jobs.wait(id, "20s")
    assert job.state in ("succeeded", "failed", "cancelled", "expired"), f"job {id} is {job.state} ({job.reason})"
    return job


async def until(app: roost.App, id: int, state: str) -> Job:
    """The job once it is in ``state``."""

    async def look() -> Job | None:
        job = await app.client.jobs.get(id)
        return job if job.state == state else None

    return await eventually(look, f"job {id} is {state}")


async def open_hold(app: roost.App, id: int) -> Hold:
    """The job's open hold, once it is held."""
    await until(app, id, "held")
    (hold,) = (await app.client.holds.list(job=id)).holds
    return hold
