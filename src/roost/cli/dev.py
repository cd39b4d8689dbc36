"""``roost dev``: a server and a worker that starts again when its source changes."""

from __future__ import annotations

import click

from roost.cli.session import Session, pass_session


@click.command("dev")
@click.argument("app", metavar="MODULE:APP")
@click.option("--store", metavar="URL", help="The server's store; else ROOST_URL or the configuration's, ./roost.db.")
@click.option("--port", type=click.IntRange(0, 65535), default=7667, show_default=True, help="0 takes a free one.")
@click.option("--concurrency", type=click.IntRange(min=1), default=10, show_default=True, help="Jobs at a time.")
@click.option(
    "--queues", metavar="A,B", help="Take from these, the first ones first; else the queues of the app's jobs."
)
@click.option("--watch", "folders", metavar="FOLDER", multiple=True, help="Watch this instead of the current folder.")
@click.option("--no-reload", is_flag=True, help="Do not watch the source.")
@pass_session
def command(
    _: Session,
    app: str,
    store: str | None,
    port: int,
    concurrency: int,
    queues: str | None,
    folders: tuple[str, ...],
    no_reload: bool,
) -> int:
    """Serve and run APP in MODULE for development: its worker starts again when its source changes."""
    from roost.cli.developing import develop

    worker = ["worker", app, "--concurrency", str(concurrency)] + (["--queues", queues] if queues else [])
    server = ["server", "--port", str(port)] + (["--store", store] if store else [])
    return develop(server, worker, folders=None if no_reload else folders or (".",))
