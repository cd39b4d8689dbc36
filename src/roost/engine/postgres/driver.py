"""Named statements on a PostgreSQL connection, one transaction at a time; a commit is never cancelled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

import msgspec
import psycopg
from psycopg import errors

from roost.domain.feed import Fact
from roost.engine.driver import Answer, Retry, Transaction
from roost.engine.postgres import statements
from roost.engine.postgres.address import Address
from roost.engine.postgres.connection import Session, open_writer, refusal
from roost.engine.postgres.pipeline import Pipeline, Reply
from roost.engine.searching.dialects import POSTGRES, Dialect
from roost.errors import OutcomeUnknown, RoostError, StoreError, Unavailable

T = TypeVar("T")

RETRIES = 10
LOSSES = 3
"""Connections one transaction may lose before it is given up."""
MET_ANOTHER = (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation)
_ALLOCATE = statements.numbered(
    "SELECT '[' || string_agg(nextval('job_id')::text, ',') || ']' FROM generate_series(1, :count)"
)
_PROBE = b"SELECT pg_logical_emit_message(true, 'roost', 'probe')"
_ids = msgspec.json.Decoder(list[int])


class _Answer:
    """See `roost.engine.driver.Answer`."""

    def __init__(self, pipeline: Pipeline, reply: Reply, statement: str) -> None:
        self._pipeline = pipeline
        self._reply = reply
        self._statement = statement

    def row(self) -> tuple[Any, ...]:
        """The only row."""
        if self._reply.result is None:
            self._pipeline.wait()
        rows = self._pipeline.rows(self._reply)
        if not rows:
            raise StoreError(f"{self._statement} found no row")
        return rows[0]


class PostgresTransaction:
    """The statements of one transaction; see `roost.engine.driver.Transaction`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._statements = statements.writing()
        self._expected: Reply | None = None
        self._ids: list[int] = []
        self.facts: list[Fact] = []

    def run(self, statement: str, **parameters: object) -> int:
        """Change rows; how many."""
        reply = self._send(statement, parameters)
        self._pipeline.wait()
        return reply.count

    def send(self, statement: str, **parameters: object) -> None:
        """Change rows; it is waited for with the next statement, or with the commit."""
        self._send(statement, parameters)

    def ask(self, statement: str, **parameters: object) -> Answer:
        """The only row; it is waited for when somebody looks, or with the commit."""
        return _Answer(self._pipeline, self._send(statement, parameters), statement)

    def one(self, statement: str, **parameters: object) -> Any:
        """The first column of the only row; None where there is no row."""
        rows = self._now(self._send(statement, parameters))
        return rows[0][0] if rows else None

    def row(self, statement: str, **parameters: object) -> tuple[Any, ...]:
        """The only row."""
        return _Answer(self._pipeline, self._send(statement, parameters), statement).row()

    def rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """All rows."""
        return self._now(self._send(statement, parameters))

    def query(self, sql: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        """All rows of a composed statement."""
        return self._now(self._pipeline.send(statements.numbered(sql), parameters, composed=True))

    @property
    def dialect(self) -> Dialect:
        """How composed statements are written."""
        return POSTGRES

    def expect(self, count: int) -> None:
        """Draw ids with the next statement. Those that are not allocated after all are nobody's."""
        if count:
            self._expected = self._pipeline.send(_ALLOCATE, {"count": count})

    def allocate(self, count: int) -> list[int]:
        """Ids from the sequence, ascending; other transactions' may lie between them."""
        if self._expected is not None:
            if self._expected.result is None:
                self._pipeline.wait()
            self._ids += self._drawn(self._pipeline.rows(self._expected))
            self._expected = None
        if len(self._ids) < count:
            reply = self._pipeline.send(_ALLOCATE, {"count": count - len(self._ids)})
            self._ids += self._drawn(self._now(reply))
        ids, self._ids = self._ids[:count], self._ids[count:]
        return ids

    def forget_ids(self) -> None:
        """A new transaction draws its own."""
        self._expected = None
        self._ids = []

    def _send(self, statement: str, parameters: dict[str, object]) -> Reply:
        return self._pipeline.send(self._statements[statement], parameters)

    def _now(self, reply: Reply) -> list[tuple[Any, ...]]:
        self._pipeline.wait()
        return self._pipeline.rows(reply)

    def _drawn(self, rows: list[tuple[Any, ...]]) -> list[int]:
        return _ids.decode(rows[0][0])


class _Writer(NamedTuple):
    """A connection with what is made of it."""

    session: Session
    pipeline: Pipeline
    transaction: PostgresTransaction


class PostgresDriver:
    """A writing side: one connection, made anew when it is lost. ``reconnected`` is told of each new one."""

    def __init__(self, address: Address, reconnected: Callable[[], None] = lambda: None) -> None:
        self._address = address
        self._reconnected = reconnected
        self._writer: _Writer | None = None
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
            writer = self._connected()
            try:
                self._begin(writer)
                result = work(writer.transaction)
                self._commit(writer)
            except (Retry, *MET_ANOTHER):
                self._roll_back(writer)
            except OutcomeUnknown:
                raise
            except RoostError:
                self._roll_back(writer)
                raise
            except psycopg.Error as error:
                if isinstance(error, errors.ReadOnlySqlTransaction):
                    # The server became a standby: the next connection finds the new primary.
                    self._drop()
                if not self._roll_back(writer):
                    losses += 1
                    if losses < LOSSES:
                        continue
                raise refusal(error) from error
            except BaseException:
                # The connection is closed, never cancelled: a cancelled COMMIT is reported as done.
                self._drop()
                raise
            else:
                return result
        raise Unavailable("the transaction met others too often", help="try again", retry_after=1.0)

    def close(self) -> None:
        """Close the connection; twice does no harm."""
        self._closed = True
        self._drop()

    def _connected(self) -> _Writer:
        if self._closed:
            raise Unavailable("the store is closed", help="open it again")
        if self._writer is None:
            session = open_writer(self._address)
            session.connection.add_notice_handler(self._notice)
            pipeline = Pipeline(session.connection, prepare=not session.pooled)
            self._writer = _Writer(session, pipeline, PostgresTransaction(pipeline))
            self._reconnected()
        return self._writer

    def _begin(self, writer: _Writer) -> None:
        """What begins the transaction travels with its first statement."""
        self._unreplicated = False
        writer.transaction.forget_ids()
        for command in writer.session.begin:
            writer.pipeline.command(command)
        if self.doubtful:
            # A commit that writes nothing waits for nobody: this one shall, so that it proves the standby is back.
            writer.pipeline.command(_PROBE)

    def _commit(self, writer: _Writer) -> None:
        """COMMIT, with all that was not waited for; where any of that fails, the server does not come to the COMMIT.

        Raises `OutcomeUnknown`, or what failed: then the transaction is still to be rolled back.
        """
        try:
            reply = writer.pipeline.commit()
        except psycopg.Error as error:
            if writer.pipeline.lost:
                self._drop()
                raise OutcomeUnknown(
                    "the connection was lost while the transaction was committed",
                    help="repeat the call with the same operation id",
                    retry_after=1.0,
                ) from error
            raise
        if self._unreplicated:
            self.doubtful = True
            raise OutcomeUnknown(
                "the commit was answered before a standby had it",
                help="repeat the call with the same operation id; look at the database's standbys",
                retry_after=1.0,
            )
        if reply.tag != b"COMMIT":
            raise StoreError(f"the commit was answered with {reply.tag.decode()}", help="look at the database's log")
        self.doubtful = False

    def _notice(self, notice: errors.Diagnostic) -> None:
        # Nothing but a wait for the standby that was given up warns with this code in our transactions; its text is
        # in the server's language.
        if notice.sqlstate == "01000" and notice.severity_nonlocalized == "WARNING":
            self._unreplicated = True

    def _roll_back(self, writer: _Writer) -> bool:
        """Undo the transaction; False where the connection is gone (and with it the transaction)."""
        pipeline = writer.pipeline
        if self._writer is not writer or pipeline.lost:
            self._drop()
            return False
        try:
            if pipeline.unanswered:
                # If any of that failed, the server would pass over a ROLLBACK behind it.
                with suppress(psycopg.Error):
                    pipeline.wait()
            pipeline.command(b"ROLLBACK")
            pipeline.wait()
        except psycopg.Error:
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.session.connection.close()
            self._writer = None
