"""``roost jobs`` dependencies and children: what a job has to do with others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import output, times
from roost.cli.job_columns import COLUMNS
from roost.cli.output import Column
from roost.cli.session import Session, listing, paged, pass_session

if TYPE_CHECKING:
    from roost.wire.flow import Dependency
    from roost.wire.jobs import JobSummary

JOB = click.argument("id", type=click.IntRange(min=0))
LIMIT = click.option("--limit", type=click.IntRange(min=1), default=50, help="How many; 50 where not given.")
ALL = click.option("--all", "everything", is_flag=True, help="All of them.")


def _needed(need: Dependency) -> str:
    return "deleted" if need.state is None else need.state.value


NEEDS: tuple[Column[Dependency], ...] = (
    Column("ID", lambda need: need.id, right=True),
    Column("STATE", _needed),
    Column("REASON", lambda need: need.reason),
    Column("WAITED FOR", lambda need: "yes" if need.pending else "no"),
    Column("KIND", lambda need: need.kind, elastic=True),
    Column("QUEUE", lambda need: need.queue, elastic=True),
    Column("ENDED", lambda need: times.short(need.finished_at)),
)


@click.command("dependencies")
@JOB
@click.option("--results", is_flag=True, help="With their results (-o json or jsonl).")
@listing
@pass_session
def dependencies_command(session: Session, id: int, results: bool) -> None:
    """List the jobs it waits for, or waited for."""
    from roost.wire.contract import JOB_DEPENDENCIES
    from roost.wire.flow import ListDependencies

    def ask(cursor: str | None, size: int) -> tuple[list[Dependency], str | None]:
        request = ListDependencies(id=id, results=results, limit=min(size, 200), cursor=cursor)
        page = session.send(JOB_DEPENDENCIES, request)
        return page.dependencies, page.cursor

    output.emit_pages(paged(ask, 0, True), session.format, NEEDS, lambda need: need.id, "it waits for no other job")


@click.command("children")
@JOB
@LIMIT
@ALL
@listing
@pass_session
def children_command(session: Session, id: int, limit: int, everything: bool) -> None:
    """List its children, newest first."""
    from roost.wire.contract import JOB_CHILDREN
    from roost.wire.flow import ListChildren

    def ask(cursor: str | None, size: int) -> tuple[list[JobSummary], str | None]:
        page = session.send(JOB_CHILDREN, ListChildren(id=id, limit=size, cursor=cursor))
        return page.jobs, page.cursor

    output.emit_pages(paged(ask, limit, everything), session.format, COLUMNS, lambda job: job.id, "it has no children")


COMMANDS = (dependencies_command, children_command)
