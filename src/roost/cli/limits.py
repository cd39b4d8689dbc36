"""``roost limits``: what each key allows, how much of it is taken, who waits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import output, text, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, pass_session, writing

if TYPE_CHECKING:
    from roost.wire.limits import Limiter


@click.group("limits", cls=Group)
def command() -> None:
    """Look at and set limits by key."""


def _of(taken: int, most: int | None) -> str:
    return f"{taken}/{'-' if most is None else most}"


def _rate(limiter: Limiter) -> str:
    return "" if limiter.rate is None else f"{limiter.rate} (burst {limiter.burst})"


def _next(limiter: Limiter) -> str:
    return "" if limiter.next_at is None else times.short(limiter.next_at)


COLUMNS: tuple[Column[Limiter], ...] = (
    Column("KEY", lambda limiter: limiter.key, elastic=True),
    Column("RUNNING", lambda limiter: _of(limiter.running, limiter.concurrency), right=True),
    Column("RATE", _rate),
    Column("AVAILABLE", lambda limiter: "" if limiter.available is None else limiter.available, right=True),
    Column("NEXT", _next),
    Column("WAITING", lambda limiter: limiter.waiting, right=True),
)


@command.command("list")
@click.argument("prefix", default="")
@click.option("--limit", type=click.IntRange(1, 500), default=100, help="At most this many.")
@listing
@pass_session
def list_command(session: Session, /, prefix: str, limit: int) -> None:
    """List keys (those that begin with PREFIX): what runs of what may, the rate, and how many jobs wait."""
    from roost.wire.contract import LIST_LIMITS
    from roost.wire.limits import ListLimits

    found = session.send(LIST_LIMITS, ListLimits(prefix=prefix, limit=limit)).limits
    output.emit_pages([found], session.format, COLUMNS, lambda limiter: limiter.key, "no limits")


@command.command("set", epilog="Without options the key limits nothing any more: roost limits set tenant:acme")
@click.argument("key")
@click.option("--concurrency", type=click.IntRange(min=1), help="How many of its jobs run at once.")
@click.option("--rate", metavar="RATE", help="How many of its jobs start, such as 100/m (s, m, h, d).")
@click.option("--burst", type=click.IntRange(min=1), help="How many of them may start at once.")
@writing
@pass_session
def set_command(session: Session, /, key: str, concurrency: int | None, rate: str | None, burst: int | None) -> None:
    """Set what a key allows; where that is more, jobs that wait for it start at once.

    A job enqueued later with numbers of its own for the key sets them again.
    """
    from roost.wire.contract import EDIT_LIMIT
    from roost.wire.limits import EditLimit

    request = EditLimit(key=key, concurrency=concurrency, rate=rate, burst=burst, actor=session.who())
    limiter = session.send(EDIT_LIMIT, request)

    def show() -> None:
        output.say(output.strong(f"limit {text.line(limiter.key)}"))
        output.fields(
            [
                ("running", _of(limiter.running, limiter.concurrency)),
                ("rate", _rate(limiter)),
                ("next", _next(limiter)),
                ("waiting", limiter.waiting),
            ]
        )

    output.emit_one(limiter, session.format, show, lambda: limiter.key)
