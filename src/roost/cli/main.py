"""The program ``roost``: its commands by name, and what happens when one of them fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from roost import __version__
from roost.cli.lazy import LazyGroup
from roost.cli.session import Session, format_option, url_option

COMMANDS: dict[str, tuple[str, str]] = {
    "dev": ("roost.cli.dev", "Server, worker and reload on change, for development."),
    "server": ("roost.cli.server", "Serve the HTTP API on a store."),
    "worker": ("roost.cli.worker", "Run an app's jobs."),
    "jobs": ("roost.cli.jobs", "Enqueue, look at, and steer jobs."),
    "explain": ("roost.cli.explain", "Why a job is where it is, and what happens next."),
    "why": ("roost.cli.why", "What a job waits for."),
    "batches": ("roost.cli.batches", "Create, look at, seal and cancel batches and chains."),
    "signals": ("roost.cli.signals", "Send signals to jobs that wait for them."),
    "queues": ("roost.cli.queues", "Look at, pause and edit queues."),
    "kinds": ("roost.cli.kinds", "Say what the inputs of jobs of a kind must look like."),
    "limits": ("roost.cli.limits", "Look at and set limits by key."),
    "schedules": ("roost.cli.schedules", "Create, look at and steer schedules."),
    "approvals": ("roost.cli.approvals", "Look at and decide what waits for a person."),
    "webhooks": ("roost.cli.webhooks", "Endpoints that are told of events, and what was sent to them."),
    "sources": ("roost.cli.sources", "Whose webhooks become jobs."),
    "bulk": ("roost.cli.bulk_operations", "Look at and steer operations on many jobs."),
    "errors": ("roost.cli.errors", "Look at failures in groups; retry, mute and resolve them."),
    "views": ("roost.cli.views", "Save queries under names."),
    "indexes": ("roost.cli.indexes", "Declare paths of inputs that searches find at once."),
    "events": ("roost.cli.events", "Show what happened, and what happens as it does."),
    "outbox": ("roost.cli.outbox", "Jobs that wait in a program's own database, and their relay."),
    "workers": ("roost.cli.workers", "List the workers heard of lately, and let them drain."),
    "doctor": ("roost.cli.doctor", "Check this machine, the store and the promises it can keep."),
    "db": ("roost.cli.db", "The store's schema."),
    "bench": ("roost.cli.bench", "Measure throughput and latency."),
    "api": ("roost.cli.api", "Call an operation of the API by method and path."),
    "completion": ("roost.cli.completion", "Print the shell's completion script."),
    "help": ("roost.cli.help", "Topics: exit-codes, query, targets, output."),
}


def _version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"roost {__version__}")
        ctx.exit()


class Root(LazyGroup):
    """The program: every failure leaves as one line, with a stable code and an exit code."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> NoReturn:
        """Run a command line and end the process with its exit code."""
        session = Session()
        extra["standalone_mode"] = False
        try:
            with _closing(session):
                answer = super().main(args, *rest, obj=session, **extra)
            code = answer if isinstance(answer, int) else 0
        except Exception as error:
            code = _failed(error, session)
        except KeyboardInterrupt:
            code = _interrupted()
        _flush()
        sys.exit(code)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Read the command line, which may print help; see `invoke`."""
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError:
            _read_no_more()
            raise click.exceptions.Exit(0) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whoever reads the output may leave before its end, and that is no failure."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Not left to click, which ends the program with 1 then.
            _read_no_more()
            return 0


class _closing:
    def __init__(self, session: Session) -> None:
        self._session = session

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._session.close()


def _failed(error: Exception, session: Session) -> int:
    from roost.cli import failures
    from roost.errors import RoostError

    if isinstance(error, RoostError):
        return failures.report(error, session.format)
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.Abort):
        return _interrupted()
    if isinstance(error, click.ClickException):
        return failures.report_usage(error, session.format)
    raise error


def _interrupted() -> int:
    click.echo("interrupted", err=True)
    return 130


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _read_no_more()


def _read_no_more() -> None:
    # Python must not complain again when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.command(
    "roost",
    cls=Root,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 refused or failed, 2 usage, 3 not found, 4 conflict, 5 unavailable, 6 timeout, "
    "13 some of many failed, 130 interrupted (roost help exit-codes).",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@url_option
@format_option
def main() -> None:
    """Durable jobs with one API, from a script to a cluster."""


if __name__ == "__main__":
    main(prog_name="roost")
