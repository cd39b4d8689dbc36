"""``roost.outbox``: from whatever connection a program has to an outbox on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from roost.errors import ConfigurationError
from roost.outboxes import table
from roost.outboxes.links import DjangoLink, Link, PsycopgLink, SqlAlchemyLink, SqliteLink
from roost.outboxes.posting import AsyncOutbox, InSession, InThread, Outbox
from roost.outboxes.relay import Relay
from roost.service.clock import SystemClock

if TYPE_CHECKING:
    import sqlite3

    import psycopg

    # Optional packages, which may be absent where types are checked.
    Session = Any
    AsyncSession = Any

_KNOWN = "SQLAlchemy sessions and connections, psycopg 3 connections, sqlite3 connections, and using= for Django"


class Outboxes:
    """``roost.outbox``: called with a connection it is an outbox on it; it also makes the table, and relays."""

    Relay = Relay

    @overload
    def __call__(self, connection: sqlite3.Connection, *, url: str | None = None) -> Outbox: ...
    @overload
    def __call__(self, connection: psycopg.Connection[Any], *, url: str | None = None) -> Outbox: ...
    @overload
    def __call__(self, connection: psycopg.AsyncConnection[Any], *, url: str | None = None) -> AsyncOutbox: ...
    @overload
    def __call__(self, *, using: str, url: str | None = None) -> Outbox: ...
    @overload
    def __call__(self, connection: Any, *, url: str | None = None) -> Any: ...
    def __call__(self, connection: Any = None, *, using: str | None = None, url: str | None = None) -> Any:
        """An outbox on an open connection: ``with`` it, or ``async with`` where the connection is asynchronous.

        ``connection`` is a SQLAlchemy `Session`, `Connection`, `AsyncSession` or `AsyncConnection`, a psycopg 3
        `Connection` or `AsyncConnection`, or a `sqlite3.Connection`; ``using`` names a database of Django's instead.
        ``url`` says which Roost is meant, where it is not the one of the job's own app. Where that is a PostgreSQL
        database and the connection is to the same one, jobs are stored beside Roost's own; else they wait in the table
        ``roost_outbox`` of the connection's database until a relay brings them. Raises `ConfigurationError` for
        anything else.
        """
        clock = SystemClock()
        if using is not None:
            if connection is not None:
                raise ConfigurationError("a connection and using= are given", path="using", help="give one of them")
            return Outbox(lambda: _django(using), url, clock)
        kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(connection).__mro__}
        if kinds & {"sqlalchemy.AsyncSession", "sqlalchemy.AsyncConnection", "sqlalchemy.async_scoped_session"}:
            return AsyncOutbox(InSession(connection, _sqlalchemy), url, clock)
        if "psycopg.AsyncConnection" in kinds:
            return AsyncOutbox(InThread(connection), url, clock)
        return Outbox(lambda: link_to(connection), url, clock)

    def create_table(self, connection: Any = None, *, using: str | None = None) -> None:
        """Make the outbox table where it is not there yet, in the connection's transaction: the caller commits.

        For asynchronous connections of SQLAlchemy: ``await connection.run_sync(roost.outbox.create_table)``.
        """
        table.create(_django(using) if using is not None else link_to(connection))

    def drop_table(self, connection: Any = None, *, using: str | None = None) -> None:
        """Take the outbox table away with all that waits in it, in the connection's transaction."""
        table.drop(_django(using) if using is not None else link_to(connection))


def link_to(connection: Any) -> Link:
    """Statements in a synchronous connection's transaction; raises `ConfigurationError` for what is none."""
    kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(connection).__mro__}
    if "sqlite3.Connection" in kinds:
        return SqliteLink(connection)
    if "psycopg.Connection" in kinds:
        return PsycopgLink(connection)
    if kinds & {"sqlalchemy.Session", "sqlalchemy.scoped_session", "sqlalchemy.Connection"}:
        return _sqlalchemy(connection)
    raise ConfigurationError(f"{type(connection).__name__} is no connection an outbox knows", help=_KNOWN)


def _sqlalchemy(owner: Any) -> Link:
    # A session gives the connection of its transaction, and begins one.
    return SqlAlchemyLink(owner if hasattr(owner, "exec_driver_sql") else owner.connection())


def _django(using: str) -> Link:
    from django.db import connections

    return DjangoLink(connections[using])


outbox = Outboxes()
