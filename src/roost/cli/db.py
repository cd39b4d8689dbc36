"""``roost db``: the store's schema."""

from __future__ import annotations

import click

from roost.cli import exit_codes, output
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, pass_session, reading


@click.group("db", cls=Group)
def command() -> None:
    """The store's schema."""


@command.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 where something is missing.")
@reading
@pass_session
def migrate_command(session: Session, check: bool) -> int:
    """Bring a store's schema up to this Roost's version; every step is one transaction and only goes forward."""
    from roost.cli import bulk, stores, target
    from roost.engine.migrate import load

    url = target.resolve(session.url)
    file = target.sqlite_file(url)
    new = file is not None and not file.exists() and not check
    known = load(stores.package(url))
    todo = known if new else stores.missing(url)
    if todo and not check:
        with bulk.progress("migrate", None):
            for migration in todo:
                output.note(f"migration {migration.version:04} {migration.name}")
            stores.bring_up_to_date(url)
    rows: list[dict[str, object]] = [
        {
            "version": migration.version,
            "name": migration.name,
            "state": "applied" if migration not in todo else "missing" if check else "applied now",
        }
        for migration in known
    ]
    columns: tuple[Column[dict[str, object]], ...] = (
        Column("VERSION", lambda row: row["version"], right=True),
        Column("NAME", lambda row: row["name"]),
        Column("STATE", lambda row: row["state"]),
    )
    output.emit_pages([rows], session.format, columns, lambda row: row["version"], "no migrations")
    return exit_codes.FAILED if todo and check else exit_codes.OK
