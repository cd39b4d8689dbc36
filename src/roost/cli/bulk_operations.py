"""``roost bulk``, and the commands that act on everything a query finds: preview, confirmation, progress."""

from __future__ import annotations

import contextlib
import csv
import sys
from collections.abc import Callable
from time import sleep
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from roost.cli import bulk, exit_codes, output, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, paged, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.bulk import Bulk, BulkResult, BulkStarted

P = ParamSpec("P")
R = TypeVar("R")

POLL_SECONDS = 0.2
ID = click.argument("id", type=click.IntRange(min=0))
_OPTIONS = (
    click.option("--dry-run", is_flag=True, help="With a query: only count."),
    click.option("--rate", metavar="N/s", help="With a query: at most so many jobs a second (s, m, h)."),
    click.option("--detach", is_flag=True, help="With a query: start it and do not wait for its end."),
    click.option(
        "--on-interrupt",
        type=click.Choice(("detach", "abort")),
        default="detach",
        show_default=True,
        help="With a query: what Ctrl-C does to it.",
    ),
)


def options(command: Callable[P, R]) -> Callable[P, R]:
    """The options of acting on everything a query finds."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def is_query(words: tuple[str, ...]) -> bool:
    """Whether the arguments are a query and not ids: the first one says so."""
    first = words[0]
    return first != "-" and not (first.isascii() and first.isdigit())


def act(
    session: Session,
    action: str,
    words: tuple[str, ...],
    *,
    yes: bool,
    dry_run: bool,
    detach: bool,
    on_interrupt: str = "detach",
    **more: Any,
) -> int:
    """Do ``action`` to all jobs that match: count, ask, start, show its progress; the exit code.

    Raises `click.UsageError` for a query without a word: nobody means every job by a variable that is empty.
    """
    from roost.wire.bulk import CreateBulk
    from roost.wire.contract import CREATE_BULK

    query = " ".join(words)
    if not query.strip():
        raise click.UsageError("the query is empty, which is every job; write id:>=0 where that is meant")
    asked: dict[str, Any] = {"action": action, "query": query, "actor": session.who()}
    asked |= {name: value for name, value in more.items() if value}
    preview = session.send(CREATE_BULK, CreateBulk(**asked, dry_run=True))
    if dry_run or not preview.jobs:
        output.emit_one(preview, session.format, lambda: output.say(_counted(action, query, preview)), lambda: 0)
        return exit_codes.OK
    if yes:
        output.note(_counted(action, query, preview))
    bulk.confirm(_counted(action, query, preview), max(2, preview.jobs), yes)
    started = session.send(CREATE_BULK, CreateBulk(**asked, asked=preview.asked)).bulk
    assert started is not None  # noqa: S101 - it was no dry run
    if detach:
        _show(session, started)
        _goes_on(session, started.id)
        return exit_codes.OK
    return watch(session, started.id, on_interrupt)


def _counted(action: str, query: str, preview: BulkStarted) -> str:
    skipped = ", ".join(f"{jobs:,} {state}" for state, jobs in preview.skips.items())
    least = "" if preview.exact else "at least "
    of = f"; of these will be skipped: {skipped}" if skipped else ""
    return f"{action} {least}{preview.jobs:,} jobs matching {query or 'everything'}{of}"


def watch(session: Session, id: int, on_interrupt: str = "detach") -> int:
    """Show how far an operation is until its end; the exit code. Ctrl-C detaches, or ends it as well."""
    from roost.domain.bulk import ENDED
    from roost.wire.bulk import BulkRef
    from roost.wire.contract import GET_BULK

    session.start_loops()
    found = session.send(GET_BULK, BulkRef(id=id))
    shown = 0
    try:
        with bulk.progress(f"bulk {id}", found.jobs) as advance:
            while found.state not in ENDED and found.state != "paused":
                passed = found.done + found.skipped + found.failed
                advance(passed - shown)
                shown = passed
                sleep(POLL_SECONDS)
                found = session.send(GET_BULK, BulkRef(id=id))
            advance(found.done + found.skipped + found.failed - shown)
    except KeyboardInterrupt:
        return _interrupted(session, id, on_interrupt)
    _show(session, found)
    if found.failed:
        output.note(f"why: roost bulk results {id}")
    return exit_codes.PARTIAL if found.failed else exit_codes.OK if found.state == "done" else exit_codes.FAILED


def _interrupted(session: Session, id: int, on_interrupt: str) -> int:
    """Say what was done when somebody pressed Ctrl-C, and what becomes of the rest."""
    from roost.errors import Conflict
    from roost.wire.bulk import BulkRef
    from roost.wire.contract import ABORT_BULK, GET_BULK

    if on_interrupt == "abort":
        with contextlib.suppress(Conflict):  # it may have ended meanwhile
            session.send(ABORT_BULK, BulkRef(id=id, actor=session.who()))
    found = session.send(GET_BULK, BulkRef(id=id))
    _show(session, found)
    if found.state == "running":
        _goes_on(session, id)
    return exit_codes.INTERRUPTED


def _goes_on(session: Session, id: int) -> None:
    # Where the store is in this process, nobody works on it once the command has ended.
    here = hasattr(session.client.transport, "start_loops")
    where = "when a server or a worker has the store open" if here else "on the server"
    output.note(f"it goes on {where}; to watch it: roost bulk watch {id}, to end it: roost bulk abort {id}")


def _show(session: Session, found: Bulk) -> None:
    def show() -> None:
        output.say(
            f"bulk {found.id}: {output.paint(found.state)}, {found.done:,} done, {found.skipped:,} skipped, "
            f"{found.failed:,} failed"
        )
        if found.error:
            output.say(found.error)

    output.emit_one(found, session.format, show, lambda: found.id)


@click.group("bulk", cls=Group)
def command() -> None:
    """Look at and steer bulk operations; roost jobs cancel, retry, … start them."""


COLUMNS: tuple[Column[Bulk], ...] = (
    Column("ID", lambda one: one.id, right=True),
    Column("STATE", lambda one: one.state),
    Column("ACTION", lambda one: one.action),
    Column("QUERY", lambda one: "(ids)" if one.ids else one.query, elastic=True),
    Column("JOBS", lambda one: f"{one.jobs:,}" if one.exact else f"{one.jobs:,}+", right=True),
    Column("DONE", lambda one: one.done, right=True),
    Column("SKIPPED", lambda one: one.skipped, right=True),
    Column("FAILED", lambda one: one.failed, right=True),
    Column("BY", lambda one: one.actor, elastic=True),
    Column("WHEN", lambda one: times.short(one.created_at)),
)


@command.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many.")
@listing
@pass_session
def list_command(session: Session, limit: int) -> None:
    """List bulk operations, last first."""
    from roost.wire.bulk import ListBulks
    from roost.wire.contract import LIST_BULKS

    def ask(cursor: str | None, size: int) -> tuple[list[Bulk], str | None]:
        page = session.send(LIST_BULKS, ListBulks(limit=size, cursor=cursor))
        return page.bulks, page.cursor

    pages = paged(ask, limit, everything=False)
    output.emit_pages(pages, session.format, COLUMNS, lambda one: one.id, "no bulk operations")


@command.command("show")
@ID
@reading
@pass_session
def show_command(session: Session, id: int) -> None:
    """Show how far an operation is."""
    from roost.wire.bulk import BulkRef
    from roost.wire.contract import GET_BULK

    _show(session, session.send(GET_BULK, BulkRef(id=id)))


@command.command("watch")
@ID
@reading
@pass_session
def watch_command(session: Session, id: int) -> int:
    """Show an operation's progress until it ends; Ctrl-C detaches."""
    return watch(session, id)


