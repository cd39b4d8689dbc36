"""A relay's own way into a user's database: transactions of its own, and a wait for the next commit."""

from __future__ import annotations

import contextlib
import select
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from roost.engine.opening import require_postgres_driver
from roost.errors import ConfigurationError, NotFound, StoreError, Unavailable
from roost.outboxes.links import Link, PsycopgLink, SqliteLink
from roost.outboxes.table import CHANNEL

if TYPE_CHECKING:
    import psycopg

LOOK_SECONDS = 0.03
"""How often an SQLite file is looked at for commits of others: a look costs microseconds and touches no disk."""
BUSY_SECONDS = 10.0


class Place(Protocol):
    """A database with an outbox in it."""

    def transaction(self) -> contextlib.AbstractContextManager[Link]:
        """A transaction that is committed at the block's end; raises `Unavailable` where the database is away."""
        ...

    def wait(self, seconds: float) -> None:
        """Return when something may have been committed, when `wake` was called, or after ``seconds``."""
        ...

    def wake(self) -> None:
        """End a wait from another thread."""
        ...

    def close(self) -> None:
        """Give the connections back; twice does no harm."""
        ...


def open_place(database: str) -> Place:
    """The database at ``postgresql://…`` or ``sqlite:///file``; raises `ConfigurationError` and `NotFound`.

    SQLAlchemy's spellings (``postgresql+psycopg://``, ``sqlite+aiosqlite:///``) are understood.
    """
    scheme, _, rest = database.partition("://")
    kind = scheme.partition("+")[0]
    if kind == "sqlite" and rest.startswith("/"):
        return SqlitePlace(Path(unquote(rest[1:])))
    if kind in ("postgresql", "postgres"):
        return postgres(f"postgresql://{rest}")
    raise ConfigurationError(
        f"{scheme[:40]!r} is no database with an outbox", path="database", help="postgresql://… or sqlite:///file"
    )


class SqlitePlace:
    """An SQLite file, by Python's own library: another one in this process could break the user's locks on it."""

    def __init__(self, file: Path) -> None:
        """Raises `NotFound` where there is no such file."""
        if not file.is_file():
            raise NotFound(f"there is no database {file}", path="database", help="is this the right folder?")
        self._connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._seen: int | None = None
        self._waker, self._wake = socket.socketpair()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Link]:
        """See `Place`."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield SqliteLink(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the outbox's database cannot: {error}", help="try again", retry_after=1.0) from error
        except sqlite3.Error as error:
            raise StoreError(f"the outbox's database failed: {error}", help="look at the file") from error

    def wait(self, seconds: float) -> None:
        """See `Place`."""
        until = time.monotonic() + seconds
        while True:
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if version != self._seen:
                self._seen = version
                return
            left = until - time.monotonic()
            if left <= 0 or select.select([self._waker], [], [], min(left, LOOK_SECONDS))[0]:
                return

    def wake(self) -> None:
        """See `Place`."""
        _send(self._wake)

    def close(self) -> None:
        """See `Place`."""
        self._connection.close()
        self._wake.close()
        self._waker.close()


def postgres(conninfo: str = "", **parameters: Any) -> PostgresPlace:
    """A PostgreSQL database by what libpq takes."""
    require_postgres_driver()
    import psycopg

    def connect() -> psycopg.Connection[Any]:
        # What is prepared belongs to a server's session, and a pooler may give each transaction another one.
        return psycopg.connect(conninfo, **{**parameters, "autocommit": True, "prepare_threshold": None})

    return PostgresPlace(connect)


class PostgresPlace:
    """A PostgreSQL database: one connection to work on, one that listens; each made anew when it is lost."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._working: psycopg.Connection[Any] | None = None
        self._listening: psycopg.Connection[Any] | None = None
        self._waker, self._wake = socket.socketpair()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Link]:
        """See `Place`."""
        import psycopg

        try:
            if self._working is None or self._working.closed:
                self._working = self._connect()
            with self._working.transaction():
                yield PsycopgLink(self._working)
        except psycopg.OperationalError as error:
            self._working = _gone(self._working)
            raise Unavailable(f"the outbox's database does not answer: {_told(error)}", retry_after=1.0) from error
        except psycopg.Error as error:
            self._working = _gone(self._working)
            help = "look at the account's rights" if error.sqlstate == "42501" else "look at the database's log"
            raise StoreError(f"the outbox's database failed: {_told(error)}", help=help) from error

    def wait(self, seconds: float) -> None:
        """See `Place`; what was committed before a first wait, or while the connection was lost, ends the wait too."""
        import psycopg

        try:
            if self._listening is None or self._listening.closed:
                self._listening = self._connect()
                self._listening.execute(f"LISTEN {CHANNEL}".encode())
                return
            lines = self._listening.pgconn
            if select.select([lines.socket, self._waker.fileno()], [], [], seconds)[0]:
                lines.consume_input()
                while lines.notifies() is not None:
                    pass
        except psycopg.Error as error:
            self._listening = _gone(self._listening)
            raise Unavailable(f"the outbox's database does not answer: {_told(error)}", retry_after=1.0) from error

    def wake(self) -> None:
        """See `Place`."""
        _send(self._wake)

    def close(self) -> None:
        """See `Place`."""
        self._working = _gone(self._working)
        self._listening = _gone(self._listening)
        self._wake.close()
        self._waker.close()


def _told(error: psycopg.Error) -> str:
    """What went wrong, without the statement."""
    return error.diag.message_primary or str(error).strip()


def _gone(connection: psycopg.Connection[Any] | None) -> psycopg.Connection[Any] | None:
    if connection is not None:
        connection.close()
    return None


def _send(wake: socket.socket) -> None:
    # Closed: there is nobody left to wake.
    with contextlib.suppress(OSError):
        wake.send(b"x")
