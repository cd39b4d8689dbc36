"""``roost views``: saved queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import output, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.search import View

NAME = click.argument("name")
SORTS = tuple(f"{sign}{key}" for key in ("created", "finished", "started", "priority", "run_at") for sign in ("-", ""))


@click.group("views", cls=Group)
def command() -> None:
    """Save queries under names; roost jobs list --view NAME uses one."""


COLUMNS: tuple[Column[View], ...] = (
    Column("VIEW", lambda view: view.name, elastic=True),
    Column("QUERY", lambda view: view.query, elastic=True),
    Column("SORT", lambda view: view.sort),
    Column("OWNER", lambda view: view.owner, elastic=True),
    Column("CHANGED", lambda view: times.short(view.changed_at)),
)


@command.command("list")
@listing
@pass_session
def list_command(session: Session) -> None:
    """List saved queries."""
    from roost.wire.contract import LIST_VIEWS
    from roost.wire.jobs import Empty

    found = session.send(LIST_VIEWS, Empty()).views
    output.emit_pages([found], session.format, COLUMNS, lambda view: view.name, "no views yet")


@command.command("show")
@NAME
@reading
@pass_session
def show_command(session: Session, name: str) -> None:
    """Show a saved query."""
    from roost.wire.contract import GET_VIEW
    from roost.wire.search import ViewRef

    _show(session, session.send(GET_VIEW, ViewRef(name=name)))


@command.command("save", epilog="Example: roost views save payments-failed 'state:failed queue:payments created:>24h'")
@NAME
@click.argument("query")
@click.option("--sort", type=click.Choice(SORTS), default="-created", show_default=True, help="The order.")
@writing
@pass_session
def save_command(session: Session, name: str, query: str, sort: str) -> None:
    """Save a query, or change what is saved."""
    import msgspec

    from roost.wire.contract import PUT_VIEW
    from roost.wire.search import PutView, SortText

    request = PutView(name=name, query=query, sort=msgspec.convert(sort, SortText), actor=session.who())
    _show(session, session.send(PUT_VIEW, request))


@command.command("delete")
@NAME
@writing
@pass_session
def delete_command(session: Session, name: str) -> None:
    """Forget a saved query."""
    from roost.wire.contract import DELETE_VIEW
    from roost.wire.search import ViewRef

    session.send(DELETE_VIEW, ViewRef(name=name, actor=session.who()))
    output.note(f"deleted {name}")


def _show(session: Session, view: View) -> None:
    def show() -> None:
        output.fields((("view", view.name), ("query", view.query), ("sort", view.sort), ("owner", view.owner)))

    output.emit_one(view, session.format, show, lambda: view.name)
