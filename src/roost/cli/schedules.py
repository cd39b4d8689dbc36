"""``roost schedules``: rules that create jobs over time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from roost.cli import inputs, output, text, times
from roost.cli.lazy import Group
from roost.cli.new_jobs import new_job
from roost.cli.output import Column
from roost.cli.session import Session, listing, paged, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.domain.schedule import ScheduleRule
    from roost.wire.schedules import Preview, Run, Schedule

P = ParamSpec("P")
R = TypeVar("R")

_WHEN = ("cron", "every", "at")
_RULE = (
    *_WHEN,
    "zone",
    "gap",
    "fold",
    "missed",
    "missed_limit",
    "grace",
    "overlap",
    "jitter",
    "interval",
    "starts_at",
    "ends_at",
    "max_runs",
    "alarm_after",
    "alarm_unfinished_after",
)


@click.group("schedules", cls=Group)
def command() -> None:
    """Create, look at and steer schedules."""


NAME = click.argument("name")


def rule_options(function: Callable[P, R]) -> Callable[P, R]:
    """The options of a schedule's rule."""
    for option in reversed(
        (
            click.option(
                "--cron", metavar="FIELDS", help="Five fields, six with leading seconds, or an alias: '0 8 * * *'."
            ),
            click.option("--every", metavar="DURATION", help="An interval, such as 15m."),
            click.option("--at", metavar="TIME", help="Once: RFC 3339, or a local time of the zone."),
            click.option("--zone", metavar="NAME", help="The zone of cron and --at, such as Europe/Paris; else UTC."),
            click.option("--gap", type=click.Choice(("next", "skip")), help="A time that a clock change drops."),
            click.option("--fold", type=click.Choice(("first", "both")), help="A time that a clock change repeats."),
            click.option(
                "--missed", type=click.Choice(("latest", "all", "none")), help="Which missed fires are made up for."
            ),
            click.option("--missed-limit", type=click.IntRange(min=1), help="With --missed all: at most so many."),
            click.option("--grace", metavar="DURATION", help="Up to this late is on time."),
            click.option(
                "--overlap",
                type=click.Choice(("allow", "skip", "queue", "replace")),
                help="What a fire does while the last job is unfinished.",
            ),
            click.option("--jitter", metavar="DURATION", help="Start each job up to this much later."),
            click.option(
                "--interval", type=click.Choice(("anchored", "after_completion")), help="What --every counts from."
            ),
            click.option("--starts-at", metavar="TIME", help="No fire before it (RFC 3339)."),
            click.option("--ends-at", metavar="TIME", help="No fire after it (RFC 3339)."),
            click.option("--max-runs", type=click.IntRange(min=1), help="End after this many jobs."),
            click.option(
                "--alarm-after", metavar="DURATION", help="An event schedule_late where a job has not started by then."
            ),
            click.option(
                "--alarm-unfinished-after", metavar="DURATION", help="The same where it has not succeeded by then."
            ),
        )
    ):
        function = option(function)
    return function


def job_options(function: Callable[P, R]) -> Callable[P, R]:
    """The options of a schedule's job."""
    for option in reversed(
        (
            click.option("--queue", metavar="NAME", help="Its jobs go into this queue."),
            click.option("--priority", type=inputs.PRIORITY, help="9 goes first; or low, normal, high."),
            click.option("--timeout", metavar="DURATION", help="The longest one attempt may take."),
            click.option("--retries", type=click.IntRange(min=0), help="Try again this many times after failures."),
            click.option("--hold", metavar="TITLE", help="Hold each job before it starts until somebody approves."),
            click.option("--tag", metavar="KEY=VALUE", multiple=True, help="May be repeated."),
            click.option("--remove-after-last/--keep-after-last", default=None, help="Remove it when no fire is left."),
            click.option("--paused", is_flag=True, default=None, help="Do not fire yet."),
        )
    ):
        function = option(function)
    return function


