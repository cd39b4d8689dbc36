"""``roost outbox``: the table in a user's database where jobs wait for Roost, and the relay that brings them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from roost.cli import choosing, exit_codes, output, times
from roost.cli.lazy import Group
from roost.cli.logging_setup import log_option, log_to_stderr
from roost.cli.output import Column
from roost.cli.session import Session, format_option, pass_session

if TYPE_CHECKING:
    from roost.outboxes.links import Link
    from roost.outboxes.table import Entry

P = ParamSpec("P")
R = TypeVar("R")


@click.group("outbox", cls=Group)
def command() -> None:
    """Jobs that wait in a program's own database, and the relay that brings them to Roost."""


def _database_option(command: Callable[P, R]) -> Callable[P, R]:
    return click.option(
        "--database", metavar="URL", required=True, help="Where the outbox is: postgresql://… or sqlite:///file."
    )(command)


@command.command("install")
@click.argument("database", metavar="URL")
@format_option
@pass_session
def install_command(session: Session, database: str) -> None:
    """Make the outbox table in the database at URL; where it is there already, nothing is changed."""
    from roost.outboxes import table

    with _outbox(database, create=True) as link:
        was_there = table.exists(link)
        table.create(link)
    told = {"outbox": "roost_outbox", "state": "there already" if was_there else "made"}
    output.emit_one(told, session.format, lambda: output.say(f"roost_outbox: {told['state']}"), lambda: "roost_outbox")


@command.command(
    "relay", epilog="Example: roost outbox relay --database sqlite:///shop.db --server http://127.0.0.1:7667"
)
@_database_option
@click.option("--server", metavar="URL", help="The Roost the jobs go to; else ROOST_URL, configuration, ./roost.db.")
@click.option("--keep", metavar="DURATION", help="How long delivered rows stay; else they are deleted at once.")
@click.option("--until-empty", is_flag=True, help="End when nothing waits any more.")
@log_option
@format_option
@pass_session
def relay_command(
    session: Session, database: str, server: str | None, keep: str | None, until_empty: bool, log_level: str
) -> int:
    """Bring rows to Roost, in order, each exactly once. Any number may run; one works, the others stand by."""
    import signal

    from roost.cli import target
    from roost.outboxes.relay import Relay

    log_to_stderr(log_level)
    url = target.resolve(server if server is not None else session.url)
    relay = Relay(database, url, keep=keep)
    if until_empty:
        count = relay.run_until_empty()
        told = {"delivered": count, "refused": relay.refused}
        output.emit_one(
            told,
            session.format,
            lambda: output.say(f"{count} brought, {relay.refused} set aside"),
            lambda: str(count),
        )
        return exit_codes.OK
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: relay.stop())
    output.note(f"{relay.name}: from {target.without_password(database)} to {target.without_password(url)}")
    relay.run_sync()
    return exit_codes.OK


@command.command("status")
@_database_option
@format_option
@pass_session
def status_command(session: Session, database: str) -> None:
    """How much waits, since when, and how much was set aside."""
    from roost.outboxes import table
    from roost.wire.codec import timestamp

    with _outbox(database) as link:
        status = table.status(link)

    def show() -> None:
        since = f", the oldest {times.full(timestamp(status.oldest_at))}" if status.oldest_at is not None else ""
        output.say(f"waiting    {status.waiting}{since}")
        output.say(f"refused    {status.refused}")
        output.say(f"delivered  {status.delivered} (kept)")
        output.say(f"batches    {status.batches}, the last by {status.relay or 'nobody'}")

    output.emit_one(status, session.format, show, lambda: status.outbox)


@command.command("list")
@_database_option
@click.option("--refused", is_flag=True, help="Only the rows that were set aside.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="Rows at most.")
@choosing.option
@format_option
@pass_session
def list_command(session: Session, database: str, refused: bool, limit: int) -> None:
    """The rows in the outbox, the oldest first; what Roost refused, with why."""
    from roost.outboxes import table
    from roost.wire.codec import timestamp

    with _outbox(database) as link:
        rows = table.entries(link, refused=refused, limit=limit)
    columns: tuple[Column[Entry], ...] = (
        Column("ID", lambda row: row.id),
        Column("KIND", lambda row: row.kind, elastic=True),
        Column("STATE", lambda row: row.state),
        Column("WRITTEN", lambda row: times.short(timestamp(row.created_at))),
        Column("JOB", lambda row: row.job_id or "", right=True),
        Column("ERROR", lambda row: f"{row.error.code}: {row.error.message}" if row.error else "", elastic=True),
    )
    output.emit_pages([rows], session.format, columns, lambda row: row.id, "the outbox is empty")


@command.command("retry")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@_database_option
@format_option
@pass_session
def retry_command(session: Session, ids: tuple[str, ...], database: str) -> None:
    """Send refused rows again: those named, else all."""
    from roost.outboxes import table

    with _outbox(database) as link:
        count = table.retry(link, [*ids])
    _tell_count(session, count, "will be sent again")


@command.command("discard")
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@_database_option
@format_option
@pass_session
def discard_command(session: Session, ids: tuple[str, ...], database: str) -> None:
    """Delete the refused rows that are named: their jobs will never be."""
    from roost.outboxes import table

    with _outbox(database) as link:
        count = table.discard(link, [*ids])
    _tell_count(session, count, "deleted")


def _tell_count(session: Session, count: int, what: str) -> None:
    output.emit_one({"rows": count}, session.format, lambda: output.say(f"{count} {what}"), lambda: str(count))


@contextmanager
def _outbox(database: str, create: bool = False) -> Iterator[Link]:
    """A transaction in the outbox's database; raises `ConfigurationError` where there is no outbox in it."""
    from roost.outboxes import table
    from roost.outboxes.places import open_place

    place = open_place(database)
    try:
        with place.transaction() as link:
            if not create:
                table.require(link)
            yield link
    finally:
        place.close()
