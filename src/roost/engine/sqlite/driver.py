"""Named statements on an SQLite connection, one transaction at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import apsw

from roost.domain.feed import Fact
from roost.engine import catalogue
from roost.engine.driver import Answer, Here, Retry, Transaction
from roost.engine.searching.dialects import SQLITE, Dialect
from roost.errors import RoostError, StoreError, Unavailable

T = TypeVar("T")

RETRIES = 10
CLOSE_BUSY_MS = 200
MISFIT = "a page does not fit its checksum, so the disk spoilt it or a program without Roost's checksums wrote it"
WAYS_OUT = "if another SQLite program wrote to the file: roost db adopt --store {store}; else restore a backup"


class SqliteTransaction:
    """The statements of one transaction; see `roost.engine.driver.Transaction`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._statements = catalogue.load("roost.engine.sqlite")
        self.facts: list[Fact] = []

    def run(self, statement: str, **parameters: object) -> int:
        """Change rows; how many."""
        self._connection.execute(self._statements[statement], parameters)
        return self._connection.changes()

    def send(self, statement: str, **parameters: object) -> None:
        """Change rows."""
        self._connection.execute(self._statements[statement], parameters)

    def ask(self, statement: str, **parameters: object) -> Answer:
        """The only row."""
        return Here(self._row(statement, parameters))

    def one(self, statement: str, **parameters: object) -> Any:
        """The first column of the only row; None where there is no row."""
        row = self._connection.execute(self._statements[statement], parameters).fetchone()
        return row[0] if row else None

    def row(self, statement: str, **parameters: object) -> tuple[Any, ...]:
        """The only row."""
        return self._row(statement, parameters)

    def _row(self, statement: str, parameters: dict[str, object]) -> tuple[Any, ...]:
        row = self._connection.execute(self._statements[statement], parameters).fetchone()
        if row is None:
            raise StoreError(f"{statement} found no row")
        return tuple(row)

    def rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """All rows."""
        return list(self._connection.execute(self._statements[statement], parameters))

    def query(self, sql: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        """All rows of a composed statement."""
        return list(self._connection.execute(sql, parameters))

    @property
    def dialect(self) -> Dialect:
        """How composed statements are written."""
        return SQLITE

    def expect(self, count: int) -> None:
        """Nothing travels anywhere."""

    def allocate(self, count: int) -> list[int]:
        """Ids after the highest that ever was: the writer's lock keeps them ours."""
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'job'").fetchone()
        last: int = row[0] if row else 0
        return list(range(last + 1, last + 1 + count))


class SqliteDriver:
    """The writing side of a file; ``lock`` lets a memory database's reader share the connection."""

    def __init__(self, connection: apsw.Connection, lock: threading.RLock | None = None) -> None:
        self._connection = connection
        self._lock = lock or threading.RLock()
        self._transaction: Transaction = SqliteTransaction(connection)

    def transaction(self, work: Callable[[Transaction], T]) -> T:
        """``work`` in one transaction, on disk before this returns.

        Raises `Unavailable` where nothing was done, `StoreError` where the disk cannot be trusted any more.
        """
        with self._lock:
            for _ in range(RETRIES):
                try:
                    return self._attempt(work)
                except Retry:
                    continue
        raise Unavailable("the transaction met others too often", help="try again", retry_after=1.0)

    def _attempt(self, work: Callable[[Transaction], T]) -> T:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = work(self._transaction)
            connection.execute("COMMIT")
            return result
        except (Retry, RoostError):
            self._roll_back()
            raise
        except apsw.Error as error:
            self._roll_back()
            raise refusal(error) from error
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except apsw.Error as error:
                raise StoreError(f"the store cannot roll back: {error}") from error

    def close(self) -> None:
        """Close the connection, with an empty WAL where nobody else is at work; twice does no harm.

        What the WAL still holds, another SQLite program that looks at the file would write into it without checksums.
        """
        with self._lock:
            # Also where it was closed by another driver that shares it.
            with contextlib.suppress(apsw.Error):
                self._connection.set_busy_timeout(CLOSE_BUSY_MS)
                self._connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._connection.close()


def misfits(error: apsw.Error) -> bool:
    """Whether a page was read whose checksum does not fit."""
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA


def refusal(error: apsw.Error) -> RoostError:
    """What an SQLite error means to a caller."""
    if isinstance(error, (apsw.BusyError, apsw.LockedError)):
        return Unavailable("another process keeps the store busy", help="try again", retry_after=1.0)
    if isinstance(error, apsw.FullError):
        return Unavailable("the disk is full; nothing was stored", help="free some space", retry_after=5.0)
    if isinstance(error, apsw.ReadOnlyError):
        return Unavailable("the store's file or disk is read-only; nothing was stored", help="make it writable")
    if misfits(error):
        return StoreError(f"the store is damaged: {MISFIT}", help=WAYS_OUT.format(store="…"))
    return StoreError(
        f"the store failed: {error}", help="look at the disk and the system's log; then start Roost again"
    )
