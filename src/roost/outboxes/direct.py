"""Jobs stored beside the user's own rows: the engine's statements, over the user's connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

import msgspec

from roost.domain.feed import Fact
from roost.domain.records import JobRow, QueueRules
from roost.engine import catalogue
from roost.engine.batch import Batch, Effects, EnqueuedRow, EnqueueWork
from roost.engine.driver import Answer, Here, Retry, Transaction
from roost.engine.opening import require_postgres_driver
from roost.engine.searching.dialects import POSTGRES, Dialect
from roost.engine.sqlengine import SqlEngine
from roost.engine.work import feed, limiting
from roost.errors import ConfigurationError, StoreError, Unavailable
from roost.outboxes.links import RELEASE, ROLL_BACK, Link, set_savepoint, sqlstate
from roost.service.admitting import admit
from roost.service.ids import system_rng
from roost.service.rules import Rules
from roost.wire.jobs import NewJob
from roost.wire.problems import Problem

T = TypeVar("T")

RETRIES = 10
AGAIN = ("23505", "40P01")
"""Another transaction was met: a unique violation, a deadlock."""
# The server's start tells a database from its copies, which have the same system identifier.
_IDENTITY = """SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' || oid::text || '/' ||
  (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint::text
  FROM pg_database WHERE datname = current_database()"""
_ALLOCATE = "SELECT '[' || string_agg(nextval('job_id')::text, ',') || ']' FROM generate_series(1, :count)"
_NOW = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_rules = msgspec.json.Decoder(QueueRules)


class BorrowedTransaction:
    """The engine's named statements over somebody's connection; `roost.engine.driver.Transaction`."""

    def __init__(self, link: Link) -> None:
        self.facts: list[Fact] = []
        self._link = link
        self._statements = catalogue.load("roost.engine.postgres")

    def run(self, statement: str, **parameters: object) -> int:
        """Change rows; how many."""
        return self._link.run(self._statements[statement], parameters)

    def send(self, statement: str, **parameters: object) -> None:
        """Change rows."""
        self.run(statement, **parameters)

    def ask(self, statement: str, **parameters: object) -> Answer:
        """The only row."""
        return Here(self.row(statement, **parameters))

    def one(self, statement: str, **parameters: object) -> Any:
        """The first column of the only row; None where there is no row."""
        rows = self._link.rows(self._statements[statement], parameters)
        return rows[0][0] if rows else None

    def row(self, statement: str, **parameters: object) -> tuple[Any, ...]:
        """The only row."""
        rows = self._link.rows(self._statements[statement], parameters)
        if not rows:
            raise StoreError(f"{statement} found no row")
        return rows[0]

    def rows(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        """All rows."""
        return self._link.rows(self._statements[statement], parameters)

    def query(self, sql: str, parameters: dict[str, object]) -> list[tuple[Any, ...]]:
        """All rows of a statement that has no name."""
        return self._link.rows(sql, parameters)

    @property
    def dialect(self) -> Dialect:
        """PostgreSQL's."""
        return POSTGRES

    def expect(self, count: int) -> None:
        """The owner's driver sends one statement at a time."""

    def allocate(self, count: int) -> list[int]:
        """Ids from the sequence, ascending; other transactions' may lie between them."""
        ((text,),) = self._link.rows(_ALLOCATE, {"count": count})
        return msgspec.json.decode(text, type=list[int])


class BorrowedDriver:
    """Savepoints in the transaction somebody else began, and will end; `roost.engine.driver.Driver`.

    Roost's tables are found by Roost's own search path; the user's is back when the work is done.
    """

    def __init__(self, link: Link, path: str) -> None:
        self._link = link
        self._path = path

    def transaction(self, work: Callable[[Transaction], T]) -> T:
        """``work`` in a savepoint, repeated where it met another transaction; raises `Unavailable` after many times."""
        link = self._link
        for _ in range(RETRIES):
            set_savepoint(link)
            try:
                result = self._on_path(work)
            except Exception as error:
                if not isinstance(error, Retry) and sqlstate(error) not in AGAIN:
                    link.run(ROLL_BACK, {})
                    link.run(RELEASE, {})
                    raise
                link.run(ROLL_BACK, {})
                link.run(RELEASE, {})
                continue
            link.run(RELEASE, {})
            return result
        raise Unavailable("the transaction met others too often", help="begin it again", retry_after=1.0)

    def close(self) -> None:
        """The connection is its owner's."""

    def _on_path(self, work: Callable[[Transaction], T]) -> T:
        ((theirs,),) = self._link.rows("SELECT current_setting('search_path')", {})
        self._move(self._path)
        # Raised out of here, the savepoint that is rolled back brings their path back.
        result = work(BorrowedTransaction(self._link))
        self._move(theirs)
        return result

    def _move(self, path: str) -> None:
        self._link.rows("SELECT set_config('search_path', :path, true)", {"path": path})


class Home(msgspec.Struct, frozen=True):
    """A PostgreSQL database that is a Roost store."""

    url: str
    identity: str
    path: str
    """The schemas its tables are found in."""


class Homes:
    """Which databases are which stores; each is asked once, and again when its server was started anew."""

    _known: ClassVar[dict[tuple[str, str], Home | None]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def of(cls, url: str, link: Link) -> Home | None:
        """The store at ``url`` where ``link`` is a connection to its database, else None."""
        if link.dialect != "postgresql" or not url.startswith(("postgresql://", "postgres://")):
            return None
        ((here,),) = link.rows(_IDENTITY, {})
        with cls._lock:
            if (url, here) not in cls._known:
                try:
                    home = _ask(url)
                except Unavailable:
                    # The link's database answers, so it is another one: the job waits there until this one is back.
                    return None
                cls._known[url, here] = home if home.identity == here else None
            return cls._known[url, here]


def _ask(url: str) -> Home:
    # The user's own connection may be another driver's.
    require_postgres_driver()
    from roost.engine.postgres import schema
    from roost.engine.postgres.address import Address
    from roost.engine.postgres.connection import connect

    connection = connect(Address.parse(url))
    try:
        schema.upgrade(connection)
        ((identity, path),) = connection.execute(
            f"SELECT ({_IDENTITY}), current_setting('search_path')".encode()
        ).fetchall()
    finally:
        connection.close()
    return Home(url, str(identity), str(path))


def enqueue(link: Link, home: Home, jobs: list[NewJob]) -> list[EnqueuedRow]:
    """Store jobs in the link's transaction, as an ordinary enqueue stores them; the servers hear of it by the commit.

    All are stored, or the refusal of one is raised and none is: what admission refuses with the job's index in the
    path, and `UniqueConflict`. Raises `ConfigurationError` where the connection may not write Roost's tables.
    """
    driver = BorrowedDriver(link, home.path)
    ((now,),) = link.rows(_NOW, {})
    try:
        return driver.transaction(lambda transaction: _enqueue(link, home, transaction, jobs, now))
    except Exception as error:
        if sqlstate(error) == "42501":
            raise ConfigurationError(
                "the connection's user may not write the tables of Roost, which are in the same database",
                help="grant it SELECT, INSERT, UPDATE and DELETE on them and USAGE on the sequences",
            ) from error
        raise


class _Nested:
    """A driver for work that is in a transaction already."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    def transaction(self, work: Callable[[Transaction], T]) -> T:
        return work(self._transaction)

    def close(self) -> None:
        """The transaction is its owner's."""


def _say_limits(home: Home, transaction: Transaction, rows: list[JobRow], now: int) -> None:
    """Say what the jobs' limits allow in a transaction of Roost's own, where that is news.

    It is decided behind a lock that every claim under a limit takes: none shall wait for the user's commit. Where it
    cannot be done so, the user's transaction does it.
    """
    said = limiting.said_by(row.limits for row in rows if row.limits)
    if not said or not limiting.news(said, limiting.known_numbers(transaction, said)):
        return
    from roost.engine.postgres.address import Address
    from roost.engine.postgres.driver import PostgresDriver

    def work(own: Transaction) -> None:
        effects = Effects()
        limiting.put_numbers(own, said, now, effects)
        effects.fed = feed.write(own, now)
        own.query("SELECT pg_notify(:channel, :hint)", _hint(effects))

    driver = PostgresDriver(Address.parse(home.url))
    try:
        driver.transaction(work)
    except Unavailable:
        return
    finally:
        driver.close()


def _hint(effects: Effects) -> dict[str, object]:
    from roost.engine.postgres.listen import CHANNEL, Hint, encode

    return {"channel": CHANNEL, "hint": encode(Hint("outbox", effects))}


def _enqueue(link: Link, home: Home, transaction: Transaction, jobs: list[NewJob], now: int) -> list[EnqueuedRow]:
    rules = Rules()
    queues = {name: _rules.decode(text) for name, _, _, text in transaction.rows("queue_rows") if text}
    rules.replace(queues, {row[0]: row[1] for row in transaction.rows("kind_rows")}, 0.0)
    rows = []
    for index, job in enumerate(jobs):
        path = "" if len(jobs) == 1 else f"jobs[{index}]."
        rows.append(admit(job, rules, lambda: now, path))
    _say_limits(home, transaction, rows, now)
    applied = SqlEngine(_Nested(transaction), system_rng).apply(Batch(now, [EnqueueWork(rows)]))
    answer = applied.enqueued[0]
    if isinstance(answer, Problem):
        raise answer.error()
    for index, one in enumerate(answer):
        if one.problem is not None:
            error = one.problem.error()
            if len(jobs) > 1:
                error.path = f"jobs[{index}].{error.path}".removesuffix(".")
            raise error
    # The database sends it with the commit: an earlier hint would be heard before there is anything to find.
    link.rows("SELECT pg_notify(:channel, :hint)", _hint(applied.effects))
    return answer
