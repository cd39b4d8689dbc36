"""``roost db``: the store's schema, copies of its file, and files that other programs wrote to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from roost.cli import exit_codes, output
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, format_option, pass_session, reading

P = ParamSpec("P")
R = TypeVar("R")


@click.group("db", cls=Group)
def command() -> None:
    """The store's schema and file."""


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


def _store_option(command: Callable[P, R]) -> Callable[P, R]:
    return click.option(
        "--store", metavar="URL", help="sqlite:///file; else ROOST_STORE, the server's configuration, ./roost.db."
    )(command)


@command.command("backup")
@click.argument("dest", metavar="DEST", type=click.Path(path_type=Path))
@_store_option
@format_option
@pass_session
def backup_command(session: Session, dest: Path, store: str | None) -> None:
    """Copy a SQLite store to the new file DEST, with a server or programs at work on it; the copy is verified."""
    from roost.cli import bulk
    from roost.engine.sqlite.backup import back_up

    file = _file(store or session.url, "pg_dump makes a backup of it")
    with bulk.progress("backup, MiB", file.stat().st_size >> 20 if file.is_file() else 0) as advance:
        size = back_up(file, dest, advance)
    output.emit_one(
        {"file": str(dest), "bytes": size},
        session.format,
        lambda: output.say(f"{dest}: a verified copy of {file}, {size:,} bytes"),
        lambda: dest,
    )


@command.command("adopt")
@_store_option
@format_option
@pass_session
def adopt_command(session: Session, store: str | None) -> None:
    """Give a SQLite store its checksums again after another SQLite program wrote to it; nothing else may use it.

    Roost cannot know whether that program or a failing disk changed a page. A spoilt structure is refused; a value
    that was spoilt before looks like any other and is vouched for from then on. Where the disk is in doubt, restore a
    backup instead. It needs room for two more copies of the file.
    """
    from roost.engine.sqlite.maintenance import adopt

    done = adopt(_file(store or session.url, "it keeps its own checksums"))

    def show() -> None:
        if not done.changed:
            output.say(f"{done.file} is sound; nothing was changed")
            return
        output.say(
            f"{done.file}: {done.without_checksum:,} of {done.pages:,} pages had no valid checksum; all were written"
            " anew and verified"
        )
        output.note(
            "SQLite's integrity check found nothing, but it sees structure, not values: had the disk changed a value in"
            " those pages, nobody could tell."
        )

    output.emit_one(done, session.format, show, lambda: done.file)


def _file(store: str | None, postgres: str) -> Path:
    """The file of the store; raises `ConfigurationError` for another kind, saying what ``postgres`` is about."""
    import os

    from roost.cli import stores, target
    from roost.errors import ConfigurationError
    from roost.server.settings import load

    url = load({"store": store}, os.environ, Path.cwd()).store
    if stores.package(url) == stores.POSTGRES:
        raise ConfigurationError(
            f"{target.without_password(url)} is a PostgreSQL database, not a file", path="store", help=postgres
        )
    file = target.sqlite_file(url)
    if file is None:
        raise ConfigurationError("a store in memory has no file", path="store", help="give --store sqlite:///file")
    return file
