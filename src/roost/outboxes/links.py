"""A user's open connection as a way to run statements in the transaction it is in; nothing is committed here."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

from roost.errors import ConfigurationError

if TYPE_CHECKING:
    import psycopg

Dialect = Literal["postgresql", "sqlite"]
Parameters = Mapping[str, object]
Rows = list[tuple[Any, ...]]

SAVEPOINT = "SAVEPOINT roost_outbox"
ROLL_BACK = "ROLLBACK TO SAVEPOINT roost_outbox"
RELEASE = "RELEASE SAVEPOINT roost_outbox"
NO_TRANSACTION = "25P01"
"""PostgreSQL's code for a savepoint outside a transaction."""
# What can hold a colon or a percent sign that is no parameter's comes first.
_TOKENS = re.compile(
    r"""
      (?P<kept>'(?:[^']|'')*' | "(?:[^"]|"")*" | ::)
    | :(?P<parameter>[A-Za-z_]\w*)
    | (?P<percent>%)
    """,
    re.VERBOSE,
)


class Link(Protocol):
    """Statements with ``:name`` parameters in the transaction the connection is in."""

    dialect: Dialect

    def rows(self, sql: str, parameters: Parameters) -> Rows:
        """Run a statement that answers with rows."""
        ...

    def run(self, sql: str, parameters: Parameters) -> int:
        """Run a statement that changes rows; how many."""
        ...


@lru_cache(512)
def pyformat(sql: str) -> str:
    """``sql`` with ``%(name)s`` for ``:name``."""
    return _TOKENS.sub(lambda match: f"%({match['parameter']})s" if match["parameter"] else _doubled(match[0]), sql)


def _doubled(text: str) -> str:
    return text.replace("%", "%%")


def sqlstate(error: BaseException) -> str:
    """The five characters by which PostgreSQL tells what went wrong, whichever driver raised; empty where none did."""
    seen: BaseException | None = error
    while seen is not None:
        for holder in (seen, getattr(seen, "orig", None)):
            for name in ("sqlstate", "pgcode"):
                code = getattr(holder, name, None)
                if isinstance(code, str):
                    return code
        seen = seen.__cause__
    return ""


def no_transaction(help: str) -> ConfigurationError:
    """The connection commits every statement by itself."""
    return ConfigurationError(
        "the connection is in no transaction: every statement would be committed alone", help=help
    )


def set_savepoint(link: Link) -> None:
    """Begin what can be undone alone; raises `ConfigurationError` where no transaction is open (PostgreSQL)."""
    try:
        link.run(SAVEPOINT, {})
    except Exception as error:
        if sqlstate(error) == NO_TRANSACTION:
            raise no_transaction("begin a transaction first, or take a connection without autocommit") from None
        raise


class SqliteLink:
    """A `sqlite3.Connection`; its module begins a transaction before the first change."""

    dialect: Dialect = "sqlite"

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Raises `ConfigurationError` where the connection commits by itself and no transaction is open."""
        if not connection.in_transaction and (
            getattr(connection, "autocommit", False) is True
            or (connection.isolation_level is None and getattr(connection, "autocommit", -1) != 0)
        ):
            raise no_transaction('begin one first: connection.execute("BEGIN")')
        self._connection = connection

    def rows(self, sql: str, parameters: Parameters) -> Rows:
        """See `Link`; the connection's own row factory is not used."""
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, dict(parameters)).fetchall()

    def run(self, sql: str, parameters: Parameters) -> int:
        """See `Link`."""
        return self._connection.execute(sql, dict(parameters)).rowcount


