"""The schema's migrations, applied by one node at a time."""

from __future__ import annotations

from roost.engine import migrate
from roost.engine.postgres.connection import Connection

LOCK = 0x526F6F7374
"""The advisory lock of migrations: "Roost" in ASCII."""


def upgrade(connection: Connection) -> list[str]:
    """Apply what the database lacks, all in one transaction; the names. Raises as `migrate.pending`."""
    known = migrate.load("roost.engine.postgres")
    with connection.transaction():
        # Held to the transaction's end, which a pooler does not cut in two.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS roost_migration "
            "(version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL)"
        )
        applied = {
            int(str(version)): str(checksum)
            for version, checksum in connection.execute("SELECT version, checksum FROM roost_migration")
        }
        todo = migrate.pending(known, applied)
        for migration in todo:
            for statement in migrate.statements(migration.sql):
                connection.execute(statement.encode())
            connection.execute(
                "INSERT INTO roost_migration VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.checksum),
            )
    return [migration.name for migration in todo]
