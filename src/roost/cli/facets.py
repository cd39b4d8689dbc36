"""``roost jobs facets``: the values a query can be completed with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import output
from roost.cli.output import Column
from roost.cli.session import Session, pass_session, reading

if TYPE_CHECKING:
    from roost.wire.search import Facet

COLUMNS: tuple[Column[Facet], ...] = (
    Column("VALUE", lambda one: one.value, elastic=True),
    Column("JOBS", lambda one: f"{one.jobs:,}", right=True),
)


@click.command("facets", epilog="roost jobs facets queue 'state:failed'")
@click.argument("field")
@click.argument("query", nargs=-1)
@click.option("--prefix", default="", help="Only values that begin so.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="At most this many.")
@reading
@pass_session
def facets_command(session: Session, field: str, query: tuple[str, ...], prefix: str, limit: int) -> None:
    """List the frequent values of FIELD among the newest jobs that match QUERY.

    Fields are queue, kind, state, reason, worker, type, schedule, tag (its keys) and tag.KEY.
    """
    from roost.wire.contract import JOB_FACETS
    from roost.wire.search import ListFacets

    request = ListFacets(field=field, prefix=prefix, query=" ".join(query), limit=limit)
    found = session.send(JOB_FACETS, request)
    output.emit_pages([found.values], session.format, COLUMNS, lambda one: one.value, "no values")
    if session.format == "table" and not found.complete:
        output.note(f"of the newest {found.jobs:,} jobs that match; there are more")
