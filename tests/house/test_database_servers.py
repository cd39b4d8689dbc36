"""The database servers of the suite are real, keep what they promise, and never outlive the suite."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from scripts.source_files import ROOT
from tests.support import processes
from tests.support.databases import Databases
from tests.support.pgbouncer import PgBouncer
from tests.support.postgres import PostgresServer


def _setting(url: str, name: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return str(row[0])


def test_each_test_gets_an_empty_database_of_its_own(postgres_server: PostgresServer, postgres_url: str) -> None:
    assert _setting(postgres_url, "server_version_num").startswith("15")
    assert _setting(postgres_url, "data_checksums") == "on"
    other = postgres_server.create_database()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE mark (id bigint)")
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT to_regclass('mark')").fetchone() == (None,)
    postgres_server.drop_database(other)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(other)


def test_a_database_can_be_a_copy(postgres_server: PostgresServer, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE mark AS SELECT 7 AS id")
    copy = postgres_server.create_database(template=postgres_url)
    with psycopg.connect(copy) as connection:
        assert connection.execute("SELECT id FROM mark").fetchone() == (7,)
    postgres_server.drop_database(copy)


def test_dropping_a_database_ends_its_sessions(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database()
    connection = psycopg.connect(url)
    postgres_server.drop_database(url)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


def test_a_database_is_lent_again_as_it_was(postgres_server: PostgresServer) -> None:
    template = postgres_server.create_database()
    with psycopg.connect(template) as connection:
        connection.execute("CREATE TABLE known (id bigint GENERATED ALWAYS AS IDENTITY, text text)")
        connection.execute("INSERT INTO known (text) VALUES ('kept')")
    databases = Databases(postgres_server, template)
    url = databases.lend()
    assert databases.lend() != url, "one test has it"
    with psycopg.connect(url) as idle, psycopg.connect(url) as connection:
        connection.execute("DELETE FROM known")
        connection.execute("INSERT INTO known (text) SELECT repeat('x', 1000) FROM generate_series(1, 500)")
        connection.execute("CREATE TABLE own AS SELECT 1 AS one")
        connection.commit()
        databases.take_back(url)
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")
    assert databases.lend() == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT id, text FROM known").fetchall() == [(1, "kept")]
        connection.execute("INSERT INTO known (text) VALUES ('next')")
        assert connection.execute("SELECT max(id), to_regclass('own') FROM known").fetchone() == (2, None)


@pytest.mark.parametrize(
    "change",
    ["ALTER TABLE known ADD other int", "CREATE INDEX ON known (text)", "GRANT SELECT ON known TO PUBLIC"],
)
def test_a_database_with_another_schema_is_lent_no_more(postgres_server: PostgresServer, change: LiteralString) -> None:
    template = postgres_server.create_database()
    with psycopg.connect(template) as connection:
        connection.execute("CREATE TABLE known (id int, text text)")
    databases = Databases(postgres_server, template)
    url = databases.lend()
    with psycopg.connect(url) as connection:
        connection.execute(change)
    databases.take_back(url)
    assert databases.lend() != url
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url)


def test_the_ordinary_server_sorts_text_by_language(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("SELECT t FROM (VALUES ('B'), ('a'), ('C')) AS v (t) ORDER BY t").fetchall()
    assert rows == [("a",), ("B",), ("C",)]


def test_the_durable_server_keeps_commits_over_a_kill_and_its_url() -> None:
    with PostgresServer(durable=True, settings={"max_connections": "20"}) as server:
        url = server.create_database()
        assert [_setting(url, name) for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3
        assert _setting(url, "max_connections") == "20"
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE mark AS SELECT 7 AS id")
        server.kill()
        assert server.pid is None
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url)
        server.start()
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT id FROM mark").fetchone() == (7,)
        directory = server.directory
    assert not directory.exists()


def test_pgbouncer_shares_sessions_between_transactions(pgbouncer: PgBouncer, postgres_url: str) -> None:
    url = pgbouncer.url_of(postgres_url)
    clients = [psycopg.connect(url, autocommit=True, prepare_threshold=None) for _ in range(8)]
    sessions = {client.execute("SELECT pg_backend_pid()").fetchone() for client in clients}
    for client in clients:
        client.close()
    assert len(sessions) <= 2


def test_a_server_that_cannot_start_says_why() -> None:
    server = PostgresServer(settings={"shared_buffers": "1kB"})
    with pytest.raises(processes.ServerFailed, match="shared_buffers"):
        server.start()
    server.close()


KEEPER = """
import sys
from tests.support.postgres import PostgresServer
server = PostgresServer()
server.start()
print(server.pid, server.directory, flush=True)
sys.stdin.read()
"""


def test_the_server_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with keeper, keeper.stdin, keeper.stdout:
        pid, directory = keeper.stdout.readline().split()
        handle = os.pidfd_open(int(pid))
        try:
            keeper.send_signal(signal.SIGKILL)
            ended, _, _ = select.select([handle], [], [], 30)
            assert ended == [handle]
        finally:
            os.close(handle)
            processes.remove_directory(Path(directory))
