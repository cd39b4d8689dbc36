"""Small runs of the campaigns with real processes, on both engines; the long ones are `make chaos`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos import endings, kills, worker_kills
from tests.chaos.report import Report
from tests.support.postgres import PostgresServer

NewStore = Callable[[], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewStore]:
    """Gives the URL of one more empty store of the engine the test is run on."""
    stores: list[str] = []
    if request.param == "sqlite":

        def make() -> str:
            stores.append(f"sqlite:///{tmp_path}/{len(stores)}.db")
            return stores[-1]

        yield make
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")

    def create() -> str:
        stores.append(server.create_database())
        return stores[-1]

    yield create
    for store in stores:
        server.drop_database(store)


def test_killed_servers_lose_nothing(new_store: NewStore, tmp_path: Path) -> None:
    report = Report("server kills", 3)
    kills.run(new_store(), tmp_path, 3, 3, report, abandons=False)
    assert report.violations == []
    assert report.counts["acknowledged_enqueues"] > 10
    assert report.counts["unknown_outcomes"] > 10
    assert report.counts["stale_outcomes_tried"] > 3


def test_killed_workers_repeat_nothing_recorded(new_store: NewStore, tmp_path: Path) -> None:
    report = Report("worker kills", 4)
    worker_kills.run(new_store(), tmp_path, 4, 4, report)
    assert report.violations == []
    assert report.counts["attempts_lost"] >= 4
    assert report.counts["effects"] == 1


def test_ends_that_are_asked_for_lose_nothing(new_store: NewStore, tmp_path: Path) -> None:
    report = Report("ends", 5)
    stores = [new_store() for _ in range(3)]
    shared = [new_store()] if stores[0].startswith("postgresql") else []
    endings.run([*stores, *shared], tmp_path, 5, 1, report, fires=4)
    assert report.violations == []
    assert report.counts["late_calls_refused"] == 9
    assert report.counts.get("nodes_killed", 0) == len(shared)


@pytest.mark.chaos
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_fifty_kills(engine: str) -> None:
    assert kills.campaign(engine, 50, 11, None) == 0
    assert worker_kills.campaign(engine, 50, 11, None) == 0
    assert endings.campaign(engine, 10, 11, None) == 0
