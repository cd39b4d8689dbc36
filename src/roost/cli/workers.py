"""``roost workers``: who runs jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import output, times
from roost.cli.output import Column
from roost.cli.session import Session, listing, pass_session

if TYPE_CHECKING:
    from roost.wire.attempts import Worker


@click.command("workers")
@listing
@pass_session
def command(session: Session) -> None:
    """List the workers heard of lately."""
    from roost.wire.contract import LIST_WORKERS
    from roost.wire.jobs import Empty

    columns: tuple[Column[Worker], ...] = (
        Column("ID", lambda worker: worker.id),
        Column("HOST", lambda worker: worker.host, elastic=True),
        Column("PID", lambda worker: worker.pid, right=True),
        Column("RUNNING", lambda worker: f"{worker.running}/{worker.concurrency}", right=True),
        Column("QUEUES", lambda worker: ",".join(worker.queues), elastic=True),
        Column("KINDS", lambda worker: ",".join(worker.kinds), elastic=True),
        Column("VERSION", lambda worker: worker.version),
        Column("STARTED", lambda worker: times.short(worker.started_at)),
        Column("SEEN", lambda worker: times.short(worker.seen_at)),
    )
    workers = session.send(LIST_WORKERS, Empty()).workers
    output.emit_pages([workers], session.format, columns, lambda worker: worker.id, "no workers heard of lately")
