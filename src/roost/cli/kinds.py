"""``roost kinds``: the schemas that inputs must fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import inputs, output, text, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.kinds import KindSchema


@click.group("kinds", cls=Group)
def command() -> None:
    """Say what the inputs of jobs of a kind must look like."""


NAME = click.argument("name")
COLUMNS: tuple[Column[KindSchema], ...] = (
    Column("KIND", lambda kind: kind.name, elastic=True),
    Column("CHANGED", lambda kind: times.short(kind.changed_at)),
    Column("BY", lambda kind: kind.changed_by),
    Column("SCHEMA", lambda kind: bytes(kind.schema).decode(errors="replace"), elastic=True),
)


@command.command("list")
@listing
@pass_session
def list_command(session: Session) -> None:
    """List the kinds that have a schema."""
    from roost.wire.contract import LIST_KINDS
    from roost.wire.jobs import Empty

    kinds = session.send(LIST_KINDS, Empty()).kinds
    output.emit_pages([kinds], session.format, COLUMNS, lambda kind: kind.name, "no kind has a schema")


@command.command("show")
@NAME
@reading
@pass_session
def show_command(session: Session, name: str) -> None:
    """Show a kind's schema."""
    from roost.wire.contract import GET_KIND
    from roost.wire.kinds import KindRef

    _show(session, session.send(GET_KIND, KindRef(name=name)))


@command.command("set", epilog='Example: roost kinds set mail.send \'{"type": "object", "required": ["to"]}\'')
@NAME
@click.argument("schema", type=inputs.JSON, metavar="JSON|@FILE|-")
@writing
@pass_session
def set_command(session: Session, name: str, schema: bytes) -> None:
    """Refuse inputs of a kind that do not fit this JSON Schema, from now on."""
    import msgspec

    from roost.wire.contract import PUT_KIND
    from roost.wire.kinds import PutKind

    request = PutKind(name=name, schema=msgspec.Raw(schema), actor=session.who())
    session.may_create = True
    _show(session, session.send(PUT_KIND, request))


@command.command("delete")
@NAME
@writing
@pass_session
def delete_command(session: Session, name: str) -> None:
    """Take a kind's schema away: any input fits again."""
    from roost.wire.contract import DELETE_KIND
    from roost.wire.kinds import KindRef

    ref = KindRef(name=name, actor=session.who())
    session.send(DELETE_KIND, ref)
    output.emit_one(ref, session.format, lambda: output.say(f"{text.line(name)} takes any input"), lambda: name)


def _show(session: Session, kind: KindSchema) -> None:
    def show() -> None:
        output.say(output.strong(f"kind {text.line(kind.name)}"))
        output.fields([("changed", times.full(kind.changed_at)), ("by", kind.changed_by)])
        output.section("schema")
        output.indented(output.json_text(kind.schema, indent=2).split("\n"))

    output.emit_one(kind, session.format, show, lambda: kind.name)
