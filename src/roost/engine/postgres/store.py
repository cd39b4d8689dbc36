"""A PostgreSQL database as a store: migrated, with its writing and reading sides, its clock and its signals."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from roost.engine.postgres import durability, schema
from roost.engine.postgres.address import Address
from roost.engine.postgres.clock import DatabaseClock
from roost.engine.postgres.connection import check_server, connect, refusal
from roost.engine.postgres.driver import PostgresDriver
from roost.engine.postgres.listen import PostgresSignals
from roost.engine.postgres.readers import Readers
from roost.engine.protocol import Engine
from roost.engine.reader import SqlReader
from roost.engine.reading import Reader
from roost.engine.sqlengine import SqlEngine
from roost.engine.store import Role, Signals, StoreInfo

CONCURRENCY = 4


class PostgresStore:
    """See `roost.engine.store.Store`."""

    concurrency = CONCURRENCY

    def __init__(self, address: Address, rng: Callable[[], float]) -> None:
        self._address = address
        self._rng = rng
        connection = connect(address)
        try:
            version = check_server(connection)
            schema.upgrade(connection)
            row = connection.execute("SELECT pg_backend_pid(), gen_random_uuid()::text").fetchone()
            pid, node = row or (0, "")
            pooled = pid != connection.pgconn.backend_pid
            self.info = StoreInfo(
                engine="postgresql",
                version=version,
                durability=durability.describe(connection),
                location=address.location,
            )
        except psycopg.Error as error:
            raise refusal(error) from error
        finally:
            connection.close()
        self._readers = Readers(address, pooled)
        try:
            self._clock = DatabaseClock(self._readers)
        except BaseException:
            self._readers.close()
            raise
        self.reader: Reader = SqlReader(self._readers.session, self._readers.close)
        self.signals: Signals = PostgresSignals(address, str(node), pooled)
        self.spec = f"postgresql|{address.url}"

    @classmethod
    def open(cls, url: str, role: Role, *, rng: Callable[[], float]) -> PostgresStore:
        """Open ``postgresql://…`` for any number of nodes, whatever their ``role``; see `open_store`."""
        return cls(Address.parse(url), rng)

    def engine(self) -> Engine:
        """A writing side, which connects when it is first used."""
        return SqlEngine(PostgresDriver(self._address, self._clock.expire), self._rng)

    def now_offset(self) -> int:
        """Milliseconds from this machine's clock to the database's."""
        return self._clock.offset()

    def publish_url(self, url: str) -> None:
        """Nobody is kept out of a database, so nobody needs to be told where its server is."""

    def close(self) -> None:
        """Close every connection; twice does no harm."""
        self.signals.stop()
        self.reader.close()


def engine_from_spec(text: str, *, rng: Callable[[], float]) -> Engine:
    """A writing side of a database that another process of ours opened first."""
    return SqlEngine(PostgresDriver(Address.parse(text)), rng)
