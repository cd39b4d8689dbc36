"""A real server on a real port, over each engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from roost.server.run import Stop, serve
from roost.server.settings import Settings
from tests.support.databases import Databases


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, sqlite_path: Path) -> str:
    """An empty store of each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{sqlite_path}"
    url: str = request.getfixturevalue("postgres_store")
    return url


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[int]:
    """The port of a server that runs in this loop; it must drain when the test is over."""
    stop, url = Stop(), asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(serve(settings, ready=url.set_result, stop=stop, version="1.2"))
    await asyncio.wait((task, url), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        task.result()
    yield int(url.result().rpartition(":")[2])
    stop.begin()
    assert await task == 0


@pytest.fixture
async def port(store_url: str) -> AsyncIterator[int]:
    """The port of a server with an empty store of the test's own."""
    async with running(Settings(port=0, store=store_url)) as found:
        yield found


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty store that must stay empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('store') / 'roost.db'}"
        return
    stores: Databases = request.getfixturevalue("empty_stores")
    url = stores.lend()
    yield url
    stores.take_back(url)


@pytest.fixture(scope="module")
def shared_port(shared_store: str) -> Iterator[int]:
    """The port of one server for all tests of a module, in a thread of its own."""
    ready: Future[str] = Future()
    handles: Future[tuple[asyncio.AbstractEventLoop, Stop]] = Future()

    async def run() -> int:
        stop = Stop()
        handles.set_result((asyncio.get_running_loop(), stop))
        return await serve(Settings(port=0, store=shared_store), ready=ready.set_result, stop=stop, version="1.2")

    with ThreadPoolExecutor(1) as pool:
        code = pool.submit(asyncio.run, run())
        code.add_done_callback(
            lambda done: None if ready.done() else ready.set_exception(done.exception() or EOFError())
        )
        yield int(ready.result(30).rpartition(":")[2])
        loop, stop = handles.result()
        loop.call_soon_threadsafe(stop.begin)
        assert code.result(30) == 0
