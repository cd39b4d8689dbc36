"""``roost jobs`` create, take, update, result: work that people and agents do and tell about, without a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from roost.cli import inputs, output
from roost.cli.session import Session, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.jobs import Job

TRACKED_QUEUE = "tracked"
"""Where created jobs go: no worker serves it unless somebody tells one to."""
STATES = ("running", "ready", "succeeded", "failed", "cancelled")
JOB = click.argument("id", type=click.IntRange(min=0))


@click.command(
    "create", epilog='Example: roost jobs create review.contract --title "Read the new contract" --owner mia'
)
@click.argument("kind")
@click.argument("input", type=inputs.JSON, metavar="[JSON|@FILE|-]", required=False)
@click.option("--title", help="What is to do; becomes the input's title.")
@click.option("--queue", metavar="NAME", default=TRACKED_QUEUE, show_default=True, help="Into this queue.")
@click.option("--delay", metavar="DURATION", help="Start no earlier than this from now, such as 10m.")
@click.option("--priority", type=inputs.PRIORITY, help="9 goes first; or low, normal, high.")
@click.option("--unique", metavar="KEY", help="One live job holds this key; a second call answers with the first's id.")
@click.option("--ttl", metavar="DURATION", help="Not started within this time, it expires.")
@click.option("--deadline", metavar="DURATION", help="Not ended within this time, it is cancelled.")
@click.option("--timeout", metavar="DURATION", help="The longest one attempt may take.")
@click.option("--hold", metavar="TITLE", help="Hold it before it starts until somebody approves.")
@click.option("--tag", "tag", metavar="KEY=VALUE", multiple=True, help="May be repeated.")
@click.option("--owner", metavar="NAME", help="Whose job it is.")
@writing
@pass_session
def create_command(session: Session, /, kind: str, input: bytes | None, title: str | None, **options: Any) -> None:
    """Create a job of KIND that no worker runs: take it and tell its state with ``roost jobs update``."""
    import msgspec

    from roost.cli.new_jobs import new_job
    from roost.wire.contract import ENQUEUE

    if title is not None:
        fields = {} if input is None else msgspec.json.decode(input)
        if not isinstance(fields, dict):
            raise click.UsageError("--title goes into an input that is an object")
        input = msgspec.json.encode({"title": title, **fields})
    session.may_create = True
    made = session.send(ENQUEUE, new_job(kind=kind, input=input, **options))
    known = "  (was there already)" if made.duplicate else ""
    output.emit_one(made, session.format, lambda: output.say(f"{made.id}{known}"), lambda: made.id)


@click.command("take")
@JOB
@click.option("--lease", metavar="DURATION", help="Give it back where no update comes for this long; else never.")
@writing
@pass_session
def take_command(session: Session, id: int, lease: str | None) -> None:
    """Start a ready job by hand; tell what becomes of it with ``roost jobs update``."""
    from roost.wire.contract import TAKE_JOB
    from roost.wire.jobs import TakeJob

    taken = session.send(TAKE_JOB, TakeJob(id=id, worker=_worker(session), lease=lease))

    def show() -> None:
        output.say(f"{taken.job.id}  {output.paint(taken.job.state.value)}  attempt {taken.attempt}")

    output.emit_one(taken, session.format, show, lambda: taken.job.id)


@click.command(
    "update",
    epilog='Examples: roost jobs update 17 --note "Started first pass"; '
    'roost jobs update 17 --state succeeded --summary "Brief posted"',
)
@JOB
@click.option("--state", type=click.Choice(STATES), default="running", show_default=True, help="Where it is now.")
@click.option("--attempt", type=click.IntRange(min=1), help="Of this attempt; else of the current one.")
@click.option("--note", default="", help="A line for its history.")
@click.option("--progress", metavar="CURRENT[/TOTAL]", help="How far it is, such as 3/10.")
@click.option("--summary", help="How it ended, in a sentence or two.")
@click.option("--result", type=inputs.JSON, metavar="JSON|@FILE|-", help="What came out.")
@click.option(
    "--chunk", "chunks", type=inputs.JSON, metavar="JSON", multiple=True, help="Append to its result's chunks."
)
@click.option("--error", metavar="TEXT", help="With --state failed: what went wrong.")
@click.option("--retry", is_flag=True, help="With --state failed: leave it to its retry rule.")
@click.option("--lease", metavar="DURATION", help="Give it back where no update comes for this long.")
@writing
@pass_session
def update_command(
    session: Session,
    /,
    id: int,
    state: str,
    attempt: int | None,
    progress: str | None,
    result: bytes | None,
    chunks: tuple[bytes, ...],
    error: str | None,
    **options: Any,
) -> None:
    """Tell where a job is that you do yourself; a ready one is taken first.

    The update counts for the attempt it names: who lost the job to somebody else is refused.
    """
    import msgspec

    from roost.wire.contract import UPDATE_JOB
    from roost.wire.jobs import ErrorInfo, UpdateJob

    if attempt is None:
        attempt = _current_attempt(session, id, state, options["lease"])
    request = UpdateJob(
        id=id,
        attempt=attempt,
        **inputs.given(
            **options,
            state=state,
            progress=None if progress is None else _progress(progress),
            result=None if result is None else msgspec.Raw(result),
            chunks=[msgspec.Raw(chunk) for chunk in chunks] or None,
            error=None if error is None else ErrorInfo(type="Failed", message=error),
            actor=session.who(),
        ),
    )
    job = session.send(UPDATE_JOB, request)

    def show() -> None:
        reason = f" ({job.reason})" if job.reason else ""
        output.say(f"{job.id}  {output.paint(job.state.value)}{reason}")

    output.emit_one(job, session.format, show, lambda: job.id)


@click.command("result")
@JOB
@reading
@pass_session
def result_command(session: Session, id: int) -> None:
    """Print what came out of a job: its summary and its result."""
    from roost.wire.contract import GET_JOB
    from roost.wire.jobs import JobRef

    job = session.send(GET_JOB, JobRef(id=id))
    output.emit_one(job, session.format, lambda: _show_result(job), lambda: job.id)


def _show_result(job: Job) -> None:
    reason = f" ({job.reason})" if job.reason else ""
    output.note(f"job {job.id} is {job.state.value}{reason}")
    if job.summary:
        output.indented(job.summary.splitlines(), 0)
    if job.result is not None:
        output.say(output.json_text(job.result, indent=2))
    if job.chunks:
        output.note(f"{job.chunks:,} chunks: roost jobs chunks {job.id}")


def _current_attempt(session: Session, id: int, state: str, lease: str | None) -> int:
    from roost.wire.contract import GET_JOB, TAKE_JOB
    from roost.wire.jobs import JobRef, TakeJob

    job = session.send(GET_JOB, JobRef(id=id))
    if job.state.value == "ready" and state != "ready":
        return session.send(TAKE_JOB, TakeJob(id=id, worker=_worker(session), lease=lease)).attempt
    return max(job.attempt, 1)


def _worker(session: Session) -> str:
    """Who takes a job, as a name: the actor, whatever an account may be called."""
    from roost.domain.names import is_name

    who = session.who()
    return who if is_name(who) else "cli"


def _progress(text: str) -> Any:
    from roost.wire.jobs import Progress

    current, slash, total = text.partition("/")
    try:
        return Progress(current=float(current), total=float(total) if slash else None)
    except ValueError:
        raise click.UsageError(f"{text!r} is no progress; write 3 or 3/10") from None


COMMANDS = (create_command, take_command, update_command, result_command)
