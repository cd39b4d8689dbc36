"""Named statements on a PostgreSQL connection, one transaction at a time; a commit is never cancelled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg import errors

from roost.domain.feed import Fact
from roost.engine.driver import Retry, Transaction
from roost.engine.postgres import statements
from roost.engine.postgres.address import Address
from roost.engine.postgres.connection import Session, command, lost, open_writer, refusal
from roost.engine.searching.dialects import POSTGRES, Dialect
from roost.errors import OutcomeUnknown, RoostError, StoreError, Unavailable

T = TypeVar("T")

RETRIES = 10
LOSSES = 3
"""Connections one transaction may lose before it is given up."""
MET_ANOTHER = (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation)
_ids = msgspec.json.Decoder(list[int])


class PostgresTransaction:
    """The statements of one transaction; see `roost.engine.driver.Transaction`."""

    def __init__(self, cursor: psycopg.Cursor[tuple[Any, ...]]) -> None:
        self._cursor = cursor
        self._statements = statements.writing()
        self.facts: list[Fact] = []

    def run(self, statement: str, **parameters: object) -> int:
        """Change rows; how many."""
        self._cursor.execute(self._statements[statement], parameters)
        return self._cursor.rowcount

    def one(self, statement: str, **parameters: object) -> Any:
        """The first column of the only row; None where there is no row."""
        row = self._cursor.execute(self._statements[statement], parameters).fetchone()
        return row[0] if row else None

    def row(self, statement: str, **parameters: object) -> tuple[Any, ...]:
        """The only row."""
        row = self._cursor.execute(self._statements[statement], parameters).fetchone()
        if row is None:
            raise StoreError(f"{statement} found no row")
        return row

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

    def allocate(self, count: int) -> list[int]:
        """Ids from the sequence, ascending; other transactions' may lie between them."""
        row = self._cursor.execute(
            "SELECT '[' || string_agg(nextval('job_id')::text, ',') || ']' FROM generate_series(1, %(count)s)",
            {"count": count},
        ).fetchone()
        return _ids.decode(row[0]) if row else []


class PostgresDriver:
    """A writing side: one connection, made anew when it is lost. ``reconnected`` is told of each new one."""

    def __init__(self, address: Address, reconnected: Callable[[], None] = lambda: None) -> None:
        self._address = address
        self._reconnected = reconnected
        self._session: Session | None = None
        self._transaction: Transaction | None = None
        self._closed = False
        self._unreplicated = False
        self.doubtful = False
        """The last commit was answered without its standby; cleared by the next one that has it."""

    def transaction(self, work: Callable[[Transaction], T]) -> T:
        """``work`` in one transaction, committed before this returns.

        Raises `Unavailable` where nothing was done, `OutcomeUnknown` where the commit's fate is not known.
        """
        losses = 0
        for _ in range(RETRIES):
            session = self._connected()
            try:
                self._begin(session)
                assert self._transaction is not None  # noqa: S101 - made with the session
                result = work(self._transaction)
            except (Retry, *MET_ANOTHER):
                self._roll_back(session)
                continue
            except RoostError:
                self._roll_back(session)
                raise
            except psycopg.Error as error:
                if isinstance(error, errors.ReadOnlySqlTransaction):
                    # The server became a standby: the next connection finds the new primary.
                    self._drop()
                if not self._roll_back(session):
                    losses += 1
                    if losses < LOSSES:
                        continue
                raise refusal(error) from error
            except BaseException:
                self._drop()
                raise
            try:
                self._commit(session)
            except MET_ANOTHER:
                self._roll_back(session)
                continue
            return result
        raise Unavailable("the transaction met others too often", help="try again", retry_after=1.0)

    def close(self) -> None:
        """Close the connection; twice does no harm."""
        self._closed = True
        self._drop()

    def _connected(self) -> Session:
        if self._closed:
            raise Unavailable("the store is closed", help="open it again")
        if self._session is None:
            self._session = session = open_writer(self._address)
            session.connection.add_notice_handler(self._notice)
            self._transaction = PostgresTransaction(session.connection.cursor())
            self._reconnected()
        return self._session

    def _begin(self, session: Session) -> None:
        command(session.connection, session.begin)
        self._unreplicated = False
        if self.doubtful:
            # A commit that writes nothing waits for nobody: this one shall, so that it proves the standby is back.
            session.connection.execute("SELECT pg_logical_emit_message(true, 'roost', 'probe')")

    def _commit(self, session: Session) -> None:
        try:
            tag = command(session.connection, b"COMMIT")
        except psycopg.Error as error:
            if lost(session.connection):
                self._drop()
                raise OutcomeUnknown(
                    "the connection was lost while the transaction was committed",
                    help="repeat the call with the same operation id",
                    retry_after=1.0,
                ) from error
            if isinstance(error, MET_ANOTHER):
                raise
            self._roll_back(session)
            raise refusal(error) from error
        if self._unreplicated:
            self.doubtful = True
            raise OutcomeUnknown(
                "the commit was answered before a standby had it",
                help="repeat the call with the same operation id; look at the database's standbys",
                retry_after=1.0,
            )
        if tag != b"COMMIT":
            raise StoreError(f"the commit was answered with {tag.decode()}", help="look at the database's log")
        self.doubtful = False

    def _notice(self, notice: errors.Diagnostic) -> None:
        # Nothing but a wait for the standby that was given up warns with this code in our transactions; its text is
        # in the server's language.
        if notice.sqlstate == "01000" and notice.severity_nonlocalized == "WARNING":
            self._unreplicated = True

    def _roll_back(self, session: Session) -> bool:
        """Undo the transaction; False where the connection is gone (and with it the transaction)."""
        if self._session is session and not lost(session.connection):
            try:
                command(session.connection, b"ROLLBACK")
            except psycopg.Error:
                self._drop()
                return False
            return True
        self._drop()
        return False

    def _drop(self) -> None:
        if self._session is not None:
            self._session.connection.close()
            self._session = None
            self._transaction = None
