"""Waiting for a job's end: its outcome becomes the exit code; Ctrl-C stops waiting, never the job."""

from __future__ import annotations

import time

from roost.cli import exit_codes, failures, output, text, times
from roost.cli.session import Session
from roost.domain.duration import format_duration, parse_duration
from roost.domain.states import TERMINAL, State
from roost.errors import JobFailed, ResultTimeout
from roost.wire.contract import WAIT_JOB
from roost.wire.jobs import Job, WaitJob

_ONE_WAIT_MS = 20_000


def until_ended(session: Session, id: int, within: str | None) -> int:
    """Wait for the job and print how it ended; raises `ResultTimeout`. The answer is the exit code."""
    limit_ms = None if within is None else parse_duration(within, path="within")
    try:
        job = _ended(session, id, limit_ms)
    except KeyboardInterrupt:
        output.note(f"job {id} goes on; roost jobs wait {id} waits for it again")
        raise
    if job is None:
        raise ResultTimeout(
            f"job {id} has not ended within {within}", help=f"it goes on; roost jobs explain {id} says why"
        )
    output.emit_one(job, session.format, lambda: _show(job), lambda: job.id)
    if job.state is State.SUCCEEDED:
        return exit_codes.OK
    reason = f" ({job.reason})" if job.reason else ""
    last = f"; {job.error.type}: {job.error.message}" if job.error is not None else ""
    refusal = JobFailed(f"job {id} {job.state}{reason}{last}", help=f"roost jobs inspect {id} shows its attempts")
    return failures.report(refusal, session.format)


def slices(wait: str) -> list[str]:
    """A long wait as several that one call may take each."""
    left = parse_duration(wait, path="wait")
    found = []
    while left > _ONE_WAIT_MS:
        found.append(format_duration(_ONE_WAIT_MS))
        left -= _ONE_WAIT_MS
    return [*found, format_duration(left)]


def _ended(session: Session, id: int, limit_ms: int | None) -> Job | None:
    start = time.monotonic()
    shown: State | None = None
    while True:
        left = None if limit_ms is None else limit_ms - round((time.monotonic() - start) * 1000)
        wait_ms = _ONE_WAIT_MS if left is None else max(0, min(left, _ONE_WAIT_MS))
        job = session.send(WAIT_JOB, WaitJob(id=id, wait=format_duration(wait_ms)))
        if job.state in TERMINAL:
            return job
        if job.state is not shown and session.format == "table":
            hint = f"; roost approvals list --job {id}" if job.state is State.HELD else ""
            output.note(f"job {id} is {job.state}{f' ({job.reason})' if job.reason else ''}{hint}")
            shown = job.state
        if left is not None and left <= 0:
            return None


def _show(job: Job) -> None:
    output.say(text.line(_outcome(job)))
    if job.result is not None:
        output.say(output.json_text(job.result, indent=2))


def _outcome(job: Job) -> str:
    """How a job ended, and how long that took."""
    took = times.between(job.started_at, job.finished_at)
    waited = times.between(job.run_at or job.created_at, job.started_at)
    parts = [f"in {took}" if took else "", f"(waited {waited})" if waited else ""]
    reason = f" ({job.reason})" if job.reason else ""
    return " ".join([f"{job.id}  {job.kind}  {job.state.value}{reason}", *filter(None, parts)])
