"""Databases on PostgreSQL, lent to one test after the other: to make one costs more than most tests do."""

from __future__ import annotations

import psycopg
from psycopg import sql

from tests.support.postgres import PostgresServer

# Of what is no part of PostgreSQL itself.
_RELATIONS = """
    SELECT relname, relkind FROM pg_class WHERE oid >= 16384 AND relnamespace <> 'pg_toast'::regnamespace
"""

# A test may do more than write rows: what changes a schema leaves newer rows or fewer in one of these. TRUNCATE is
# none of it, and writes to pg_class alone.
_SHAPE = " UNION ALL ".join(
    f"SELECT count(*), max(xmin::text::bigint) FROM {catalogue}"  # noqa: S608
    for catalogue in ("pg_attribute", "pg_constraint", "pg_trigger", "pg_proc", "pg_db_role_setting")
)
_SHAPE += " UNION ALL SELECT count(relacl), count(reloptions) FROM pg_class"

_END_SESSIONS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""

# TRUNCATE makes new files, which costs more than to delete the rows of most tests.
_DELETE_ROWS = """
    DO $$
    DECLARE filled regclass;
    BEGIN
        FOR filled IN
            SELECT oid FROM pg_class WHERE oid >= 16384 AND relkind = 'r' AND pg_relation_size(oid) > 0
        LOOP
            IF pg_relation_size(filled) > 262144 THEN
                EXECUTE 'TRUNCATE ' || filled;
            ELSE
                EXECUTE 'DELETE FROM ' || filled;
            END IF;
        END LOOP;
    END $$
"""

_REWIND_SEQUENCES = """
    SELECT setval(name::regclass, value, called)
    FROM unnest(%s::text[], %s::bigint[], %s::boolean[]) AS sequence (name, value, called)
"""


_FEW = 5
"""Tables of a test's own that are dropped; with more of them a new database is cheaper."""


class Databases:
    """Copies of the database at URL `template` of `server`, which nobody may be using."""

    def __init__(self, server: PostgresServer, template: str) -> None:
        self._server = server
        self._template = template
        with psycopg.connect(template) as database:
            self._shape = database.execute(_SHAPE).fetchall()
            relations = database.execute(_RELATIONS).fetchall()
            self._names = {name for name, _ in relations}
            tables = [name for name, kind in relations if kind == "r"]
            rows = {table: _rows(database, table) for table in tables}
            self._rows = {table: text for table, text in rows.items() if text is not None}
            self._sequences = [(name, *_position(database, name)) for name, kind in relations if kind == "S"]
        self._free: list[str] = []

    def lend(self) -> str:
        """The URL of a database nobody else uses until it is taken back."""
        return self._free.pop() if self._free else self._server.create_database(template=self._template)

    def take_back(self, url: str) -> None:
        """Ends the sessions in the database and makes it what it was; removes it where its schema was changed."""
        if self._restored(url):
            self._free.append(url)
        else:
            self._server.drop_database(url)

    def _restored(self, url: str) -> bool:
        with psycopg.connect(url) as database:
            database.execute(_END_SESSIONS)
            found = database.execute(_RELATIONS).fetchall()
            added = [name for name, kind in found if kind == "r" and name not in self._names]
            if len(added) > _FEW:
                return False
            for table in added:
                database.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(table)))
            if database.execute(_SHAPE).fetchall() != self._shape:
                return False
            database.execute(_DELETE_ROWS)
            for table, rows in self._rows.items():
                database.execute(
                    sql.SQL(
                        "INSERT INTO {0} OVERRIDING SYSTEM VALUE SELECT * FROM json_populate_recordset(NULL::{0}, %s)"
                    ).format(sql.Identifier(table)),
                    [rows],
                )
            if self._sequences:
                database.execute(_REWIND_SEQUENCES, [list(column) for column in zip(*self._sequences, strict=True)])
        return True


def _rows(database: psycopg.Connection, table: str) -> str | None:
    found = database.execute(sql.SQL("SELECT json_agg(t)::text FROM {} AS t").format(sql.Identifier(table))).fetchone()
    assert found is not None
    text: str | None = found[0]
    return text


def _position(database: psycopg.Connection, sequence: str) -> tuple[int, bool]:
    found = database.execute(
        sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(sequence))
    ).fetchone()
    assert found is not None
    return found[0], found[1]
