"""What a caller is told when the database goes away, and that a commit is answered only when it stands."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from roost.engine.driver import Transaction
from roost.engine.migrate import load
from roost.engine.postgres.address import Address
from roost.engine.postgres.driver import PostgresDriver
from roost.engine.postgres.store import PostgresStore, engine_from_spec
from roost.engine.sqlengine import SqlEngine
from roost.engine.work.texts import pack
from roost.errors import (
    ConfigurationError,
    InvalidRequest,
    OutcomeUnknown,
    StoreError,
    StoreTooNew,
    StoreUnsupported,
    Unavailable,
)
from roost.wire.jobs import ListJobs
from tests.engine.postgres_calls import NOW, enqueue, row
from tests.support.postgres import PostgresServer

KILL = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid = %s"


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    store = PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)
    yield store
    store.close()


def count(store: PostgresStore) -> int:
    return len(store.reader.jobs(ListJobs(limit=100)).jobs)


def put(transaction: Transaction) -> int:
    """One job, by the statements the engine uses."""
    (id,) = transaction.allocate(1)
    shape = ("default", "noop", "ready", None, 5, 0, None, None, None)
    transaction.run("job_insert", shapes=pack([shape]), places=pack({id: 0}), now=NOW)
    transaction.run("input_insert", inputs=pack({id: "{}"}))
    return id


def test_a_connection_killed_before_the_commit_is_replaced(store: PostgresStore, postgres_url: str) -> None:
    driver = PostgresDriver(Address.parse(postgres_url))
    killed = 0

    def work(transaction: Transaction) -> int:
        nonlocal killed
        id = put(transaction)
        if not killed:
            killed = driver._writer.session.connection.info.backend_pid  # type: ignore[union-attr]
            with psycopg.connect(postgres_url, autocommit=True) as other:
                other.execute(KILL, (killed,))
            put(transaction)
        return id

    driver.transaction(work)
    assert killed
    assert count(store) == 1
    driver.close()


def test_a_connection_that_is_always_killed_leaves_nothing(store: PostgresStore, postgres_url: str) -> None:
    driver = PostgresDriver(Address.parse(postgres_url))

    def work(transaction: Transaction) -> int:
        put(transaction)
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute(KILL, (driver._writer.session.connection.info.backend_pid,))  # type: ignore[union-attr]
        return put(transaction)

    with pytest.raises(Unavailable):
        driver.transaction(work)
    assert count(store) == 0
    driver.close()


def test_a_connection_killed_at_the_commit_leaves_the_outcome_unknown(store: PostgresStore, postgres_url: str) -> None:
    driver = PostgresDriver(Address.parse(postgres_url))

    def work(transaction: Transaction) -> None:
        put(transaction)
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute(KILL, (driver._writer.session.connection.info.backend_pid,))  # type: ignore[union-attr]

    with pytest.raises(OutcomeUnknown):
        driver.transaction(work)
    driver.transaction(put)
    assert count(store) == 1
    driver.close()


def test_an_interrupt_undoes_the_transaction(store: PostgresStore, postgres_url: str) -> None:
    driver = PostgresDriver(Address.parse(postgres_url))

    def work(transaction: Transaction) -> None:
        put(transaction)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        driver.transaction(work)
    driver.transaction(put)
    assert count(store) == 1
    driver.close()


def test_a_value_the_database_refuses_is_the_callers_fault(store: PostgresStore) -> None:
    engine = store.engine()
    with pytest.raises(InvalidRequest):
        enqueue(engine, row(1, kind="a\0b"))
    assert enqueue(engine, row(1))[0].id > 0
    engine.close()


def test_a_cancelled_wait_for_a_standby_is_no_success() -> None:
    settings = {"wal_level": "replica", "max_wal_senders": "2", "synchronous_commit": "on"}
    with PostgresServer(settings=settings) as server:
        url = server.create_database()
        store = PostgresStore.open(url, "server", rng=lambda: 0.5)
        engine = store.engine()
        assert isinstance(engine, SqlEngine)
        enqueue(engine, row(1))
        with psycopg.connect(url, autocommit=True) as admin:
            standbys(admin, "absent")
            until_commits_wait(admin, url)
            # two cancels: the second proves that the driver waits again, though its transaction changes nothing else
            for work in (lambda: enqueue(engine, row(2)), lambda: engine._driver.transaction(lambda _: None)):
                assert isinstance(cancelled_commit(admin, work), OutcomeUnknown)
            assert engine._driver.doubtful  # type: ignore[attr-defined]
            standbys(admin, "")
        enqueue(engine, row(3))
        assert not engine._driver.doubtful  # type: ignore[attr-defined]
        # the row is there, as finding 4 says: only the answer is not given
        assert count(store) == 3
        engine.close()
        store.close()


def standbys(admin: psycopg.Connection[tuple[object, ...]], names: str) -> None:
    """Name the standbys every commit waits for, and return when each session knows."""
    admin.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    admin.execute("SELECT pg_reload_conf()")
    until(admin, f"SELECT current_setting('synchronous_standby_names') = '{names}'")


def until_commits_wait(admin: psycopg.Connection[tuple[object, ...]], url: str) -> None:
    """Return when commits do wait: the server's checkpointer takes the new setting over in its own time."""
    waits = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    for _ in range(1000):
        probe = threading.Thread(target=_commit_something, args=(url,))
        probe.start()
        waited = False
        while probe.is_alive():
            waited = bool(admin.execute(waits).fetchall()) or waited
        if waited:
            return
    raise AssertionError("no commit waited for the standby")


