"""``roost jobs`` move, run, hold, clone, edit, note, chunks: what people do to stored jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from roost.cli import bulk, bulk_operations, inputs, output, times
from roost.cli.job_columns import COLUMNS
from roost.cli.output import Column
from roost.cli.session import Session, listing, paged, pass_session, writing

if TYPE_CHECKING:
    from roost.wire.jobs import Chunk, JobSummary

JOB = click.argument("id", type=click.IntRange(min=0))
IDS = click.argument("ids", nargs=-1, required=True, metavar="ID… | -")
IDS_OR_QUERY = click.argument("ids", nargs=-1, required=True, metavar="ID… | - | QUERY")
YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
NOTE = click.option("--note", default="", help="Why, for the job's history.")


def _for_each(session: Session, label: str, ids: Sequence[int], call: Callable[[int], JobSummary]) -> int:

    jobs, code = bulk.for_each(session, label, ids, call)
    output.emit_pages([jobs], session.format, COLUMNS, lambda job: job.id, "nothing was changed")
    return code


@click.command("move", epilog="Example: roost jobs move 17 --queue slow --priority low")
@IDS_OR_QUERY
@click.option("--queue", metavar="NAME", help="Into this queue.")
@click.option("--priority", type=inputs.PRIORITY, help="9 goes first; or low, normal, high.")
@click.option("--delay", metavar="DURATION", help="Start no earlier than this from now, such as 10m.")
@click.option("--at", "run_at", type=times.MOMENT, help="Start no earlier than this time.")
@NOTE
@YES
@bulk_operations.options
@writing
@pass_session
def move_command(
    session: Session,
    /,
    ids: tuple[str, ...],
    queue: str | None,
    priority: int | None,
    delay: str | None,
    run_at: datetime | None,
    note: str,
    yes: bool,
    **how: Any,
) -> int:
    """Give jobs that have not started another queue, priority or time; held ones stay held."""
    from roost.wire.contract import MOVE_JOB
    from roost.wire.jobs import MoveJob

    if queue is None and priority is None and delay is None and run_at is None:
        raise click.UsageError("nothing to change: give --queue, --priority, --delay or --at")
    if bulk_operations.is_query(ids):
        if delay is not None or run_at is not None:
            raise click.UsageError("--delay and --at are for jobs named by their ids")
        return bulk_operations.act(session, "move", ids, yes=yes, note=note, queue=queue, priority=priority, **how)
    actor = session.who()

    def move(id: int) -> JobSummary:
        request = MoveJob(id=id, queue=queue, priority=priority, delay=delay, run_at=run_at, note=note, actor=actor)
        return session.send(MOVE_JOB, request)

    return _for_each(session, "move", bulk.read_ids(ids, "job"), move)


@click.command("run")
@IDS
@NOTE
@writing
@pass_session
def run_command(session: Session, ids: tuple[str, ...], note: str) -> int:
    """Let jobs that wait for a time (scheduled, or for their next try) start now."""
    from roost.wire.contract import RUN_JOB
    from roost.wire.jobs import RunJob

    actor = session.who()
    numbers = bulk.read_ids(ids, "job")
    return _for_each(session, "run", numbers, lambda id: session.send(RUN_JOB, RunJob(id=id, note=note, actor=actor)))


@click.command("hold")
@IDS_OR_QUERY
@click.option("--title", default="held by hand", show_default=True, help="What the approval is called.")
@NOTE
@YES
@bulk_operations.options
@writing
@pass_session
def hold_command(session: Session, /, ids: tuple[str, ...], title: str, note: str, yes: bool, **how: Any) -> int:
    """Hold jobs that have not started until somebody approves (roost approvals approve)."""
    if bulk_operations.is_query(ids):
        return bulk_operations.act(session, "hold", ids, yes=yes, note=note, title=title, **how)
    from roost.wire.contract import HOLD_JOB
    from roost.wire.jobs import HoldJob

    actor = session.who()

    def hold(id: int) -> JobSummary:
        return session.send(HOLD_JOB, HoldJob(id=id, title=title, note=note, actor=actor))

    return _for_each(session, "hold", bulk.read_ids(ids, "job"), hold)


@click.command("approve")
@IDS_OR_QUERY
@NOTE
@YES
@bulk_operations.options
@writing
@pass_session
def approve_command(session: Session, /, ids: tuple[str, ...], note: str, yes: bool, **how: Any) -> int:
    """Approve what held jobs ask for, as it is asked then; questions wait for their answers."""
    if bulk_operations.is_query(ids):
        return bulk_operations.act(session, "approve", ids, yes=yes, note=note, **how)
    numbers = bulk.read_ids(ids, "job")
    bulk.confirm(f"approve {len(numbers):,} jobs", len(numbers), yes)
    return _for_each(session, "approve", numbers, lambda id: _approve(session, id, note))


def _approve(session: Session, id: int, note: str) -> JobSummary:
    from roost.cli.approvals import approve, open_hold
    from roost.wire.contract import GET_JOB
    from roost.wire.jobs import JobRef, JobSummary

    approve(session, open_hold(session, id), note)
    job = session.send(GET_JOB, JobRef(id=id))
    return JobSummary(**{field: getattr(job, field) for field in JobSummary.__struct_fields__})


@click.command("clone", epilog='Example: roost jobs clone 17 \'{"to": "bo@example.com"}\' --queue mail')
@JOB
@click.argument("input", type=inputs.JSON, metavar="[JSON|@FILE|-]", required=False)
@click.option("--queue", metavar="NAME", help="Into this queue; else the old one's.")
@click.option("--priority", type=inputs.PRIORITY, help="9 goes first; or low, normal, high.")
@click.option("--delay", metavar="DURATION", help="Start no earlier than this from now, such as 10m.")
@click.option("--at", "run_at", type=times.MOMENT, help="Start no earlier than this time.")
@click.option("--keep-unique", is_flag=True, help="Take the old job's unique key too.")
@writing
@pass_session
def clone_command(session: Session, /, id: int, input: bytes | None, keep_unique: bool, **options: Any) -> None:
    """Make a new job like an old one, maybe with another input; its hold rule is copied."""
    import msgspec

    from roost.wire.contract import CLONE_JOB
    from roost.wire.jobs import CloneJob

    raw = None if input is None else msgspec.Raw(input)
    request = CloneJob(id=id, **inputs.given(**options, input=raw, unique="keep" if keep_unique else None))
    made = session.send(CLONE_JOB, request)
    known = "  (was there already)" if made.duplicate else ""
    output.emit_one(made, session.format, lambda: output.say(f"{made.id}{known}"), lambda: made.id)


@click.command("edit", epilog="Example: roost jobs edit 17 --tag team=blue --owner mia")
@IDS_OR_QUERY
@click.option("--tag", "tag", metavar="KEY=VALUE", multiple=True, help="Set a tag; may be repeated.")
@click.option("--untag", "untag", metavar="KEY", multiple=True, help="Take a tag away; may be repeated.")
@click.option("--owner", metavar="NAME", help="Whose job it is; '' for nobody's.")
@click.option("--metadata", type=inputs.JSON, metavar="JSON|@FILE|-", help="An object; null takes it away.")
@YES
@bulk_operations.options
@writing
@pass_session
def edit_command(
    session: Session,
    /,
    ids: tuple[str, ...],
    tag: tuple[str, ...],
    untag: tuple[str, ...],
    owner: str | None,
    metadata: bytes | None,
    yes: bool,
    **how: Any,
) -> int:
    """Change tags, owner or metadata of jobs in any state."""
    if not tag and not untag and owner is None and metadata is None:
        raise click.UsageError("nothing to change: give --tag, --untag, --owner or --metadata")
    if bulk_operations.is_query(ids) and (owner is not None or metadata is not None):
        raise click.UsageError("--owner and --metadata are for jobs named by their ids")
    return _edit(session, "edit", ids, tag, untag, owner=owner, metadata=metadata, yes=yes, how=how)


@click.command("tag", epilog="Example: roost jobs tag 'queue:mail state:failed' --tag seen=yes --untag new")
@IDS_OR_QUERY
@click.option("--tag", "tag", metavar="KEY=VALUE", multiple=True, help="Set a tag; may be repeated.")
@click.option("--untag", "untag", metavar="KEY", multiple=True, help="Take a tag away; may be repeated.")
@YES
@bulk_operations.options
@writing
@pass_session
def tag_command(
    session: Session, /, ids: tuple[str, ...], tag: tuple[str, ...], untag: tuple[str, ...], yes: bool, **how: Any
) -> int:
    """Set tags of jobs in any state, or take them away."""
    if not tag and not untag:
        raise click.UsageError("nothing to change: give --tag or --untag")
    return _edit(session, "tag", ids, tag, untag, yes=yes, how=how)


def _edit(
    session: Session,
    label: str,
    ids: tuple[str, ...],
    tag: tuple[str, ...],
    untag: tuple[str, ...],
    *,
    yes: bool,
    how: dict[str, Any],
    owner: str | None = None,
    metadata: bytes | None = None,
) -> int:
    import msgspec

    from roost.wire.contract import EDIT_JOB
    from roost.wire.jobs import EditJob

    actor, tags = session.who(), inputs.tags(tag)
    if bulk_operations.is_query(ids):
        return bulk_operations.act(session, "tag", ids, yes=yes, tags=tags, untag=[*untag], **how)

    def edit(id: int) -> JobSummary:
        raw = None if metadata is None else msgspec.Raw(metadata)
        request = EditJob(id=id, tags=tags, untag=[*untag], owner=owner, metadata=raw, actor=actor)
        return session.send(EDIT_JOB, request)

    return _for_each(session, label, bulk.read_ids(ids, "job"), edit)


@click.command("note")
@JOB
@click.argument("text")
@writing
@pass_session
def note_command(session: Session, id: int, text: str) -> None:
    """Write a line into a job's history."""
    from roost.wire.contract import NOTE_JOB
    from roost.wire.jobs import NoteJob

    job = session.send(NOTE_JOB, NoteJob(id=id, text=text, actor=session.who()))
    output.emit_one(job, session.format, lambda: output.say(f"noted in job {job.id}"), lambda: job.id)


