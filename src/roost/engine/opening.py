"""Stores opened by URL; a database's driver is loaded only here, and only where it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from roost.engine.protocol import Engine
from roost.engine.store import Role, Store
from roost.errors import ConfigurationError, StoreUnsupported


def open_store(url: str, role: Role, *, rng: Callable[[], float], durable: bool = True) -> Store:
    """Open (and migrate) the store at ``sqlite:///path``, ``sqlite://:memory:`` or ``postgresql://…``.

    Raises `ConfigurationError` for another URL, `StoreOwned`, `StoreTooNew`, `StoreUnsupported` (also where the
    database's driver is not installed), `Unavailable`.
    ``durable=False`` is for tests only: it keeps every promise but power loss.
    """
    if url.startswith("sqlite:"):
        from roost.engine.sqlite.store import SqliteStore

        return SqliteStore.open(url, role, rng=rng, durable=durable)
    if url.startswith(("postgresql://", "postgres://")):
        require_postgres_driver()
        from roost.engine.postgres.store import PostgresStore

        return PostgresStore.open(url, role, rng=rng)
    raise ConfigurationError(
        f"{url!r} is not a store", help="sqlite:///jobs.db, sqlite://:memory: or postgresql://user@host/database"
    )


def require_postgres_driver() -> None:
    """Raises `StoreUnsupported` where psycopg is not installed, or finds no libpq."""
    try:
        import psycopg  # noqa: F401 - only whether it can be imported
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        told = "is not installed" if missing else f"cannot be loaded: {str(error).splitlines()[0]}"
        raise StoreUnsupported(f"the PostgreSQL driver {told}", help="pip install 'roost[postgres]'") from None


def open_engine(spec: str, *, rng: Callable[[], float]) -> Engine:
    """A writing side from a store's ``spec``, in another process than the one that opened the store."""
    kind, _, rest = spec.partition("|")
    if kind == "sqlite":
        from roost.engine.sqlite.store import engine_from_spec as sqlite_engine

        return sqlite_engine(rest, rng=rng)
    from roost.engine.postgres.store import engine_from_spec as postgres_engine

    return postgres_engine(rest, rng=rng)
