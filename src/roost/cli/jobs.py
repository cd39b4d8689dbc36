"""``roost jobs``: enqueue, list, look at and steer jobs."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

import click

from roost.cli import bulk, bulk_operations, inputs, output, related, retrying, steering, times, tracking
from roost.cli.facets import facets_command
from roost.cli.job_columns import COLUMNS
from roost.cli.lazy import Group
from roost.cli.new_jobs import new_job
from roost.cli.session import Session, listing, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.jobs import JobSummary

SORTS = tuple(f"{sign}{key}" for key in ("created", "finished", "started", "priority", "run_at") for sign in ("-", ""))
STATES = ("waiting", "ready", "running", "held", "succeeded", "failed", "cancelled", "expired")


@click.group("jobs", cls=Group)
def command() -> None:
    """Enqueue, look at, and steer jobs."""


JOB = click.argument("id", type=click.IntRange(min=0))


@command.command(
    "list", epilog="Example: roost jobs list 'state:failed queue:mail* created:>24h' --sort=-finished --count"
)
@click.argument("query", nargs=-1)
@click.option("--state", type=click.Choice(STATES), multiple=True, help="Only in this state; may be repeated.")
@click.option("--queue", metavar="NAME", multiple=True, help="Only of this queue; may be repeated.")
@click.option("--kind", metavar="NAME", multiple=True, help="Only of this kind; may be repeated.")
@click.option("--schedule", metavar="NAME", help="Only those this schedule made.")
@click.option("--since", "created_after", type=times.MOMENT, help="Created after this time.")
@click.option("--before", "created_before", type=times.MOMENT, help="Created before this time.")
@click.option("--view", metavar="NAME", help="With what this saved view asks for.")
@click.option("--sort", type=click.Choice(SORTS), help="The order; -created where not given.")
@click.option("--jq", metavar="PROGRAM", help="Only jobs for whose JSON jq's program gives neither false nor null.")
@click.option("--count", is_flag=True, help="Say how many match: exactly up to 10,000, then at least.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@click.option("--all", "everything", is_flag=True, help="All of them, however many.")
@listing
@pass_session
def list_command(session: Session, /, **options: Any) -> None:
    """List the jobs that match QUERY, newest first; see roost help query."""
    from roost.cli.searching import list_jobs

    list_jobs(session, COLUMNS, **options)


@command.command(
    "enqueue", epilog='Example: roost jobs enqueue mail.send \'{"to": "ana@example.com"}\' --queue mail --wait'
)
@click.argument("kind")
@click.argument("input", type=inputs.JSON, metavar="[JSON|@FILE|-]", required=False)
@click.option("--queue", metavar="NAME", help="Into this queue; else default.")
@click.option("--delay", metavar="DURATION", help="Start no earlier than this from now, such as 10m.")
@click.option("--at", "run_at", type=times.MOMENT, help="Start no earlier than this time.")
@click.option("--priority", type=inputs.PRIORITY, help="9 goes first; or low, normal, high.")
@click.option("--unique", metavar="KEY", help="One live job holds this key; a second call answers with the first's id.")
@click.option("--unique-field", metavar="PATH", multiple=True, help="Instead: the key is made of these input fields.")
@click.option("--unique-scope", type=click.Choice(("kind", "queue", "global")), help="Among which jobs it is one.")
@click.option("--unique-within", metavar="DURATION", help="The key outlives the job, up to this long.")
@click.option(
    "--on-conflict", type=click.Choice(("return", "reject", "replace", "reschedule")), help="Where the key is taken."
)
@click.option("--ttl", metavar="DURATION", help="Not started within this time, it expires.")
@click.option("--expires-at", type=times.MOMENT, help="Not started by this time, it expires.")
@click.option("--deadline", metavar="DURATION", help="Not ended within this time, it is cancelled.")
@click.option("--timeout", metavar="DURATION", help="The longest one attempt may take.")
@retrying.options
@click.option("--limit", type=inputs.JSON, metavar="JSON", multiple=True, help='Such as {"key":"smtp","rate":"9/m"}.')
@click.option("--hold", metavar="TITLE", help="Hold it before it starts until somebody approves.")
@click.option("--tag", "tag", metavar="KEY=VALUE", multiple=True, help="May be repeated.")
@click.option("--owner", metavar="NAME", help="Whose job it is.")
@click.option("--metadata", type=inputs.JSON, metavar="JSON|@FILE|-", help="An object that travels with it.")
@click.option(
    "--after", type=click.IntRange(min=0), metavar="ID", multiple=True, help="Start after its end; may be repeated."
)
@click.option(
    "--after-failure", type=click.Choice(("cancel", "fail", "run")), help="When one of those does not succeed."
)
@click.option("--batch", type=click.IntRange(min=0), metavar="ID", help="Join this open batch.")
@click.option("--parent", type=click.IntRange(min=0), metavar="ID", help="It is part of this job's work.")
@click.option("--wait", is_flag=True, help="Wait for its end and print its result.")
@click.option("--within", metavar="DURATION", help="With --wait: wait at most this long.")
@writing
@pass_session
def enqueue_command(session: Session, /, wait: bool, within: str | None, **options: Any) -> int:
    """Enqueue a job of KIND with the JSON as its input."""
    from roost.cli.waiting import until_ended
    from roost.wire.contract import ENQUEUE

    if within is not None and not wait:
        raise click.UsageError("--within has a meaning only with --wait")
    request = new_job(**options)
    session.may_create = True
    made = session.send(ENQUEUE, request)
    if wait:
        return until_ended(session, made.id, within)

    def show() -> None:
        known = "  (was there already)" if made.duplicate else ""
        output.say(f"{made.id}{known}")

    output.emit_one(made, session.format, show, lambda: made.id)
    return 0


@command.command("enqueue-many", epilog="Example: roost jobs enqueue-many - -o id")
@click.argument("file", type=click.File("rb"), metavar="FILE|-")
@writing
@pass_session
def enqueue_many_command(session: Session, file: IO[bytes]) -> int:
    """Enqueue a job for each line of FILE: JSON as POST /jobs takes it, with a kind, maybe an input, a queue, …

    A thousand lines are one transaction; what a refused line's transaction holds is not stored, what came before is.
    """
    from roost.cli.enqueueing import enqueue_lines

    session.may_create = True
    return enqueue_lines(session, file)


@command.command("wait")
@JOB
@click.option("--within", metavar="DURATION", help="Wait at most this long; else for ever.")
@reading
@pass_session
def wait_command(session: Session, id: int, within: str | None) -> int:
    """Wait for a job's end and print its result."""
    from roost.cli.waiting import until_ended

    return until_ended(session, id, within)


