"""An SQLite file as a store: who may open it, its writing and reading sides, its wake-ups."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import apsw
import msgspec

from roost.engine import catalogue, migrate
from roost.engine.protocol import Engine
from roost.engine.reader import SqlReader
from roost.engine.reading import Reader
from roost.engine.searching.dialects import SQLITE, Dialect
from roost.engine.session import Session
from roost.engine.sqlengine import SqlEngine
from roost.engine.sqlite.connection import CHECKSUM_VFS, open_reader, open_writer, refuse_network_filesystem
from roost.engine.sqlite.driver import MISFIT, WAYS_OUT, SqliteDriver, misfits, refusal
from roost.engine.sqlite.owner import Owner
from roost.engine.sqlite.watch import Silence, Watch
from roost.engine.store import Role, Signals, StoreInfo
from roost.errors import ConfigurationError, StoreError, Unavailable

MEMORY = ":memory:"
READERS = 2
STEPS = 100_000
STEP_PORTIONS = 2_000
"""Steps of SQLite's machine a search may take, counted in portions: 200 million, about two seconds."""


class Spec(msgspec.Struct):
    """What another process needs to open a writing side of the same file."""

    path: str
    vfs: str
    durable: bool


class SqliteSession:
    """See `roost.engine.session.Session`."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        self._statements = catalogue.load("roost.engine.sqlite")

    def one(self, statement: str, **parameters: object) -> Any:
        """The first column of the only row."""
        row = self._connection.execute(self._statements[statement], parameters).fetchone()
        return row[0] if row else None

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

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """What runs inside takes a bounded number of SQLite's steps, a few seconds' worth; raises `Unavailable`."""
        portions = itertools.count(1)
        self._connection.set_progress_handler(lambda: next(portions) > STEP_PORTIONS, STEPS)
        try:
            yield
        except apsw.InterruptError:
            raise Unavailable(
                "the search took too long", help="narrow it: a state, a tag, a time, an indexed path"
            ) from None
        finally:
            self._connection.set_progress_handler(None)


class SqliteStore:
    """See `roost.engine.store.Store`."""

    concurrency = 1

    def __init__(
        self, path: str, role: Role, rng: Callable[[], float], *, vfs: str = CHECKSUM_VFS, durable: bool = True
    ) -> None:
        self._path = path
        self._rng = rng
        memory = path == MEMORY
        self._owner = None if memory else Owner.take(Path(path), role)
        self._lock = threading.RLock()
        try:
            self._writer = open_writer(path, vfs=vfs, durable=durable)
            upgrade(self._writer)
            self._readers: queue.LifoQueue[apsw.Connection] = queue.LifoQueue()
            for _ in range(0 if memory else READERS):
                self._readers.put(open_reader(path, vfs=vfs))
        except BaseException as error:
            if self._owner:
                self._owner.release()
            if isinstance(error, apsw.Error):
                raise unreadable(path, error) from error
            raise
        self.reader: Reader = SqlReader(self._memory_session if memory else self._file_session, self._close_readers)
        self.signals: Signals = Watch(path, vfs) if role == "embedded" and not memory else Silence()
        self.spec = "sqlite|" + msgspec.json.encode(Spec(path, vfs, durable)).decode()
        self.info = StoreInfo(
            engine="sqlite",
            version=apsw.sqlite_lib_version(),
            durability="kept in memory only: lost with the process"
            if memory
            else "process crash: safe · power loss: safe"
            if durable
            else "process crash: safe · power loss: may lose",
            location=path if memory else str(Path(path).resolve()),
        )

    @classmethod
    def open(cls, url: str, role: Role, *, rng: Callable[[], float], durable: bool = True) -> SqliteStore:
        """Open ``sqlite:///relative.db``, ``sqlite:////absolute.db`` or ``sqlite://:memory:``; see `open_store`."""
        path = path_of(url)
        if path != MEMORY:
            file = Path(path)
            if not file.resolve().parent.is_dir():
                raise ConfigurationError(
                    f"there is no folder {file.resolve().parent}", help="make it, or give another path"
                )
            refuse_network_filesystem(file)
        return cls(path, role, rng, durable=durable)

    def engine(self) -> Engine:
        """The writing side."""
        return SqlEngine(SqliteDriver(self._writer, self._lock), self._rng)

    def now_offset(self) -> int:
        """This machine's clock is the only one."""
        return 0

    def publish_url(self, url: str) -> None:
        """Tell whoever tries to open the file where its server is."""
        if self._owner:
            self._owner.publish(url)

    def close(self) -> None:
        """Close every connection and let others have the file; twice does no harm."""
        self.signals.stop()
        self.reader.close()
        with self._lock:
            self._writer.close()
        if self._owner:
            self._owner.release()

    @contextmanager
    def _memory_session(self) -> Iterator[Session]:
        with self._lock:
            yield SqliteSession(self._writer)

    @contextmanager
    def _file_session(self) -> Iterator[Session]:
        try:
            connection = self._readers.get(timeout=5)
        except queue.Empty:
            raise Unavailable("every reader is busy", help="try again", retry_after=1.0) from None
        try:
            connection.execute("BEGIN")
            try:
                yield SqliteSession(connection)
            finally:
                # SQLite ends it by itself where a page cannot be read.
                if connection.in_transaction:
                    connection.execute("COMMIT")
        except apsw.Error as error:
            raise refusal(error) from error
        finally:
            self._readers.put(connection)

    def _close_readers(self) -> None:
        while not self._readers.empty():
            self._readers.get().close()


