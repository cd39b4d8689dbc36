"""``roost signals``: news for jobs that wait for them."""

from __future__ import annotations

import click

from roost.cli import inputs, output
from roost.cli.lazy import Group
from roost.cli.session import Session, pass_session, writing


@click.group("signals", cls=Group)
def command() -> None:
    """Send signals to jobs that wait for them."""


@command.command("send", epilog="Example: roost signals send paid '{\"order\": 7}' --job 12")
@click.argument("name")
@click.argument("data", type=inputs.JSON, metavar="[JSON|@FILE|-]", required=False)
@click.option("--job", type=click.IntRange(min=0), metavar="ID", help="Only for this job.")
@writing
@pass_session
def send_command(session: Session, name: str, data: bytes | None, job: int | None) -> None:
    """Wake the jobs that wait for NAME with the JSON; jobs that wait for it later get it too, once each."""
    import msgspec

    from roost.wire.contract import SEND_SIGNAL
    from roost.wire.flow import NewSignal

    request = NewSignal(name=name, job=job, **({} if data is None else {"data": msgspec.Raw(data)}))
    sent = session.send(SEND_SIGNAL, request)
    output.emit_one(sent, session.format, lambda: output.say(f"{sent.id}  woke {sent.woken}"), lambda: sent.id)