class PsycopgLink:
    """A `psycopg.Connection`."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        from psycopg import Cursor
        from psycopg.rows import tuple_row

        # A cursor of its own kind: the connection may make rows, and cursors, of another.
        self._cursor: psycopg.Cursor[tuple[Any, ...]] = Cursor(connection, row_factory=tuple_row)
        _adapt(self._cursor)

    def rows(self, sql: str, parameters: Parameters) -> Rows:
        """See `Link`."""
        return self._cursor.execute(pyformat(sql), parameters).fetchall()

    def run(self, sql: str, parameters: Parameters) -> int:
        """See `Link`."""
        return self._cursor.execute(pyformat(sql), parameters).rowcount


class AsyncPsycopgLink:
    """A `psycopg.AsyncConnection` for code in another thread, while the loop that owns it goes on."""

    dialect: Dialect = "postgresql"

    def __init__(self, connection: psycopg.AsyncConnection[Any], loop: asyncio.AbstractEventLoop) -> None:
        from psycopg import AsyncCursor
        from psycopg.rows import tuple_row

        self._cursor: psycopg.AsyncCursor[tuple[Any, ...]] = AsyncCursor(connection, row_factory=tuple_row)
        _adapt(self._cursor)
        self._loop = loop

    def rows(self, sql: str, parameters: Parameters) -> Rows:
        """See `Link`; not to be called on the loop's own thread."""

        async def run() -> Rows:
            await self._cursor.execute(pyformat(sql), parameters)
            return await self._cursor.fetchall()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def run(self, sql: str, parameters: Parameters) -> int:
        """See `Link`; not to be called on the loop's own thread."""

        async def run() -> int:
            return (await self._cursor.execute(pyformat(sql), parameters)).rowcount

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()


def _adapt(cursor: Any) -> None:
    from psycopg.types.numeric import Int8Dumper

    # Whole numbers are bigint whatever their size, so that a statement means the same for all; only on this cursor.
    cursor.adapters.register_dumper(int, Int8Dumper)


class SqlAlchemyLink:
    """A `sqlalchemy.Connection`, over whichever driver it uses."""

    def __init__(self, connection: Any) -> None:
        """Raises `ConfigurationError` for another database than PostgreSQL or SQLite, and for SQLite's autocommit."""
        self.dialect: Dialect = _dialect(connection.dialect.name)
        if self.dialect == "sqlite":
            driver = connection.connection.driver_connection
            # None begins nothing by itself; whoever sets it to begin transactions by hand has begun one.
            if driver.isolation_level is None and not driver.in_transaction:
                raise no_transaction("take a connection without isolation_level='AUTOCOMMIT'")
        self._connection = connection

    def rows(self, sql: str, parameters: Parameters) -> Rows:
        """See `Link`."""
        return [tuple(row) for row in self._execute(sql, parameters)]

    def run(self, sql: str, parameters: Parameters) -> int:
        """See `Link`."""
        return int(self._execute(sql, parameters).rowcount)

    def _execute(self, sql: str, parameters: Parameters) -> Any:
        return self._connection.execute(_text(sql), parameters)


@lru_cache(512)
def _text(sql: str) -> Any:
    from sqlalchemy import text

    # Of the colons only the parameters' own mean something to `text`.
    return text(_TOKENS.sub(lambda match: match[0] if match["parameter"] else match[0].replace(":", r"\:"), sql))


class DjangoLink:
    """A connection of Django's, inside ``transaction.atomic``."""

    def __init__(self, connection: Any) -> None:
        """Raises `ConfigurationError` outside of ``atomic``, or for another database than PostgreSQL or SQLite."""
        self.dialect: Dialect = _dialect(connection.vendor)
        if not connection.in_atomic_block and connection.get_autocommit():
            raise no_transaction("do it inside django.db.transaction.atomic()")
        self._connection = connection

    def rows(self, sql: str, parameters: Parameters) -> Rows:
        """See `Link`."""
        with self._connection.cursor() as cursor:
            cursor.execute(pyformat(sql), dict(parameters))
            return [tuple(row) for row in cursor.fetchall()]

    def run(self, sql: str, parameters: Parameters) -> int:
        """See `Link`."""
        with self._connection.cursor() as cursor:
            cursor.execute(pyformat(sql), dict(parameters))
            return int(cursor.rowcount)


def _dialect(name: str) -> Dialect:
    if name == "postgresql":
        return "postgresql"
    if name == "sqlite":
        return "sqlite"
    raise ConfigurationError(
        f"an outbox in {name[:40]!r} is not supported", help="PostgreSQL and SQLite databases can hold one"
    )
