"""A real PostgreSQL 15 from Debian's binaries, in a temporary directory, for tests, chaos runs and benchmarks."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from tests.support import processes

BINARIES = Path("/usr/lib/postgresql/15/bin")
USER = "roost"
START_SECONDS = 60.0
STOP_SECONDS = 30.0

_COMMON_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "timezone": "UTC",
    "log_line_prefix": "%m [%p] %d ",
    "dynamic_shared_memory_type": "mmap",  # containers often have a small /dev/shm
}
# Loses data when the machine loses power, which no ordinary test does.
_FAST_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
}
_DURABLE_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
}


class PostgresServer:
    """One PostgreSQL server on a free port of the loopback interface and on a Unix socket.

    `durable=False` is for ordinary tests: no fsync, and text sorts by the rules of a language, as on most users'
    servers, so that a query that forgets `COLLATE "C"` is noticed. `durable=True` is for chaos runs and benchmarks:
    every commit is on disk before it is answered, text sorts by bytes. `settings` adds to or replaces lines of
    postgresql.conf.

    The data and the port stay over `stop` or `kill` and a new `start`; `close`, or leaving the `with` block, removes
    them.
    """

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.durable = durable
        self.port = 0
        self._settings = {**_COMMON_SETTINGS, **(_DURABLE_SETTINGS if durable else _FAST_SETTINGS), **(settings or {})}
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._remove: weakref.finalize[[Path], PostgresServer] | None = None
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """The URL of the server's own database `postgres`."""
        return self.url_of("postgres")

    @property
    def directory(self) -> Path:
        """Holds `data`, `log` and the Unix socket; exists after the first start."""
        if self._directory is None:
            raise processes.ServerFailed("the server was never started")
        return self._directory

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.directory / "log"

    @property
    def pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def url_of(self, database: str) -> str:
        """The URL of one database of this server, over TCP."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def socket_url_of(self, database: str) -> str:
        """The URL of one database of this server, over its Unix socket."""
        return f"postgresql://{USER}@/{database}?host={self.directory}&port={self.port}"

    def start(self) -> Self:
        """Starts the server unless it runs, and returns when it answers. Raises ServerFailed with the log."""
        if self.pid is not None:
            return self
        if self._directory is None:
            self._initialise()
        first_start = self.port == 0
        for attempt in itertools.count(1):
            if first_start:
                self.port = processes.free_port()
            try:
                self._launch()
            except processes.ServerFailed as failure:
                # another program may take the port between the look and the start
                if first_start and attempt < 5 and "Address already in use" in str(failure):
                    self.log.unlink()
                    continue
                raise
            return self
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Ends every session and shuts down cleanly; the data stay."""
        if self._process is not None:
            processes.stop(self._process, signal.SIGINT, STOP_SECONDS)
            self._process = None

    def kill(self) -> None:
        """Kills every process of the server with SIGKILL; the data stay, and the next start recovers them."""
        if self._process is not None:
            processes.kill(self._process)
            self._process = None

    def close(self) -> None:
        """Stops the server and removes its data."""
        self.stop()
        if self._remove is not None:
            self._remove()
            self._directory = None
            self.port = 0

    def create_database(self, *, template: str | None = None) -> str:
        """The URL of a new database: empty, or a copy of the database at URL `template`, which nobody may be using."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        source = "template1" if template is None else _database_name(template)
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(source)),
        )
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Removes the database at `url` and ends the sessions in it; a missing one is fine."""
        name = sql.Identifier(_database_name(url))
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _initialise(self) -> None:
        if not (BINARIES / "initdb").exists():
            raise processes.ServerFailed(f"PostgreSQL 15 is not in {BINARIES}; `make setup` installs it")
        directory = processes.make_directory("roost-postgres-")
        self._remove = weakref.finalize(self, processes.remove_directory, directory)
        collation = [] if self.durable else ["--locale-provider=icu", "--icu-locale=en-US"]
        processes.run(
            [
                str(BINARIES / "initdb"),
                f"--pgdata={directory / 'data'}",
                f"--username={USER}",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                *collation,
                "--data-checksums",
                "--no-sync",
                "--no-instructions",
            ]
        )
        with (directory / "data" / "postgresql.conf").open("a") as configuration:
            for name, value in {**self._settings, "unix_socket_directories": str(directory)}.items():
                configuration.write(f"{name} = '{value}'\n")
        self._directory = directory

    def _launch(self) -> None:
        command = [str(BINARIES / "postgres"), "-D", str(self.directory / "data"), "-p", str(self.port)]
        self._process = processes.start(command, self.log)
        processes.wait_until_ready(self._process, self.log, self._answers, START_SECONDS)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


def _database_name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")
