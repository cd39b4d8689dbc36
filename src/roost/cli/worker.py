"""``roost worker``: run an application's jobs, from a store in this process or from a server."""

from __future__ import annotations

import click

from roost.cli.logging_setup import log_option, log_to_stderr
from roost.cli.session import Session, format_option, pass_session, url_option


@click.command("worker", epilog="Example: roost worker shop.jobs:app -q mail:3 -q slow:1 --concurrency 20")
@click.argument("app", metavar="MODULE:APP")
@click.option(
    "--queues", metavar="A,B", help="Take from these, the first ones first; else the queues of the app's jobs."
)
@click.option(
    "-q",
    "--queue",
    "weighed",
    metavar="NAME[:WEIGHT]",
    multiple=True,
    help="Take from this queue; again for more. With weights (mail:3) each gives its share.",
)
@click.option("--concurrency", type=click.IntRange(min=1), default=10, show_default=True, help="Jobs at a time.")
@click.option(
    "--lease", metavar="DURATION", default="15s", show_default=True, help="How long a silent worker keeps a job."
)
@click.option("--grace", metavar="DURATION", default="10s", show_default=True, help="How long running jobs may finish.")
@click.option("--name", metavar="NAME", help="The worker's name; else this machine's name and a random part.")
@click.option("--until-idle", is_flag=True, help="End when nothing is ready any more.")
@log_option
@url_option
@format_option
@pass_session
def command(
    session: Session,
    app: str,
    queues: str | None,
    weighed: tuple[str, ...],
    concurrency: int,
    lease: str,
    grace: str,
    name: str | None,
    until_idle: bool,
    log_level: str,
) -> int:
    """Run the jobs of APP in MODULE. SIGTERM or Ctrl-C drains, a second one ends now."""
    from roost.cli.loading import load_app
    from roost.cli.running import read_queues, run_worker
    from roost.domain.duration import parse_duration
    from roost.domain.names import check_name

    parse_duration(lease, path="lease")
    grace_ms = parse_duration(grace, path="grace")
    if queues is not None and weighed:
        raise click.UsageError("give --queues or --queue, not both")
    wanted = read_queues([one.strip() for one in queues.split(",")] if queues is not None else [*weighed])
    if name is not None:
        check_name(name, "name")
    log_to_stderr(log_level)
    return run_worker(
        load_app(app),
        url=session.url,
        queues=wanted,
        concurrency=concurrency,
        lease=lease,
        grace=grace_ms / 1000,
        name=name,
        until="idle" if until_idle else "stopped",
    )
