"""``roost why``: what a job waits for, in one answer."""

from __future__ import annotations

import click

from roost.cli import output, times
from roost.cli.session import Session, pass_session, reading


@click.command("why", epilog="Example: roost why 42")
@click.argument("id", type=click.IntRange(min=0), metavar="ID")
@reading
@pass_session
def command(session: Session, id: int) -> None:
    """Say what a job waits for: everything that keeps it, until when, and what you can do."""
    from roost.wire.contract import WHY_JOB
    from roost.wire.jobs import JobRef

    told = session.send(WHY_JOB, JobRef(id=id))

    def show() -> None:
        reason = f" ({told.reason})" if told.reason else ""
        output.say(f"job {told.id} is {output.paint(told.state.value)}{reason}")
        output.say(told.answer)
        for blocker in told.blockers:
            until = "" if blocker.until is None else f", until {times.full(blocker.until)}"
            output.indented([f"{blocker.kind.replace('_', ' ')}: {blocker.text}{until}"])
            if blocker.action is not None:
                output.indented([output.faint(f"  {blocker.action}")])

    output.emit_one(told, session.format, show, lambda: told.id)