@command.command("inspect")
@JOB
@reading
@pass_session
def inspect_command(session: Session, id: int) -> None:
    """Show everything known of a job: times, attempts, steps, approvals, logs, result, history."""
    from roost.cli.inspection import inspect

    inspect(session, id)


@command.command("explain")
@JOB
@reading
@pass_session
def explain_command(session: Session, id: int) -> None:
    """Say why a job is where it is, what happens next, and what can be done."""
    from roost.wire.contract import EXPLAIN_JOB
    from roost.wire.jobs import JobRef

    told = session.send(EXPLAIN_JOB, JobRef(id=id))

    def show() -> None:
        reason = f" ({told.reason})" if told.reason else ""
        output.say(f"job {told.id} is {output.paint(told.state.value)}{reason} since {times.full(told.since)}")
        for fact in told.facts:
            output.indented([f"{fact.text}  [{fact.event}]"])
        for title, lines in (("next, by itself", told.next), ("what you can do", told.actions)):
            if lines:
                output.section(title)
                output.indented(lines)

    output.emit_one(told, session.format, show, lambda: told.id)


@command.command("logs")
@JOB
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only lines after this line number.")
@click.option("--tail", type=click.IntRange(min=0), help="Only the last so many lines.")
@reading
@pass_session
def logs_command(session: Session, id: int, follow: bool, after: int, tail: int | None) -> None:
    """Print a job's log lines."""
    from roost.cli.logs import print_logs

    print_logs(session, id, follow=follow, after=after, tail=tail)


