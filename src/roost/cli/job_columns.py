"""How a job is shown as a row of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roost.cli import times
from roost.cli.output import Column

if TYPE_CHECKING:
    from roost.wire.jobs import JobSummary


def when(job: JobSummary) -> str:
    """The time of a job that matters most in its state."""
    moment = {
        "waiting": job.run_at,
        "running": job.started_at,
    }.get(job.state.value, job.finished_at)
    return times.short(moment or job.created_at)


COLUMNS: tuple[Column[JobSummary], ...] = (
    Column("ID", lambda job: job.id, right=True),
    Column("STATE", lambda job: job.state.value),
    Column("REASON", lambda job: "cancel requested" if job.cancel_requested else job.reason),
    Column("KIND", lambda job: job.kind, elastic=True),
    Column("QUEUE", lambda job: job.queue, elastic=True),
    Column("PRIO", lambda job: job.priority, right=True),
    Column("TRY", lambda job: job.attempt, right=True),
    Column("FAILURES", lambda job: job.failures, right=True),
    Column("WHEN", when),
)