COLUMNS: tuple[Column[Schedule], ...] = (
    Column("SCHEDULE", lambda schedule: schedule.name, elastic=True),
    Column("STATE", lambda schedule: "paused" if schedule.paused else "on"),
    Column("WHEN", lambda schedule: schedule.description, elastic=True),
    Column("KIND", lambda schedule: schedule.job.kind, elastic=True),
    Column("NEXT", lambda schedule: times.short(schedule.next_fire)),
    Column("LAST", lambda schedule: times.short(schedule.last_fire)),
    Column("LAST JOB", lambda schedule: schedule.last_job, right=True),
)


@command.command("list")
@listing
@pass_session
def list_command(session: Session) -> None:
    """List all schedules."""
    from roost.wire.contract import LIST_SCHEDULES
    from roost.wire.jobs import Empty

    schedules = session.send(LIST_SCHEDULES, Empty()).schedules
    output.emit_pages([schedules], session.format, COLUMNS, lambda schedule: schedule.name, "no schedules yet")


@command.command("show")
@NAME
@reading
@pass_session
def show_command(session: Session, name: str) -> None:
    """Show a schedule: its rule, its job and its next fire."""
    _show(session, _get(session, name))


@command.command(
    "create",
    epilog="Example: roost schedules create morning brief.send '{\"user\": 7}' --cron '0 8 * * *' --zone Europe/Paris",
)
@NAME
@click.argument("kind")
@click.argument("input", type=inputs.JSON, metavar="[JSON|@FILE|-]", required=False)
@rule_options
@job_options
@writing
@pass_session
def create_command(
    session: Session, /, name: str, remove_after_last: bool | None, paused: bool | None, **options: Any
) -> None:
    """Create a schedule that enqueues KIND with the JSON as its input."""
    from roost.domain.schedule import ScheduleRule
    from roost.errors import Conflict, NotFound
    from roost.wire.contract import PUT_SCHEDULE
    from roost.wire.schedules import PutSchedule

    rule = {field: options.pop(field) for field in _RULE}
    session.may_create = True
    request = PutSchedule(
        name=name,
        rule=ScheduleRule(**inputs.given(**rule)),
        job=new_job(**options),
        paused=paused,
        remove_after_last=bool(remove_after_last),
        actor=session.who(),
    )
    try:
        _get(session, name)
    except NotFound:
        _show(session, session.send(PUT_SCHEDULE, request))
        return
    raise Conflict(f"there is a schedule {name!r} already", path="name", help=f"roost schedules edit {name}")


@command.command("edit")
@NAME
@click.option("--kind", metavar="NAME", help="Its jobs are of this kind.")
@click.option("--input", type=inputs.JSON, metavar="JSON|@FILE|-", help="Its jobs' input.")
@rule_options
@job_options
@writing
@pass_session
def edit_command(
    session: Session, /, name: str, remove_after_last: bool | None, paused: bool | None, **options: Any
) -> None:
    """Change a schedule; what is not given stays. The next fire is computed anew."""
    import msgspec

    from roost.wire.contract import PUT_SCHEDULE
    from roost.wire.schedules import PutSchedule

    before = _get(session, name)
    changes = inputs.given(**{field: options.pop(field) for field in _RULE})
    if any(field in changes for field in _WHEN):
        changes = {**dict.fromkeys(_WHEN), **changes}
        if "every" not in inputs.given(**changes):
            changes.setdefault("interval", "anchored")
    kind = options.pop("kind") or before.job.kind
    wanted = new_job(kind=kind, **options)
    # Only what was given leaves its default: the rest is the job as it was.
    job = {field: value for field, value in _explicit(options, wanted).items() if value is not None}
    request = PutSchedule(
        name=name,
        rule=msgspec.structs.replace(before.rule, **changes),
        job=msgspec.structs.replace(before.job, kind=kind, **job),
        paused=paused,
        remove_after_last=before.remove_after_last if remove_after_last is None else remove_after_last,
        actor=session.who(),
    )
    _show(session, session.send(PUT_SCHEDULE, request))


