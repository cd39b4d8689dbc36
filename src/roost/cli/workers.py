"""``roost workers``: who runs jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import output, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, pass_session, writing

if TYPE_CHECKING:
    from roost.wire.attempts import Worker


COLUMNS: tuple[Column[Worker], ...] = (
    Column("ID", lambda worker: worker.id),
    Column("STATE", lambda worker: "draining" if worker.draining else ""),
    Column("HOST", lambda worker: worker.host, elastic=True),
    Column("PID", lambda worker: worker.pid, right=True),
    Column("RUNNING", lambda worker: f"{worker.running}/{worker.concurrency}", right=True),
    Column("QUEUES", lambda worker: ",".join(worker.queues), elastic=True),
    Column("KINDS", lambda worker: ",".join(worker.kinds), elastic=True),
    Column("VERSION", lambda worker: worker.version),
    Column("STARTED", lambda worker: times.short(worker.started_at)),
    Column("SEEN", lambda worker: times.short(worker.seen_at)),
)


@click.group("workers", cls=Group, invoke_without_command=True)
@listing
@pass_session
@click.pass_context
def command(ctx: click.Context, session: Session) -> None:
    """List the workers heard of lately, and let them drain."""
    if ctx.invoked_subcommand is None:
        _list(session)


@command.command("list")
@listing
@pass_session
def list_command(session: Session) -> None:
    """List the workers heard of lately."""
    _list(session)


@command.command("drain", epilog="Example: roost workers drain --all")
@click.argument("ids", nargs=-1, metavar="[ID]…")
@click.option("--all", "every", is_flag=True, help="All that were heard of lately.")
@writing
@pass_session
def drain_command(session: Session, ids: tuple[str, ...], every: bool) -> None:
    """Let workers claim no more, end the jobs they run, and then themselves."""
    from roost.wire.attempts import WorkerRef
    from roost.wire.contract import DRAIN_WORKER

    if bool(ids) == every:
        raise click.UsageError("give the workers' ids, or --all")
    for id in [worker.id for worker in _workers(session)] if every else ids:
        session.send(DRAIN_WORKER, WorkerRef(id=id, actor=session.who()))
        output.note(f"worker {id} ends with its last job")


def _list(session: Session) -> None:
    found = _workers(session)
    output.emit_pages([found], session.format, COLUMNS, lambda worker: worker.id, "no workers heard of lately")


def _workers(session: Session) -> list[Worker]:
    from roost.wire.contract import LIST_WORKERS
    from roost.wire.jobs import Empty

    return session.send(LIST_WORKERS, Empty()).workers