def _commit_something(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_logical_emit_message(true, 'probe', '')")


def until(admin: psycopg.Connection[tuple[object, ...]], condition: str) -> None:
    for _ in range(2000):
        if (admin.execute(condition).fetchone() or (False,))[0]:
            return
        admin.execute("SELECT pg_sleep(0.005)")
    raise AssertionError(condition)


def cancelled_commit(admin: psycopg.Connection[tuple[object, ...]], work: object) -> BaseException | None:
    """Run ``work``, cancel its commit while it waits for the standby; what it raised."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    until(admin, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    admin.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    thread.join()
    return raised[0] if raised else None


def test_a_server_that_restarts_is_found_again() -> None:
    with PostgresServer() as server:
        store = PostgresStore.open(server.create_database(), "server", rng=lambda: 0.5)
        engine = store.engine()
        enqueue(engine, row(1))
        store.reader.ping()
        server.stop()
        with pytest.raises(Unavailable):
            enqueue(engine, row(2))
        server.start()
        enqueue(engine, row(3))
        assert count(store) == 2
        engine.close()
        store.close()


def test_a_newer_schema_is_refused(store: PostgresStore, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as other:
        other.execute("INSERT INTO roost_migration VALUES (9999, 'future', 'x')")
    with pytest.raises(StoreTooNew):
        PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)


def test_a_changed_history_is_refused(store: PostgresStore, postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as other:
        other.execute("UPDATE roost_migration SET checksum = 'x'")
    with pytest.raises(StoreError, match="another text"):
        PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)


def test_another_encoding_is_refused(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as admin:
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        admin.execute("ALTER DATABASE latin SET client_encoding = 'LATIN1'")
    try:
        with pytest.raises(StoreUnsupported, match="LATIN1"):
            PostgresStore.open(postgres_server.url_of("latin"), "server", rng=lambda: 0.5)
    finally:
        postgres_server.drop_database(postgres_server.url_of("latin"))


def test_nodes_that_open_an_empty_database_together_migrate_it_once(postgres_url: str) -> None:
    errors: list[BaseException] = []

    def open_one() -> None:
        try:
            PostgresStore.open(postgres_url, "server", rng=lambda: 0.5).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    with psycopg.connect(postgres_url) as other:
        assert other.execute("SELECT count(*) FROM roost_migration").fetchone() == (len(load("roost.engine.postgres")),)


def test_no_password_is_told(postgres_url: str) -> None:
    url = postgres_url.replace("roost@", "roost:s3cret@")
    store = PostgresStore.open(url, "server", rng=lambda: 0.5)
    assert "s3cret" not in repr(store.info)
    assert store.info.location.startswith("roost@127.0.0.1:")
    engine = engine_from_spec(store.spec.partition("|")[2], rng=lambda: 0.5)
    assert enqueue(engine, row(1))[0].id > 0
    engine.close()
    store.close()
    with pytest.raises(ConfigurationError) as refused:
        PostgresStore.open("postgresql://roost:s3cret@host:port:1/x?no=1", "server", rng=lambda: 0.5)
    assert "s3cret" not in str(refused.value)
    with pytest.raises(Unavailable) as lost:
        PostgresStore.open("postgresql://roost:s3cret@127.0.0.1:1/x", "server", rng=lambda: 0.5)
    assert "s3cret" not in str(lost.value)


def test_durability_is_told_as_it_is(store: PostgresStore) -> None:
    assert "power loss: may lose (fsync=off, full_page_writes=off)" in store.info.durability
    assert "failover: may lose" in store.info.durability
    assert abs(store.now_offset()) < 1000
