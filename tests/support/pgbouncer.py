"""PgBouncer in front of a PostgresServer, sharing few server sessions among many clients, one transaction at a time."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psycopg

from tests.support import processes
from tests.support.postgres import USER, PostgresServer

PROGRAM = Path("/usr/sbin/pgbouncer")
START_SECONDS = 30.0
STOP_SECONDS = 10.0


class PgBouncer:
    """A PgBouncer on a free loopback port, pooling by transaction, for every database of a running server.

    Two server sessions per database by default, fewer than most callers use at once: state that a session keeps
    (prepared statements, LISTEN, advisory locks, SET) is met by another client soon, which is what the tests are after.
    """

    def __init__(self, server: PostgresServer, *, sessions_per_database: int = 2) -> None:
        self.server = server
        self.port = 0
        self._sessions = sessions_per_database
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def url_of(self, server_url: str) -> str:
        """The URL that reaches the database at `server_url` through this PgBouncer."""
        parts = urlsplit(server_url)
        return urlunsplit(parts._replace(netloc=f"{USER}@127.0.0.1:{self.port}"))

    def start(self) -> Self:
        """Starts PgBouncer and returns when it answers. Raises ServerFailed with its log."""
        if not PROGRAM.exists():
            raise processes.ServerFailed(f"PgBouncer is not at {PROGRAM}; `make setup` installs it")
        self.stop()
        self._directory = processes.make_directory("roost-pgbouncer-")
        self.port = processes.free_port()
        configuration = self._directory / "pgbouncer.ini"
        configuration.write_text(self._configuration())
        log = self._directory / "log"
        account = processes.unprivileged_account()
        if account is not None:
            os.chown(configuration, account.pw_uid, account.pw_gid)
        self._process = processes.start([str(PROGRAM), str(configuration)], log)
        processes.wait_until_ready(self._process, log, self._answers, START_SECONDS)
        return self

    def stop(self) -> None:
        """Closes all connections, ends, and removes its files."""
        if self._process is not None:
            processes.stop(self._process, signal.SIGTERM, STOP_SECONDS)
            self._process = None
        if self._directory is not None:
            processes.remove_directory(self._directory)
            self._directory = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _configuration(self) -> str:
        return f"""\
[databases]
* = host=127.0.0.1 port={self.server.port} user={USER}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {self._sessions}
max_client_conn = 500
server_lifetime = 3600
"""

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url_of(self.server.url), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True
