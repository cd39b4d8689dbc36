"""Databases of a user's, with and without Roost in them, and every kind of connection an outbox takes."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

import roost
from tests.outbox.jobs import Program, program

SQLITE_WAYS = ("sqlite3", "sqlalchemy-sqlite", "sqlalchemy-connection-sqlite", "sqlalchemy-async-sqlite")
POSTGRES_WAYS = ("psycopg", "psycopg-async", "sqlalchemy", "sqlalchemy-connection", "sqlalchemy-async")

STORED_IN_SQLITE = ("sqlite3", "sqlalchemy-async-sqlite", "psycopg", "sqlalchemy-async")


class Hands:
    """One open transaction: what a program does in it, the same for every kind of connection."""

    def __init__(self, connection: Any, asynchronous: bool) -> None:
        self.connection = connection
        self._asynchronous = asynchronous

    async def outbox(self, work: Callable[[Any], Any], **options: Any) -> Any:
        """Enter an outbox on the connection and do ``work`` with it; what it answered."""
        if self._asynchronous:
            async with roost.outbox(self.connection, **options) as tx:
                return await work(tx)
        with roost.outbox(self.connection, **options) as tx:
            return work(tx)

    async def execute(self, sql: str) -> None:
        """Run a statement of the program's own."""
        statement = sqlalchemy.text(sql) if type(self.connection).__module__.startswith("sqlalchemy") else sql
        done = self.connection.execute(statement)
        if self._asynchronous:
            await done

    async def commit(self) -> None:
        done = self.connection.commit()
        if self._asynchronous:
            await done

    async def rollback(self) -> None:
        done = self.connection.rollback()
        if self._asynchronous:
            await done


@dataclass(frozen=True)
class User:
    """A user's database, and a way to connect to it."""

    way: str
    database: str
    """Its URL, as a relay takes it."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Hands]:
        """A connection in a transaction, rolled back where the block does not commit."""
        if self.way == "sqlite3":
            connection = sqlite3.connect(self.database.removeprefix("sqlite:///"))
            try:
                yield Hands(connection, False)
            finally:
                connection.close()
        elif self.way == "psycopg":
            with psycopg.connect(self.database) as plain:
                yield Hands(plain, False)
                plain.rollback()
        elif self.way == "psycopg-async":
            async with await psycopg.AsyncConnection.connect(self.database) as async_plain:
                yield Hands(async_plain, True)
                await async_plain.rollback()
        elif "async" in self.way:
            driver = "aiosqlite" if "sqlite" in self.way else "psycopg"
            async_engine = create_async_engine(self.database.replace("://", f"+{driver}://", 1))
            async with AsyncSession(async_engine) as async_session:
                yield Hands(async_session, True)
            await async_engine.dispose()
        else:
            driver = "pysqlite" if "sqlite" in self.way else "psycopg"
            engine = sqlalchemy.create_engine(self.database.replace("://", f"+{driver}://", 1))
            with engine.connect() if "connection" in self.way else Session(engine) as session:
                yield Hands(session, False)
            engine.dispose()


@contextmanager
def connected(database: str) -> Iterator[Any]:
    """A plain connection to a user's database."""
    if database.startswith("sqlite"):
        with closing(sqlite3.connect(database.removeprefix("sqlite:///"))) as connection:
            yield connection
    else:
        with psycopg.connect(database) as plain:
            yield plain


@pytest.fixture
def store_url(user: User, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty Roost, not in the user's database: of either engine, in turn over the ways to connect.

    What brings the rows knows neither how they were written nor what they will be stored in.
    """
    return elsewhere("sqlite" if user.way in STORED_IN_SQLITE else "postgresql", request, tmp_path)


def elsewhere(engine: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The URL of an empty Roost of this engine."""
    if engine == "sqlite":
        return f"sqlite:///{folder}/roost.db"
    url: str = request.getfixturevalue("postgres_store")
    return url


@pytest.fixture
async def here(store_url: str) -> AsyncIterator[Program]:
    """A program whose jobs are in another database than the user's rows."""
    made = program(store_url)
    yield made
    await made.app.aclose()


@pytest.fixture(params=[*SQLITE_WAYS, *POSTGRES_WAYS])
def user(request: pytest.FixtureRequest, tmp_path: Path) -> User:
    """A user's database with an outbox table and a table of its own, reached in one of the ways there are."""
    if request.param in SQLITE_WAYS:
        database = f"sqlite:///{tmp_path}/user.db"
        connection = sqlite3.connect(tmp_path / "user.db")
        connection.execute("CREATE TABLE account (name TEXT)")
        roost.outbox.create_table(connection)
        connection.commit()
        connection.close()
        return User(request.param, database)
    database = request.getfixturevalue("postgres_url")
    with psycopg.connect(database) as plain:
        plain.execute("CREATE TABLE account (name text)")
        roost.outbox.create_table(plain)
    return User(request.param, database)


@pytest.fixture(params=POSTGRES_WAYS)
def neighbour(request: pytest.FixtureRequest, postgres_store: str) -> User:
    """A user who keeps rows in Roost's own database."""
    with psycopg.connect(postgres_store) as plain:
        plain.execute("CREATE TABLE account (name text)")
    return User(request.param, postgres_store)


@pytest.fixture
async def beside(postgres_store: str) -> AsyncIterator[Program]:
    """A program whose jobs are in the very database its rows are in."""
    made = program(postgres_store)
    yield made
    await made.app.aclose()
