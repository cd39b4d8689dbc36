"""Every conformance test runs on each engine: SQLite in memory, SQLite in a file, PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roost.engine import catalogue
from roost.engine.opening import open_store
from tests.conformance.bench import Bench, seeded
from tests.support.feed import Replay

ENGINES = ["memory", "file", "postgresql"]


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of the engine the test is run on."""
    if request.param == "memory":
        return "sqlite://:memory:"
    if request.param == "file":
        return f"sqlite:///{tmp_path}/roost.db"
    url: str = request.getfixturevalue("postgres_store")
    return url


@pytest.fixture
def bench(store_url: str) -> Iterator[Bench]:
    """An open store with its engine."""
    store = open_store(store_url, "embedded", rng=seeded())
    engine = store.engine()
    bench = Bench(store, engine)
    yield bench
    if bench.fed:
        # Whatever a test did to its jobs, by whatever path: the feed tells it, each change once and in order.
        replay = Replay()
        replay.read(store.reader)
        replay.check(store.reader)
    engine.close()
    store.close()


@pytest.fixture
def explain(bench: Bench) -> Callable[[str, dict[str, object]], str]:
    """The database's plan of a named statement with these parameters."""

    def plan(name: str, parameters: dict[str, object]) -> str:
        def ask(transaction: Any) -> str:
            sql = catalogue.load(f"roost.engine.{bench.store.info.engine.removesuffix('ql')}")[name]
            if bench.store.info.engine == "sqlite":
                return "\n".join(row[3] for row in transaction.query(f"EXPLAIN QUERY PLAN {sql}", parameters))
            transaction.query("ANALYZE job, hold, schedule", {})
            return "\n".join(row[0] for row in transaction.query(f"EXPLAIN {sql}", parameters))

        answer: str = bench.engine._driver.transaction(ask)  # type: ignore[attr-defined]
        return answer

    return plan


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "store_url" in metafunc.fixturenames:
        metafunc.parametrize("store_url", ENGINES, indirect=True)
