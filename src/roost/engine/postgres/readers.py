"""The reading side's connections: each lent for one consistent view."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from roost.engine.postgres import statements
from roost.engine.postgres.address import Address
from roost.engine.postgres.connection import READING, Connection, adapt, command, lost, prepare, refusal
from roost.engine.searching.dialects import POSTGRES, Dialect
from roost.errors import Unavailable

READERS = 4
WAIT_SECONDS = 5.0


class PostgresSession:
    """See `roost.engine.session.Session`."""

    def __init__(self, connection: Connection) -> None:
        self._cursor: psycopg.Cursor[tuple[Any, ...]] = connection.cursor()
        self._statements = statements.reading()

    def one(self, statement: str, **parameters: object) -> Any:
        """The first column of the only row."""
        row = self._cursor.execute(self._statements[statement], parameters).fetchone()
        return row[0] if row else None

    def rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """All rows."""
        return self._cursor.execute(self._statements[statement], parameters).fetchall()

    def query(self, sql: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        """All rows of a composed statement."""
        return self._cursor.execute(statements.translate(sql), parameters).fetchall()

    @property
    def dialect(self) -> Dialect:
        """How composed statements are written."""
        return POSTGRES

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Each statement inside is cancelled after two seconds; raises `Unavailable`."""
        self._cursor.execute("SET LOCAL statement_timeout = '2s'")
        try:
            yield
        except psycopg.errors.QueryCanceled:
            raise Unavailable(
                "the search took too long", help="narrow it: a state, a tag, a time, an indexed path"
            ) from None


class Readers:
    """A few connections that cannot write; ``pooled`` as in `connection.Session`."""

    def __init__(self, address: Address, pooled: bool) -> None:
        self._pooled = pooled
        self._begin = b""
        self._pool = ConnectionPool(
            address.parameters,
            kwargs={"autocommit": True},
            min_size=1,
            max_size=READERS,
            timeout=WAIT_SECONDS,
            num_workers=1,
            configure=self._configure,
            name="roost-reader",
            open=True,
        )

    @contextmanager
    def session(self) -> Iterator[PostgresSession]:
        """One snapshot; raises `Unavailable` where the database does not answer."""
        connection = self._begun()
        try:
            yield PostgresSession(connection)
        except psycopg.Error as error:
            raise refusal(error) from error
        finally:
            try:
                if not lost(connection):
                    command(connection, b"ROLLBACK")
            except psycopg.Error:
                connection.close()
            self._pool.putconn(connection)

    def close(self) -> None:
        """Close them all; twice does no harm."""
        self._pool.close()

    def _configure(self, connection: Connection) -> None:
        adapt(connection)
        self._begin = b"; ".join(prepare(connection, READING, self._pooled, "REPEATABLE READ READ ONLY"))

    def _begun(self) -> Connection:
        # Every connection that lay idle while the server went away fails once.
        for _ in range(READERS + 1):
            try:
                connection = self._pool.getconn()
            except (PoolTimeout, PoolClosed) as error:
                raise Unavailable(
                    "the database gives no connection to read with", help="is it up?", retry_after=1.0
                ) from error
            try:
                command(connection, self._begin)
            except psycopg.Error:
                connection.close()
                self._pool.putconn(connection)
            else:
                return connection
        raise Unavailable("the database's connections are lost", help="is it up?", retry_after=1.0)
