"""``roost jobs inspect``: all that is known of one job, readable from top to bottom."""

from __future__ import annotations

import msgspec

from roost.cli import output, times
from roost.cli.approvals import show_hold
from roost.cli.logs import last_lines, shown
from roost.cli.output import Column, Table
from roost.cli.retrying import retry_text
from roost.cli.session import Session
from roost.cli.text import block, line
from roost.wire.attempts import Step, Steps, UnrecordedStep
from roost.wire.contract import GET_JOB, JOB_EVENTS, LIST_HOLDS, STEPS
from roost.wire.holds import Hold, ListHolds
from roost.wire.jobs import Attempt, ErrorInfo, Job, JobEvent, JobRef, LogLine, Progress

_LOG_LINES = 10
_TRACEBACK_LINES = 12
_JSON_LINES = 30


class Inspection(Job, kw_only=True):
    """A job with its steps, holds, last log lines and history: one document."""

    steps: list[Step]
    unrecorded: list[UnrecordedStep]
    live: dict[str, int]
    holds: list[Hold]
    logs: list[LogLine]
    events: list[JobEvent]


def inspect(session: Session, id: int) -> None:
    """Print everything readable of a job; raises `NotFound`."""
    job = session.send(GET_JOB, JobRef(id=id))
    told = session.send(STEPS, JobRef(id=id))
    holds = session.send(LIST_HOLDS, ListHolds(job=id, all=True, limit=100)).holds
    logs = last_lines(session, id, _LOG_LINES)
    events = session.send(JOB_EVENTS, JobRef(id=id)).events
    known = {field: getattr(job, field) for field in job.__struct_fields__}
    whole = Inspection(
        **known, steps=told.steps, unrecorded=told.unrecorded, live=told.live, holds=holds, logs=logs, events=events
    )
    output.emit_one(whole, session.format, lambda: _show(whole), lambda: job.id)


def _show(job: Inspection) -> None:
    reason = f" ({job.reason})" if job.reason else ""
    asked = ", cancel requested" if job.cancel_requested else ""
    output.say(
        output.strong(f"job {job.id}  {line(job.kind)}  ") + output.paint(job.state.value) + line(reason) + asked
    )
    output.fields(_header(job))
    _show_json("input", job.input)
    if job.metadata is not None:
        _show_json("metadata", job.metadata)
    if job.progress is not None:
        output.section("progress")
        output.indented([_progress(job.progress)])
    _show_attempts(job.attempts)
    _show_steps(job)
    for hold in job.holds:
        output.section(f"{'question' if hold.reason == 'question' else 'approval'} {hold.id}")
        show_hold(hold, by=2)
    if job.saved is not None:
        _show_json("saved state", job.saved)
    if job.logs:
        output.section("logs" if len(job.logs) < _LOG_LINES else f"logs (the last {_LOG_LINES} lines)")
        for entry in job.logs:
            for part in shown(entry):
                output.say(f"  {part}")
    if job.result is not None:
        _show_json("result", job.result)
    if job.events:
        output.section("history")
        _show_events(job.events)


def _header(job: Job) -> list[tuple[str, object]]:
    ran = times.between(job.started_at, job.finished_at)
    return [
        ("queue", f"{job.queue}, priority {job.priority}"),
        ("attempts", f"{job.attempt}, {job.failures} failed"),
        ("created", times.full(job.created_at)),
        ("runs at", times.full(job.run_at)),
        ("started", times.full(job.started_at)),
        ("finished", times.full(job.finished_at) + (f", {ran} after its start" if ran else "")),
        ("expires", times.full(job.expires_at)),
        ("deadline", times.full(job.deadline_at)),
        ("worker", job.worker),
        ("lease until", times.full(job.lease_until)),
        ("schedule", job.schedule),
        ("unique key", job.unique_key),
        ("owner", job.owner),
        ("tags", ", ".join(f"{key}={value}" for key, value in (job.tags or {}).items())),
        ("summary", job.summary),
        ("chunks", f"{job.chunks:,}: roost jobs chunks {job.id}" if job.chunks else ""),
        ("time limit", job.timeout),
        ("retry", "" if job.retry is None else retry_text(job.retry)),
    ]


