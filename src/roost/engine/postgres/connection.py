"""Connections: how a session is set up, and what its errors mean to a caller."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import errors, pq
from psycopg.types.numeric import Int8Dumper

from roost.engine.postgres.address import Address
from roost.errors import Contended, InvalidRequest, RoostError, StoreError, StoreUnsupported, Unavailable

OLDEST = 140000
"""PostgreSQL 14, as the server counts it."""
WRITING = {
    "jit": "off",
    # A queue grows from empty to a million rows faster than statistics follow, and a plan made for the empty table is
    # kept. Every statement that writes has an index of its own.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    # Roost's own transactions are short, but a user's may hold a unique key through an outbox for as long as it likes.
    "lock_timeout": "2s",
}
READING = {
    "jit": "off",
    "plan_cache_mode": "force_custom_plan",
    "statement_timeout": "10s",
}
# A commit is answered when it is on disk; whoever chose more than that keeps it.
DURABLE = frozenset({"on", "remote_apply"})

Connection = psycopg.Connection[tuple[object, ...]]


class Session:
    """A connection with what it was found to be."""

    def __init__(self, connection: Connection, begin: list[bytes], pooled: bool) -> None:
        self.connection = connection
        self.begin = begin
        """The commands that start a transaction."""
        self.pooled = pooled
        """A pooler stands between: the server's session is another one for each transaction."""


def connect(address: Address) -> Connection:
    """A new connection; raises `Unavailable`, or `StoreError` where trying again cannot help."""
    try:
        connection = psycopg.connect(address.parameters, autocommit=True)
    except psycopg.OperationalError as error:
        raise unreachable(address, error) from None
    adapt(connection)
    return connection


def adapt(connection: Connection) -> None:
    """Whole numbers are bigint whatever their size, so that a statement is prepared once."""
    connection.adapters.register_dumper(int, Int8Dumper)


def open_writer(address: Address) -> Session:
    """A connection that transactions are made on."""
    connection = connect(address)
    try:
        settings = dict(WRITING)
        pid, durability = connection.execute(
            "SELECT pg_backend_pid(), current_setting('synchronous_commit')"
        ).fetchone() or (0, "")
        if durability not in DURABLE:
            settings["synchronous_commit"] = "on"
        pooled = pid != connection.pgconn.backend_pid
        return Session(connection, prepare(connection, settings, pooled, "READ COMMITTED"), pooled)
    except psycopg.Error as error:
        connection.close()
        raise refusal(error) from None


def prepare(connection: Connection, settings: dict[str, str], pooled: bool, isolation: str) -> list[bytes]:
    """Set the session up and answer with the commands that begin a transaction on it.

    Behind a pooler nothing of a session lasts: settings are made in every transaction, no statement is prepared.
    """
    begin = f"BEGIN ISOLATION LEVEL {isolation}"
    connection.prepare_threshold = None
    if pooled:
        return [command.encode() for command in (begin, *_settings("SET LOCAL", settings))]
    connection.execute("; ".join(_settings("SET", settings)).encode())
    connection.prepare_threshold = 0
    return [begin.encode()]


def _settings(verb: str, settings: dict[str, str]) -> Iterator[str]:
    return (f"{verb} {name} = '{value}'" for name, value in settings.items())


def command(connection: Connection, text: bytes) -> None:
    """Run a command that takes no parameters in one call of libpq's."""
    result = connection.pgconn.exec_(text)
    if result.status != pq.ExecStatus.COMMAND_OK:
        raise errors.error_from_result(result)


def lost(connection: Connection) -> bool:
    """Whether the connection is of no use any more."""
    return connection.closed or connection.pgconn.status == pq.ConnStatus.BAD


def unreachable(address: Address, error: psycopg.Error) -> RoostError:
    """Why there is no connection."""
    message = str(error).strip()
    if "authentication failed" in message or "does not exist" in message or "no password supplied" in message:
        help = "look at the URL, the password and the account's rights; createdb makes a database that is not there"
        return StoreError(f"{address.location}: {message}", help=help)
    return Unavailable(f"{address.location}: {message}", help="is the database up?", retry_after=1.0)


def refusal(error: psycopg.Error) -> RoostError:
    """What a failed statement means; nothing of its transaction stays."""
    code = error.sqlstate or ""
    text = error.diag.message_primary or str(error).strip()
    if code.startswith("22"):
        return InvalidRequest(f"the database refuses a value: {text}", help="look for NUL characters and huge numbers")
    if code == "55P03":
        return Contended(
            "another transaction holds what this one needs",
            help="try again; a program may have enqueued the same unique key and not committed yet",
            retry_after=1.0,
        )
    gone = not code and isinstance(error, psycopg.OperationalError)
    if gone or code in ("25006", "53300") or code[:2] in ("08", "57", "40", "55"):
        return Unavailable(f"the database does not answer: {text}", help="try again", retry_after=1.0)
    if code.startswith("53"):
        return Unavailable(
            f"the database is out of resources: {text}; nothing was stored", help="free some", retry_after=5.0
        )
    if code == "42501":
        return StoreError(
            f"the database refuses this account: {text}",
            help="it makes and writes Roost's tables: GRANT USAGE, CREATE ON SCHEMA … TO …, or give another account",
        )
    return StoreError(f"the database failed: {text}", help="look at the database's log")


def check_server(connection: Connection) -> str:
    """The server's version; raises `StoreUnsupported`."""
    number = connection.info.server_version
    row = connection.execute("SELECT current_setting('server_version'), current_setting('server_encoding')").fetchone()
    version, encoding = row or ("", "")
    if number < OLDEST:
        raise StoreUnsupported(f"PostgreSQL {version} is too old", help="Roost needs PostgreSQL 14 or newer")
    if encoding != "UTF8":
        raise StoreUnsupported(
            f"the database's encoding is {encoding}",
            help="create it with ENCODING 'UTF8'",
        )
    return str(version).partition(" ")[0]