def _explicit(options: dict[str, Any], job: Any) -> dict[str, Any]:
    fields = {"retries": "retry", "tag": "tags"}
    given = {name for name, value in options.items() if value not in (None, ())}
    return {fields.get(name, name): getattr(job, fields.get(name, name)) for name in given}


@command.command("preview")
@click.argument("name", required=False)
@click.option("-n", "--count", type=click.IntRange(1, 100), default=10, show_default=True, help="How many fires.")
@rule_options
@reading
@pass_session
def preview_command(session: Session, /, name: str | None, count: int, **rule: Any) -> None:
    """Show the next fires: of a stored schedule by NAME, or of a rule given by options."""
    from roost.domain.schedule import ScheduleRule
    from roost.wire.contract import PREVIEW_RULE, PREVIEW_SCHEDULE
    from roost.wire.schedules import PreviewRule, PreviewSchedule

    options = inputs.given(**rule)
    if (name is None) == (not options):
        raise click.UsageError("give the NAME of a schedule, or a rule such as --cron '0 8 * * *'")
    if name is not None:
        _show_preview(session, session.send(PREVIEW_SCHEDULE, PreviewSchedule(name=name, count=count)))
    else:
        _show_preview(session, session.send(PREVIEW_RULE, PreviewRule(rule=ScheduleRule(**options), count=count)))


def _show_preview(session: Session, preview: Preview) -> None:
    def show() -> None:
        output.say(text.line(preview.description))
        for fire, local in zip(preview.fires, preview.local, strict=True):
            output.say(f"  {local}  {output.faint(times.relative(fire))}")

    output.emit_one(preview, session.format, show, lambda: "\n".join(preview.fires))


@command.command("pause")
@NAME
@writing
@pass_session
def pause_command(session: Session, name: str) -> None:
    """Fire no more; the next fire is kept."""
    from roost.wire.contract import PAUSE_SCHEDULE
    from roost.wire.schedules import ScheduleRef

    _changed(session, session.send(PAUSE_SCHEDULE, ScheduleRef(name=name, actor=session.who())))


@command.command("resume")
@NAME
@writing
@pass_session
def resume_command(session: Session, name: str) -> None:
    """Fire again."""
    from roost.wire.contract import RESUME_SCHEDULE
    from roost.wire.schedules import ScheduleRef

    _changed(session, session.send(RESUME_SCHEDULE, ScheduleRef(name=name, actor=session.who())))


@command.command("run")
@NAME
@click.option("--wait", is_flag=True, help="Wait for the job's end and print its result.")
@writing
@pass_session
def run_command(session: Session, name: str, wait: bool) -> int:
    """Fire now; the next fire is not shifted."""
    from roost.cli.waiting import until_ended
    from roost.wire.contract import RUN_SCHEDULE
    from roost.wire.schedules import ScheduleRef

    made = session.send(RUN_SCHEDULE, ScheduleRef(name=name, actor=session.who()))
    if wait:
        return until_ended(session, made.id, None)
    output.emit_one(made, session.format, lambda: output.say(str(made.id)), lambda: made.id)
    return 0


