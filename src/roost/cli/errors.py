"""``roost errors``: failures that are alike, in groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import output, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, paged, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.contract import Operation
    from roost.wire.search import ErrorGroup, ErrorRef

FINGERPRINT = click.argument("fingerprint")


@click.group("errors", cls=Group)
def command() -> None:
    """Look at failures in groups; retry, mute and resolve them."""


COLUMNS: tuple[Column[ErrorGroup], ...] = (
    Column("FINGERPRINT", lambda one: one.fingerprint),
    Column("STATE", lambda one: one.state),
    Column("COUNT", lambda one: one.count, right=True),
    Column("LAST", lambda one: times.short(one.last_seen)),
    Column("TYPE", lambda one: one.type, elastic=True),
    Column("MESSAGE", lambda one: one.message, elastic=True),
    Column("IN", lambda one: one.frame, elastic=True),
)


@command.command("list")
@click.option("--state", type=click.Choice(("open", "muted", "resolved")), help="Only in this state.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@listing
@pass_session
def list_command(session: Session, state: str | None, limit: int, everything: bool) -> None:
    """List groups of errors, last seen first."""
    import msgspec

    from roost.wire.contract import LIST_ERRORS
    from roost.wire.search import ErrorState, ListErrors

    wanted = None if state is None else msgspec.convert(state, ErrorState)

    def ask(cursor: str | None, size: int) -> tuple[list[ErrorGroup], str | None]:
        page = session.send(LIST_ERRORS, ListErrors(state=wanted, limit=size, cursor=cursor))
        return page.errors, page.cursor

    pages = paged(ask, limit, everything)
    output.emit_pages(pages, session.format, COLUMNS, lambda one: one.fingerprint, "no errors")


@command.command("show")
@FINGERPRINT
@reading
@pass_session
def show_command(session: Session, fingerprint: str) -> None:
    """Show a group: where its jobs are now, and its last error."""
    from roost.wire.contract import GET_ERROR
    from roost.wire.search import ErrorRef

    found = session.send(GET_ERROR, ErrorRef(fingerprint=fingerprint))

    def show() -> None:
        _fields(found)
        if found.jobs:
            output.section("jobs")
            output.indented(f"{one.jobs:,} {one.state} in {one.queue} ({one.kind})" for one in found.jobs)
        if found.error is not None and found.error.traceback:
            output.section("the last one")
            output.indented(found.error.traceback.splitlines())
        output.note(f"roost jobs list 'fp:{found.fingerprint}'  ·  roost errors retry {found.fingerprint}")

    output.emit_one(found, session.format, show, lambda: found.fingerprint)


@command.command("retry")
@FINGERPRINT
@click.option("--rate", metavar="N/s", help="At most so many jobs a second (s, m, h).")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only count.")
@writing
@pass_session
def retry_command(session: Session, fingerprint: str, rate: str | None, yes: bool, dry_run: bool) -> int:
    """Run a group's failed jobs again, in bulk."""
    from roost.cli.bulk_operations import act
    from roost.wire.contract import GET_ERROR
    from roost.wire.search import ErrorRef

    found = session.send(GET_ERROR, ErrorRef(fingerprint=fingerprint))
    query = ("state:failed", f"fp:{found.fingerprint}")
    return act(session, "retry", query, yes=yes, dry_run=dry_run, detach=False, rate=rate)


@command.command("mute")
@FINGERPRINT
@writing
@pass_session
def mute_command(session: Session, fingerprint: str) -> None:
    """Keep a group out of the open ones, also when it comes back."""
    from roost.wire.contract import MUTE_ERROR

    _change(session, MUTE_ERROR, fingerprint)


@command.command("resolve")
@FINGERPRINT
@writing
@pass_session
def resolve_command(session: Session, fingerprint: str) -> None:
    """It is repaired: when it comes back it is open again."""
    from roost.wire.contract import RESOLVE_ERROR

    _change(session, RESOLVE_ERROR, fingerprint)


@command.command("reopen")
@FINGERPRINT
@writing
@pass_session
def reopen_command(session: Session, fingerprint: str) -> None:
    """Open a muted or resolved group again."""
    from roost.wire.contract import REOPEN_ERROR

    _change(session, REOPEN_ERROR, fingerprint)


def _change(session: Session, operation: Operation[ErrorRef, ErrorGroup], fingerprint: str) -> None:
    from roost.wire.search import ErrorRef

    found = session.send(operation, ErrorRef(fingerprint=fingerprint, actor=session.who()))
    output.emit_one(found, session.format, lambda: _fields(found), lambda: found.fingerprint)


def _fields(found: ErrorGroup) -> None:
    output.fields(
        (
            ("fingerprint", found.fingerprint),
            ("state", found.state),
            ("changed by", found.changed_by),
            ("type", found.type),
            ("message", found.message),
            ("in", found.frame),
            ("attempts", found.count),
            ("first seen", times.full(found.first_seen)),
            ("last seen", times.full(found.last_seen)),
            ("last job", found.last_job),
        )
    )
