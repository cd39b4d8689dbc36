"""``roost server``: the HTTP API on a store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from roost import __version__
from roost.cli.logging_setup import log_option, log_to_stderr
from roost.cli.session import Session, format_option, pass_session


@click.command("server", epilog="Settings come from flags, then ROOST_* variables, then [server] in roost.toml.")
@click.option("--store", metavar="URL", help="sqlite:///file or postgresql://user@host/database; else ./roost.db.")
@click.option("--host", metavar="ADDRESS", help="Listen here; else 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen here; 0 takes a free one; else 7667.")
@click.option("--port-file", metavar="FILE", help="Write the server's URL there once it answers.")
@click.option(
    "--writer",
    "--host-kind",
    type=click.Choice(("thread", "process")),
    help="Where transactions run: in a thread of the server, or in a process of their own.",
)
@click.option("--insecure-no-auth", is_flag=True, default=None, help="Allow a host that others can reach.")
@click.option("--allowed-host", "allowed_hosts", metavar="NAME", multiple=True, help="A further name in Host headers.")
@click.option(
    "--webhook-allow",
    "webhook_allow",
    metavar="TARGET",
    multiple=True,
    help="An internal target of webhooks: a network such as 10.0.0.0/8, an address, a name, or host:port.",
)
@click.option("--webhook-timeout", metavar="DURATION", help="How long a receiver may take to answer; else 10s.")
@click.option("--retention", metavar="DURATION", help="How long ended jobs are kept; else 7d.")
@click.option("--retention-failed", metavar="DURATION", help="How long failed jobs are kept; else 30d.")
@click.option("--feed-retention", metavar="DURATION", help="How long events can be read again; else 3d.")
@click.option("--grace", metavar="DURATION", help="How long a stop waits for requests in work; else 10s.")
@log_option
@format_option
@pass_session
def command(_: Session, /, log_level: str, **flags: Any) -> int:
    """Serve the HTTP API on a store. SIGTERM or Ctrl-C drains, a second one ends now."""
    from roost.server.run import run
    from roost.server.settings import load

    for name in ("allowed_hosts", "webhook_allow"):
        flags[name] = flags[name] or None
    settings = load(flags, os.environ, Path.cwd())
    log_to_stderr(log_level)
    # The line with the URL, the store and its guarantee is the server's first log line.
    return run(settings, version=__version__)