@command.command("backfill")
@NAME
@click.option("--first", type=times.MOMENT, required=True, help="From this time on.")
@click.option("--last", type=times.MOMENT, required=True, help="Up to this time.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many jobs.")
@click.option("--dry-run", is_flag=True, help="Only show which instants these are.")
@writing
@pass_session
def backfill_command(session: Session, name: str, first: datetime, last: datetime, limit: int, dry_run: bool) -> None:
    """Make the jobs of past instants that have none yet."""
    from roost.wire.contract import BACKFILL_SCHEDULE
    from roost.wire.schedules import BackfillSchedule

    request = BackfillSchedule(
        name=name,
        first=first,
        last=last,
        limit=limit,
        dry_run=dry_run,
        actor=session.who(),
    )
    made = session.send(BACKFILL_SCHEDULE, request)

    def show() -> None:
        for place, fire in enumerate(made.fires):
            output.say(f"{times.full(fire)}  {made.jobs[place] if made.jobs else output.faint('no job made')}")
        if not made.fires:
            output.say("no instant without a job")
        elif made.more:
            output.say(output.faint("there are more: raise --limit, or go on from the last"))

    output.emit_one(made, session.format, show, lambda: "\n".join(str(job) for job in made.jobs))


@command.command("delete")
@NAME
@writing
@pass_session
def delete_command(session: Session, name: str) -> None:
    """Delete a schedule; its jobs and runs stay."""
    from roost.wire.contract import DELETE_SCHEDULE
    from roost.wire.schedules import ScheduleRef

    gone = ScheduleRef(name=name, actor=session.who())
    session.send(DELETE_SCHEDULE, gone)
    output.emit_one(
        {"name": name}, session.format, lambda: output.say(f"deleted schedule {text.line(name)}"), lambda: name
    )


@command.command("runs")
@NAME
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@listing
@pass_session
def runs_command(session: Session, name: str, limit: int) -> None:
    """List what became of a schedule's fires, newest first."""
    from roost.wire.contract import LIST_RUNS
    from roost.wire.schedules import ListRuns

    def ask(cursor: str | None, size: int) -> tuple[list[Run], str | None]:
        page = session.send(LIST_RUNS, ListRuns(name=name, limit=size, cursor=cursor))
        return page.runs, page.cursor

    columns: tuple[Column[Run], ...] = (
        Column("FIRE", lambda run: times.short(run.fire_at)),
        Column("OUTCOME", lambda run: run.outcome),
        Column("LATE", lambda run: times.between(run.fire_at, run.fired_at), right=True),
        Column("JOB", lambda run: run.job, right=True),
        Column("JOB'S STATE", lambda run: run.state),
    )
    output.emit_pages(paged(ask, limit, False), session.format, columns, lambda run: run.job or "", "no fires yet")


def _get(session: Session, name: str) -> Schedule:
    from roost.wire.contract import GET_SCHEDULE
    from roost.wire.schedules import ScheduleRef

    return session.send(GET_SCHEDULE, ScheduleRef(name=name))


def _changed(session: Session, schedule: Schedule) -> None:
    def show() -> None:
        state = "paused" if schedule.paused else f"on, next fire {times.full(schedule.next_fire)}"
        output.say(f"{text.line(schedule.name)}  {state}")

    output.emit_one(schedule, session.format, show, lambda: schedule.name)


def _show(session: Session, schedule: Schedule) -> None:
    def show() -> None:
        job = schedule.job
        output.say(output.strong(f"schedule {text.line(schedule.name)}: ") + text.line(schedule.description))
        output.fields(
            [
                ("state", "paused" if schedule.paused else "on"),
                ("next fire", times.full(schedule.next_fire)),
                ("last fire", times.full(schedule.last_fire)),
                ("last job", schedule.last_job),
                ("jobs made", schedule.runs or ""),
                *_policies(schedule.rule),
                ("after the last", "removed" if schedule.remove_after_last else ""),
                ("changed", times.full(schedule.changed_at)),
                ("job", f"{job.kind}  into {job.queue}, priority {job.priority}"),
            ]
        )
        output.section("input")
        for part in output.json_text(job.input, indent=2).split("\n"):
            output.say(f"  {part}")

    output.emit_one(schedule, session.format, show, lambda: schedule.name)


def _policies(rule: ScheduleRule) -> list[tuple[str, object]]:
    return [
        (field.replace("_", " "), getattr(rule, field)) for field in _RULE if getattr(rule, field) not in (None, "0s")
    ]