def _progress(progress: Progress) -> str:
    if progress.current is None:
        return progress.message
    if not progress.total:
        return f"{progress.current:g}  {progress.message}"
    share = max(0.0, min(1.0, progress.current / progress.total))
    bar = "#" * round(share * 20)
    return f"[{bar:.<20}] {share:.0%}  {progress.current:g}/{progress.total:g}  {progress.message}"


def _show_json(title: str, value: msgspec.Raw) -> None:
    output.section(title)
    lines = output.json_text(value, indent=2).split("\n")
    for part in lines[:_JSON_LINES]:
        output.say(f"  {part}")
    if len(lines) > _JSON_LINES:
        output.say(output.faint(f"  … {len(lines) - _JSON_LINES:,} more lines; -o json shows all"))


def _show_attempts(attempts: list[Attempt]) -> None:
    if attempts:
        output.section("attempts")
    for attempt in attempts:
        outcome = attempt.outcome or "running"
        took = times.between(attempt.started_at, attempt.ended_at)
        words = [f"after {took}" if took else "", f"on {attempt.worker}" if attempt.worker else ""]
        output.say(
            f"  {attempt.number:>2}  {output.paint(outcome)}  "
            + line("  ".join([*filter(None, words), times.short(attempt.started_at)]))
        )
        if attempt.error is not None:
            # The last one's traceback is enough: earlier ones mostly repeat it, and -o json has them all.
            _show_error(attempt.error, traceback=attempt is attempts[-1])


def _show_error(error: ErrorInfo, *, traceback: bool) -> None:
    first, *rest = block(f"{error.type}: {error.message}" if error.message else error.type)
    output.say("      " + output.paint("error", first))
    output.indented(rest, 8)
    trace = block(error.traceback.rstrip()) if error.traceback and traceback else []
    told = [first, *rest]
    if trace[-len(told) :] == told:
        trace = trace[: -len(told)]
    if len(trace) > _TRACEBACK_LINES:
        # A traceback's end is where it broke.
        trace = ["…", *trace[-_TRACEBACK_LINES:]]
    output.indented(trace, 8)


def steps(session: Session, id: int) -> None:
    """Print a job's steps; raises `NotFound`."""
    told = session.send(STEPS, JobRef(id=id))

    def show() -> None:
        if not _show_steps(told):
            output.say(output.faint("no step was recorded"))

    output.emit_one(told, session.format, show, lambda: id)


def _show_steps(told: Steps | Inspection) -> bool:
    """Whether there was any to show."""
    if told.steps:
        output.section("steps")
        columns: tuple[Column[Step], ...] = (
            Column("", lambda step: f"{step.number:>4}"),
            Column("NAME", lambda step: step.name, elastic=True),
            Column("KIND", lambda step: step.kind),
            Column("TRY", lambda step: step.attempt, right=True),
            Column("TOOK", lambda step: times.between(step.started_at, step.finished_at), right=True),
            Column("FINISHED", lambda step: times.short(step.finished_at)),
            Column("OUTPUT", lambda step: _preview(step.output), elastic=True),
        )
        Table(columns, "").page(told.steps)
    if told.unrecorded:
        output.section("started, not recorded")
        marks: tuple[Column[UnrecordedStep], ...] = (
            Column("", lambda _: "    "),
            Column("NAME", lambda mark: mark.name, elastic=True),
            Column("KIND", lambda mark: mark.kind),
            Column("TRY", lambda mark: mark.attempt, right=True),
            Column("STARTED", lambda mark: times.short(mark.started_at)),
            Column("THE TRY", lambda mark: mark.ended or "running"),
        )
        Table(marks, "").page(told.unrecorded)
    if told.live:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(told.live.items()))
        output.say(output.faint(f"  run live: {counts}"))
    return bool(told.steps or told.unrecorded)


def _preview(value: msgspec.Raw, cells: int = 60) -> str:
    whole = bytes(value).decode(errors="replace")
    return whole if len(whole) <= cells else whole[: cells - 1] + "…"


def _show_events(events: list[JobEvent]) -> None:
    columns: tuple[Column[JobEvent], ...] = (
        Column("", lambda event: f"{event.number:>4}"),
        Column("WHEN", lambda event: times.short(event.at)),
        Column("EVENT", lambda event: event.type),
        Column("BY", lambda event: event.actor),
        Column("FACTS", lambda event: "" if event.data is None else _preview(event.data, 100), elastic=True),
    )
    Table(columns, "").page(events)
