"""``roost indexes``: the paths of inputs that searches find at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import output, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, pass_session, writing

if TYPE_CHECKING:
    from roost.wire.search import IndexDeclared


@click.group("indexes", cls=Group)
def command() -> None:
    """Declare paths of inputs that searches find at once, such as input.user.id."""


COLUMNS: tuple[Column[IndexDeclared], ...] = (
    Column("PATH", lambda index: index.path, elastic=True),
    Column("KIND", lambda index: index.kind or "(all)", elastic=True),
    Column("STATE", lambda index: index.state),
    Column("DECLARED", lambda index: times.short(index.declared_at)),
    Column("BY", lambda index: index.declared_by, elastic=True),
)
KIND = click.option("--kind", metavar="NAME", help="Of this kind's jobs only.")


@command.command("list")
@listing
@pass_session
def list_command(session: Session) -> None:
    """List declared paths."""
    from roost.wire.contract import LIST_INDEXES
    from roost.wire.jobs import Empty

    _list(session, session.send(LIST_INDEXES, Empty()).indexes)


@command.command("add", epilog="Example: roost indexes add input.user.id --kind mail.send")
@click.argument("path")
@KIND
@writing
@pass_session
def add_command(session: Session, path: str, kind: str | None) -> None:
    """Index a path; searches use it when it is ready."""
    from roost.wire.contract import DECLARE_INDEX
    from roost.wire.search import DeclareIndex

    _list(session, session.send(DECLARE_INDEX, DeclareIndex(path=path, kind=kind, actor=session.who())).indexes)


@command.command("remove")
@click.argument("path")
@KIND
@writing
@pass_session
def remove_command(session: Session, path: str, kind: str | None) -> None:
    """Use an index no more, and forget it."""
    from roost.wire.contract import REMOVE_INDEX
    from roost.wire.search import RemoveIndex

    _list(session, session.send(REMOVE_INDEX, RemoveIndex(path=path, kind=kind, actor=session.who())).indexes)


def _list(session: Session, found: list[IndexDeclared]) -> None:
    output.emit_pages([found], session.format, COLUMNS, lambda index: index.path, "no indexed paths")
