"""Runtimes over real stores: in memory, or on PostgreSQL."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest

from roost.engine.opening import open_store
from roost.engine.store import Store
from roost.service.core import HostKind, RuntimeSettings
from roost.service.runtime import Runtime
from tests.service.virtual_clock import VirtualClock, settle
from tests.service.watched_store import WatchedStore

MakeRuntime = Callable[..., Awaitable[Runtime]]


@pytest.fixture
def clock() -> VirtualClock:
    """A clock that the test moves."""
    return VirtualClock()


@pytest.fixture
def memory_store() -> Iterator[WatchedStore]:
    """SQLite in memory, watched."""
    store = WatchedStore(open_store("sqlite://:memory:", "embedded", rng=random.Random(1).random))
    yield store
    store.let_go()
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each kind of store."""
    url = "sqlite://:memory:" if request.param == "sqlite" else request.getfixturevalue("postgres_store")
    store = open_store(url, "server", rng=random.Random(1).random)
    yield store
    store.close()


@pytest.fixture
async def make_runtime() -> AsyncIterator[MakeRuntime]:
    """Starts runtimes and stops them in the end."""
    started: list[Runtime] = []

    async def make(
        store: Store,
        *,
        host: HostKind = "inline",
        clock: VirtualClock | None = None,
        loops: bool = True,
        settings: RuntimeSettings | None = None,
    ) -> Runtime:
        runtime = Runtime(
            store,
            clock=clock,
            rng=random.Random(2).random,
            host=host,
            settings=settings or RuntimeSettings(),
            version="test",
        )
        await runtime.start(loops=loops)
        await settle()
        started.append(runtime)
        return runtime

    yield make
    for runtime in started:
        await runtime.stop()