def path_of(url: str) -> str:
    """The path in an SQLite URL; raises `ConfigurationError`."""
    rest = url.removeprefix("sqlite:")
    if rest in ("//:memory:", "///:memory:"):
        return MEMORY
    if not rest.startswith("///") or len(rest) == 3 or "?" in rest:
        raise ConfigurationError(
            f"{url!r} names no SQLite file",
            help="sqlite:///jobs.db (here), sqlite:////var/lib/jobs.db, sqlite://:memory:",
        )
    return unquote(rest[3:])


def engine_from_spec(text: str, *, rng: Callable[[], float]) -> Engine:
    """A writing side of a file that another process of ours opened first."""
    spec = msgspec.json.decode(text, type=Spec)
    if spec.path == MEMORY:
        raise ConfigurationError("a memory store stays in its process", help='use host "thread" or "inline"')
    return SqlEngine(SqliteDriver(open_writer(spec.path, vfs=spec.vfs, durable=spec.durable)), rng)


def upgrade(connection: apsw.Connection) -> list[str]:
    """Apply what migrations the file lacks, each with its record in one transaction; their names."""
    connection.execute(
        "CREATE TABLE IF NOT EXISTS roost_migration "
        "(version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL)"
    )
    done: list[str] = []
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            applied = dict(connection.execute("SELECT version, checksum FROM roost_migration"))
            todo = migrate.pending(migrate.load("roost.engine.sqlite"), applied)
            if not todo:
                return done
            for statement in migrate.statements(todo[0].sql):
                connection.execute(statement)
            connection.execute(
                "INSERT INTO roost_migration VALUES (?, ?, ?)", (todo[0].version, todo[0].name, todo[0].checksum)
            )
            connection.execute("COMMIT")
            done.append(todo[0].name)
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def unreadable(path: str, error: apsw.Error) -> StoreError:
    """Why a file cannot be opened, and what to do."""
    if isinstance(error, apsw.NotADBError):
        return StoreError(f"{path} is not an SQLite database", help="give another path, or restore a backup")
    if misfits(error):
        return StoreError(f"{path} is damaged: {MISFIT}", help=WAYS_OUT.format(store=f"sqlite:///{quote(path)}"))
    if isinstance(error, (apsw.CorruptError, apsw.IOError)):
        return StoreError(f"{path} is damaged: {error}", help="restore a backup; look at the disk")
    return StoreError(f"{path} cannot be opened: {error}", help="look at the path and its permissions")
