"""Every end-to-end test runs over HTTP and embedded, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import roost
from tests.e2e.stand import Stand, serving
from tests.support.databases import Databases

ENGINES = ["sqlite", "postgresql"]
TRANSPORTS = ["http", "embedded"]
COMBINATIONS = [f"{transport}-{engine}" for transport in TRANSPORTS for engine in ENGINES]

_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=COMBINATIONS)
def stand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """One Roost of each kind for all tests, which keep apart by the names of their queues."""
    transport, _, engine = request.param.partition("-")
    if engine == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('e2e')}/roost.db"
        with serving(url, transport, engine) as found:
            yield found
        return
    stores: Databases = request.getfixturevalue("empty_stores")
    url = stores.lend()
    with serving(url, transport, engine) as found:
        yield found
    stores.take_back(url)


@pytest.fixture
async def app(stand: Stand) -> AsyncIterator[roost.App]:
    """An application of the test's own."""
    app = stand.app()
    yield app
    await app.aclose()


@pytest.fixture
def queue() -> str:
    """The name of a queue nobody else uses."""
    return f"queue-{next(_numbers)}"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def store_url(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty store of the test's own."""
    if engine == "sqlite":
        return f"sqlite:///{tmp_path}/roost.db"
    url: str = request.getfixturevalue("postgres_store")
    return url


@pytest.fixture(autouse=True)
def _workers_stop_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here stops a worker under load in its own process, so a last claim's answer is not worth waiting for."""
    monkeypatch.setattr("roost.sdk.worker.LAST_CLAIM_SECONDS", 0.0)