@command.command("steps")
@JOB
@reading
@pass_session
def steps_command(session: Session, id: int) -> None:
    """List a job's steps: those recorded, and those an attempt started and did not record."""
    from roost.cli.inspection import steps

    steps(session, id)


IDS = click.argument("ids", nargs=-1, required=True, metavar="ID… | - | QUERY")
NOTE = click.option("--note", default="", help="Why, for the job's history.")
YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@command.command("cancel")
@IDS
@NOTE
@YES
@bulk_operations.options
@writing
@pass_session
def cancel_command(session: Session, /, ids: tuple[str, ...], note: str, yes: bool, **how: Any) -> int:
    """Cancel jobs; a running one is asked to stop. ``-`` reads ids from stdin."""
    if bulk_operations.is_query(ids):
        return bulk_operations.act(session, "cancel", ids, yes=yes, note=note, **how)
    from roost.wire.contract import CANCEL_JOB
    from roost.wire.jobs import CancelJob

    numbers = bulk.read_ids(ids, "job")
    bulk.confirm(f"cancel {len(numbers):,} jobs", len(numbers), yes)
    actor = session.who()
    jobs, code = bulk.for_each(
        session, "cancel", numbers, lambda id: session.send(CANCEL_JOB, CancelJob(id=id, note=note, actor=actor))
    )
    _show_changed(session, jobs)
    return code


@command.command("retry", epilog='Example: roost jobs retry 17 --input \'{"to": "bo@example.com"}\' --queue mail')
@IDS
@click.option("--input", type=inputs.JSON, metavar="JSON|@FILE|-", help="With this input instead.")
@click.option("--queue", metavar="NAME", help="In this queue instead.")
@NOTE
@YES
@bulk_operations.options
@writing
@pass_session
def retry_command(
    session: Session,
    /,
    ids: tuple[str, ...],
    input: bytes | None,
    queue: str | None,
    note: str,
    yes: bool,
    **how: Any,
) -> int:
    """Run ended jobs again, maybe with another input or in another queue, their history kept.

    ``-`` reads ids from stdin.
    """
    if bulk_operations.is_query(ids):
        if input is not None:
            raise click.UsageError("--input is for jobs named by their ids")
        return bulk_operations.act(session, "retry", ids, yes=yes, note=note, queue=queue, **how)
    import msgspec

    from roost.wire.contract import REOPEN_JOB
    from roost.wire.jobs import ReopenJob

    edited = inputs.given(input=None if input is None else msgspec.Raw(input), queue=queue)
    actor = session.who()
    jobs, code = bulk.for_each(
        session,
        "retry",
        bulk.read_ids(ids, "job"),
        lambda id: session.send(REOPEN_JOB, ReopenJob(id=id, note=note, actor=actor, **edited)),
    )
    _show_changed(session, jobs)
    return code


@command.command("delete")
@IDS
@YES
@bulk_operations.options
@writing
@pass_session
def delete_command(session: Session, /, ids: tuple[str, ...], yes: bool, **how: Any) -> int:
    """Delete jobs that are not running. ``-`` reads ids from stdin."""
    if bulk_operations.is_query(ids):
        return bulk_operations.act(session, "delete", ids, yes=yes, **how)
    from roost.wire.contract import DELETE_JOB
    from roost.wire.jobs import JobRef

    numbers = bulk.read_ids(ids, "job")
    bulk.confirm(f"delete {len(numbers):,} jobs", len(numbers), yes)

    def delete(id: int) -> JobRef:
        session.send(DELETE_JOB, JobRef(id=id))
        return JobRef(id=id)

    gone, code = bulk.for_each(session, "delete", numbers, delete)
    if session.format == "table":
        output.say(f"deleted {len(gone):,} {'job' if len(gone) == 1 else 'jobs'}")
    else:
        output.emit_pages([gone], session.format, (), lambda job: job.id, "")
    return code


def _show_changed(session: Session, jobs: list[JobSummary]) -> None:
    output.emit_pages([jobs], session.format, COLUMNS, lambda job: job.id, "nothing was changed")


command.add_command(retry_command, "reopen")
command.add_command(facets_command)
for _more in (*steering.COMMANDS, *tracking.COMMANDS, *related.COMMANDS):
    command.add_command(_more)
