"""A store as ``roost db`` and ``roost doctor`` see it: looked at without changing it, or brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from roost.cli.target import existing, sqlite_file
from roost.engine.migrate import Migration, load, pending
from roost.errors import ConfigurationError, Unavailable

if TYPE_CHECKING:
    import psycopg

SQLITE = "roost.engine.sqlite"
POSTGRES = "roost.engine.postgres"
_CONNECT_SECONDS = 5
_APPLIED = "SELECT version, checksum FROM roost_migration"


def package(url: str) -> str:
    """Which engine's migrations a store has; raises `ConfigurationError` for a server's URL."""
    if url.startswith("sqlite:"):
        return SQLITE
    if url.startswith(("postgresql://", "postgres://")):
        return POSTGRES
    raise ConfigurationError(
        f"{url[:80]!r} is not a store", path="url", help="give --url sqlite:///file or postgresql://user@host/database"
    )


def missing(url: str) -> list[Migration]:
    """The migrations a store lacks; raises `StoreTooNew`, `StoreError`, `NotFound`, `Unavailable`."""
    return pending(load(package(url)), applied(url))


def applied(url: str) -> dict[int, str]:
    """Versions and checksums of the migrations a store has; empty for one that was never opened by Roost."""
    if package(url) == POSTGRES:
        with postgres(url) as connection:
            return applied_to_postgres(connection)
    file = sqlite_file(url)
    return {} if file is None else applied_to_file(existing(file))


def applied_to_file(file: Path) -> dict[int, str]:
    """See `applied`; raises `StoreError` for a file that is no database, or another program's."""
    import apsw

    from roost.engine.sqlite.connection import open_reader, refuse_foreign
    from roost.engine.sqlite.store import unreadable

    if file.stat().st_size == 0:
        return {}
    try:
        connection = open_reader(str(file))
        try:
            refuse_foreign(connection, str(file))
            known = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'roost_migration'").fetchone()
            rows = connection.execute(_APPLIED).fetchall() if known else []
            return {int(str(version)): str(checksum) for version, checksum in rows}
        finally:
            connection.close()
    except apsw.Error as error:
        raise unreadable(str(file), error) from error


def applied_to_postgres(connection: psycopg.Connection) -> dict[int, str]:
    """See `applied`."""
    known = connection.execute("SELECT to_regclass('roost_migration') IS NOT NULL").fetchone()
    return dict(connection.execute(_APPLIED).fetchall()) if known and known[0] else {}


def postgres(url: str) -> psycopg.Connection:
    """A connection of its own to the database; raises `StoreUnsupported` without the driver, `Unavailable`."""
    from roost.engine.opening import require_postgres_driver

    require_postgres_driver()
    import psycopg

    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_SECONDS)
    except psycopg.Error as error:
        raise Unavailable(
            f"the database cannot be reached: {str(error).strip()}",
            help="look at the address, and at the database's log",
        ) from None


def bring_up_to_date(url: str) -> None:
    """Apply what is missing, by opening the store as any program does; raises what `open_store` raises."""
    from roost.engine.opening import open_store
    from roost.service.ids import system_rng

    open_store(url, "embedded", rng=system_rng).close()