@command.command("pause")
@ID
@writing
@pass_session
def pause_command(session: Session, id: int) -> None:
    """Begin no further set."""
    from roost.wire.bulk import BulkRef
    from roost.wire.contract import PAUSE_BULK

    _show(session, session.send(PAUSE_BULK, BulkRef(id=id, actor=session.who())))


@command.command("resume")
@ID
@writing
@pass_session
def resume_command(session: Session, id: int) -> None:
    """Go on with a paused operation."""
    from roost.wire.bulk import BulkRef
    from roost.wire.contract import RESUME_BULK

    _show(session, session.send(RESUME_BULK, BulkRef(id=id, actor=session.who())))


@command.command("abort")
@ID
@writing
@pass_session
def abort_command(session: Session, id: int) -> None:
    """End an operation; what is done stays done."""
    from roost.wire.bulk import BulkRef
    from roost.wire.contract import ABORT_BULK

    _show(session, session.send(ABORT_BULK, BulkRef(id=id, actor=session.who())))


RESULT_COLUMNS: tuple[Column[BulkResult], ...] = (
    Column("JOB", lambda one: one.job, right=True),
    Column("OUTCOME", lambda one: one.outcome),
    Column("CODE", lambda one: one.code),
    Column("WHY", lambda one: one.message, elastic=True),
)


@command.command("results")
@ID
@click.option("--csv", "as_csv", is_flag=True, help="As CSV, all of them.")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most this many.")
@listing
@pass_session
def results_command(session: Session, id: int, as_csv: bool, limit: int) -> None:
    """List the jobs an operation skipped or failed on, and why."""
    from roost.wire.bulk import ListBulkResults
    from roost.wire.contract import BULK_RESULTS

    def ask(cursor: str | None, size: int) -> tuple[list[BulkResult], str | None]:
        page = session.send(BULK_RESULTS, ListBulkResults(id=id, limit=size, cursor=cursor))
        return page.results, page.cursor

    pages = paged(ask, limit, everything=as_csv)
    if not as_csv:
        output.emit_pages(pages, session.format, RESULT_COLUMNS, lambda one: one.job, "nothing was skipped or failed")
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("job", "outcome", "code", "message"))
    for page in pages:
        writer.writerows((one.job, one.outcome, one.code, _cell(one.message)) for one in page)


def _cell(words: str) -> str:
    """A text no spreadsheet takes for a formula."""
    return f"'{words}" if words.startswith(("=", "+", "-", "@", "\t", "\r")) else words