CHUNKS: tuple[Column[Chunk], ...] = (
    Column("NUMBER", lambda chunk: chunk.number, right=True),
    Column("WHEN", lambda chunk: times.short(chunk.at)),
    Column("TRY", lambda chunk: chunk.attempt, right=True),
    Column("CHUNK", lambda chunk: bytes(chunk.chunk).decode(errors="replace"), elastic=True),
)


@click.command("chunks")
@JOB
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only chunks after this number.")
@click.option("--limit", type=click.IntRange(min=1), default=500, show_default=True, help="At most this many.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@listing
@pass_session
def chunks_command(session: Session, id: int, after: int, limit: int, everything: bool) -> None:
    """Print the chunks of a job's result, in the order they came."""
    from roost.wire.contract import JOB_CHUNKS
    from roost.wire.jobs import ListChunks

    def ask(cursor: str | None, size: int) -> tuple[list[Chunk], str | None]:
        page = session.send(JOB_CHUNKS, ListChunks(id=id, after=after if cursor is None else int(cursor), limit=size))
        return page.chunks, str(page.chunks[-1].number) if page.more else None

    pages = paged(ask, limit, everything)
    output.emit_pages(pages, session.format, CHUNKS, lambda chunk: chunk.number, "no chunks")


COMMANDS = (
    move_command, run_command, hold_command, approve_command, clone_command, edit_command, tag_command, note_command,
    chunks_command,
)  # fmt: skip
