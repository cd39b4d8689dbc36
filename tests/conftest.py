"""Fixtures of the whole suite: real databases, made when the first test asks for one."""

from __future__ import annotations

import compileall
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from scripts.source_files import ROOT
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer


def pytest_configure(config: pytest.Config) -> None:
    """Compiles the package once: where the environment keeps Python from it, every program started here would again."""
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(ROOT / "src", quiet=2)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server for the session, without fsync; tests take `postgres_url`, a database of their own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a new empty PostgreSQL database, removed after the test with whatever is still connected."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


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
