"""``roost sources``: whose webhooks become jobs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from roost.cli import output, text, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.webhooks import Source

NAME = click.argument("name")


@click.group("sources", cls=Group)
def command() -> None:
    """Look at and edit the sources whose webhooks become jobs."""


COLUMNS: tuple[Column[Source], ...] = (
    Column("SOURCE", lambda source: source.name, elastic=True),
    Column("QUEUE", lambda source: source.queue, elastic=True),
    Column("KIND", lambda source: source.kind, elastic=True),
    Column("SCHEME", lambda source: source.scheme),
    Column("SECRETS", lambda source: source.secrets, right=True),
    Column("CHANGED", lambda source: times.short(source.changed_at)),
)


@command.command("list")
@listing
@pass_session
def list_command(session: Session) -> None:
    """List all sources."""
    from roost.wire.contract import LIST_SOURCES
    from roost.wire.jobs import Empty

    found = session.send(LIST_SOURCES, Empty()).sources
    output.emit_pages([found], session.format, COLUMNS, lambda source: source.name, "no sources yet")


@command.command("show")
@NAME
@reading
@pass_session
def show_command(session: Session, name: str) -> None:
    """Show a source."""
    from roost.wire.contract import GET_SOURCE
    from roost.wire.webhooks import SourceRef

    _show(session, session.send(GET_SOURCE, SourceRef(name=name)))


@command.command("put")
@NAME
@click.option("--queue", metavar="NAME", required=True, help="Its jobs go into this queue.")
@click.option("--kind", metavar="TEXT", help="The kind of its jobs, with {source} and {event}; else {source}.{event}.")
@click.option(
    "--scheme", type=click.Choice(("standard", "github", "stripe", "none")), help="Who signs how; else standard."
)
@click.option("--secret-file", "files", metavar="FILE", multiple=True, help="A file with a secret; - is stdin.")
@writing
@pass_session
def put_command(session: Session, /, name: str, queue: str, files: tuple[str, ...], **options: str | None) -> None:
    """Create a source, or edit it; a secret that Roost makes is shown once, one that is not given stays."""
    from roost.wire.codec import convert
    from roost.wire.contract import PUT_SOURCE
    from roost.wire.webhooks import PutSource

    given = {field: value for field, value in options.items() if value is not None}
    secrets = [_read(file) for file in files]
    fields = {"name": name, "queue": queue, "actor": session.who(), "secrets": secrets or None, **given}
    _show(session, session.send(PUT_SOURCE, convert(fields, PutSource)))


@command.command("delete")
@NAME
@writing
@pass_session
def delete_command(session: Session, name: str) -> None:
    """Take no more webhooks of a source; its jobs stay."""
    from roost.wire.contract import DELETE_SOURCE
    from roost.wire.webhooks import SourceRef

    session.send(DELETE_SOURCE, SourceRef(name=name, actor=session.who()))
    output.emit_one(
        {"name": name}, session.format, lambda: output.say(f"deleted source {text.line(name)}"), lambda: name
    )


def _read(file: str) -> str:
    try:
        return (sys.stdin.read() if file == "-" else Path(file).read_text()).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read {file}: {error}") from None


def _show(session: Session, source: Source) -> None:
    def show() -> None:
        output.say(output.strong(f"source {text.line(source.name)}: ") + f"POST /api/v1/webhooks/{source.queue}")
        output.fields(
            [
                ("secret", source.secret),
                ("scheme", source.scheme),
                ("queue", source.queue),
                ("kind", source.kind),
                ("secrets", source.secrets or ""),
                ("changed", times.full(source.changed_at)),
            ]
        )
        if source.secret:
            output.note("this secret is not shown again")

    output.emit_one(source, session.format, show, lambda: source.name)
