"""What ``roost doctor`` looks at in a PostgreSQL database: schema, clock, and what its promises rest on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from roost.cli import stores, times
from roost.cli.checks import Check, Verdict, clock, schema

if TYPE_CHECKING:
    import psycopg

_NAMES = (
    "fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names", "data_checksums", "max_connections",
    "idle_in_transaction_session_timeout", "default_transaction_isolation", "default_transaction_read_only",
)  # fmt: skip
_MANY_USED = 0.8


def database(url: str) -> Iterator[Check]:
    """All checks of the database at ``url``; raises `Unavailable` and `StoreUnsupported` where it cannot be reached."""
    with stores.postgres(url) as connection:
        import psycopg

        from roost.engine.postgres.connection import OLDEST
        from roost.engine.postgres.durability import describe

        version = connection.info.server_version
        shown = f"PostgreSQL {version // 10_000}.{version % 10_000} answers"
        yield Check("store", "ok" if version >= OLDEST else "fail", shown, "14 or newer" * (version < OLDEST))
        try:
            yield schema(stores.applied_to_postgres(connection), stores.POSTGRES)
        except psycopg.Error as error:
            yield Check("schema", "fail", str(error).strip(), "give this account rights on the schema")
        yield _clock(connection)
        settings = _settings(connection)
        yield from durability(settings)
        guarantee = describe(connection)
        verdict: Verdict = "fail" if "power loss: may lose" in guarantee else "ok"
        yield Check("guarantee", verdict, guarantee, "" if verdict == "ok" else "mend the settings above")
        yield from _room(connection, settings)


def _settings(connection: psycopg.Connection) -> dict[str, str]:
    rows = connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(_NAMES)])
    return {str(name): str(setting) for name, setting in rows}


def _clock(connection: psycopg.Connection) -> Check:
    before = times.now_ms()
    row = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint").fetchone()
    after = times.now_ms()
    return clock("the database's clock", int(row[0]) if row else before, before, after)


def durability(settings: dict[str, str]) -> Iterator[Check]:
    """The settings that decide what an acknowledged write survives."""
    fsync, pages = settings.get("fsync") == "on", settings.get("full_page_writes") == "on"
    yield _setting("fsync", settings, fsync, "fail", "without it a power cut corrupts the database: set fsync = on")
    yield _setting("full_page_writes", settings, pages, "fail", "without it a power cut can tear pages: set it on")
    commit = settings.get("synchronous_commit", "unknown")
    # Roost asks for it in each of its transactions, so that the server's own value weakens nothing.
    yield Check("setting", "ok", f"synchronous_commit = {commit}{'' if commit == 'on' else ', but on for Roost'}")
    checksums = settings.get("data_checksums") == "on"
    yield _setting(
        "data_checksums", settings, checksums, "warn", "pg_checksums --enable finds silent damage of the disk"
    )
    writable = settings.get("default_transaction_read_only") == "off"
    yield _setting("default_transaction_read_only", settings, writable, "fail", "this is a standby, or set read-only")


def _setting(name: str, settings: dict[str, str], good: bool, otherwise: Verdict, help: str) -> Check:
    return Check(
        "setting", "ok" if good else otherwise, f"{name} = {settings.get(name, 'unknown')}", "" if good else help
    )


def _room(connection: psycopg.Connection, settings: dict[str, str]) -> Iterator[Check]:
    row = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'").fetchone()
    used, most = int(row[0]) if row else 0, int(settings.get("max_connections", "100"))
    verdict: Verdict = "warn" if used >= most * _MANY_USED else "ok"
    help = "raise max_connections, or use PgBouncer" if verdict == "warn" else ""
    yield Check("connections", verdict, f"{used} of {most} used", help)
    size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    yield Check("size", "ok", f"{int(size[0]) / 2**20:.1f} MiB" if size else "unknown")
