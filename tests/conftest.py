"""Fixtures of the whole suite: real databases, made when the first test asks for one."""

from __future__ import annotations

import compileall
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from roost.engine.opening import open_store
from roost.service.ids import system_rng
from scripts.source_files import ROOT
from tests.support.databases import Databases
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer

# How fast a machine makes examples says nothing of what is tried with them.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Compiles the package once: where the environment keeps Python from it, every program started here would again."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "src", quiet=2)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the session, without fsync; tests take `postgres_url`, a database of their own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def empty_databases(postgres_server: PostgresServer) -> Databases:
    """PostgreSQL databases without a table, to lend."""
    return Databases(postgres_server, postgres_server.create_database())


@pytest.fixture
def postgres_url(empty_databases: Databases) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of the test's own; whatever is still connected in the end is cut."""
    url = empty_databases.lend()
    yield url
    empty_databases.take_back(url)


@pytest.fixture(scope="session")
def empty_stores(postgres_server: PostgresServer) -> Databases:
    """PostgreSQL databases with Roost's schema, to lend."""
    template = postgres_server.create_database()
    open_store(template, "server", rng=system_rng).close()
    return Databases(postgres_server, template)


@pytest.fixture
def postgres_store(empty_stores: Databases) -> Iterator[str]:
    """The URL of an empty Roost in PostgreSQL, as after a first start; cheaper than `postgres_url` and a start."""
    url = empty_stores.lend()
    yield url
    empty_stores.take_back(url)


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    """PgBouncer, pooling by transaction, in front of `postgres_server`: `pgbouncer.url_of(postgres_url)`."""
    with PgBouncer(postgres_server) as bouncer:
        yield bouncer


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    """The path of a SQLite file that does not exist yet, in a directory of the test's own."""
    return tmp_path / "roost.db"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Reports that can be sent between processes: what a test logged may hold half a surrogate pair."""
    report = yield
    report.sections = [(name, text.encode(errors="replace").decode()) for name, text in report.sections]
    return report
