"""Stores opened by URL; a database's driver is loaded only here, and only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from roost.engine.protocol import Engine
from roost.engine.store import Role, Store
from roost.errors import ConfigurationError


def open_store(url: str, role: Role, *, rng: Callable[[], float], durable: bool = True) -> Store:
    """Open (and migrate) the store at ``sqlite:///path``, ``sqlite://:memory:`` or ``postgresql://…``.

    Raises `ConfigurationError` for another URL, `StoreOwned`, `StoreTooNew`, `StoreUnsupported`, `Unavailable`.
    ``durable=False`` is for tests only: it keeps every promise but power loss.
    """
    if url.startswith("sqlite:"):
        from roost.engine.sqlite.store import SqliteStore

        return SqliteStore.open(url, role, rng=rng, durable=durable)
    if url.startswith(("postgresql://", "postgres://")):
        from roost.engine.postgres.store import PostgresStore

        return PostgresStore.open(url, role, rng=rng)
    raise ConfigurationError(
        f"{url!r} is not a store", help="sqlite:///jobs.db, sqlite://:memory: or postgresql://user@host/database"
    )


def open_engine(spec: str, *, rng: Callable[[], float]) -> Engine:
    """A writing side from a store's ``spec``, in another process than the one that opened the store."""
    kind, _, rest = spec.partition("|")
    if kind == "sqlite":
        from roost.engine.sqlite.store import engine_from_spec as sqlite_engine

        return sqlite_engine(rest, rng=rng)
    from roost.engine.postgres.store import engine_from_spec as postgres_engine

    return postgres_engine(rest, rng=rng)
