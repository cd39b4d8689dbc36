"""Database rows as the wire types they are told as; one column order for both engines."""

from __future__ import annotations

from typing import Any

import msgspec

from roost.domain import limits
from roost.domain.duration import format_duration
from roost.domain.records import Flag, JobOptions, LimitRule
from roost.domain.schedule import ScheduleRule, describe
from roost.domain.states import State
from roost.domain.why import LimitUse
from roost.engine.findings import ScheduleFacts
from roost.engine.work.texts import unpack
from roost.wire.attempts import Register, Step, UnrecordedStep, Worker
from roost.wire.batches import Batch
from roost.wire.codec import timestamp
from roost.wire.flow import Dependency
from roost.wire.holds import Hold
from roost.wire.jobs import Attempt, ErrorInfo, Job, JobSummary, Limit, NewJob, Progress
from roost.wire.kinds import KindSchema
from roost.wire.limits import Limiter
from roost.wire.schedules import Schedule

_options = msgspec.json.Decoder(JobOptions)
_error = msgspec.json.Decoder(ErrorInfo)
_progress = msgspec.json.Decoder(Progress)
_rule = msgspec.json.Decoder(ScheduleRule)
_new_job = msgspec.json.Decoder(NewJob)
_register = msgspec.json.Decoder(Register)

Row = tuple[Any, ...]


def time(ms: int | None) -> str | None:
    """RFC 3339, or None for none."""
    return None if ms is None else timestamp(ms)


def raw(text: str | None) -> msgspec.Raw | None:
    """A JSON value as it was stored."""
    return None if text is None else msgspec.Raw(text.encode())


def _summary_fields(row: Row) -> dict[str, Any]:
    return {
        "id": row[0],
        "kind": row[1],
        "queue": row[2],
        "state": State(row[3]),
        "reason": row[4],
        "priority": row[5],
        "attempt": row[6],
        "failures": row[7],
        "created_at": timestamp(row[8]),
        "run_at": time(row[9]),
        "started_at": time(row[10]),
        "finished_at": time(row[11]),
        "expires_at": time(row[12]),
        "deadline_at": time(row[13]),
        "worker": row[14],
        "cancel_requested": bool(row[15] & Flag.CANCEL_REQUESTED),
    }


def summary(row: Row) -> JobSummary:
    """From the columns of ``job_summary``."""
    return JobSummary(**_summary_fields(row))


def attempt(row: Row) -> Attempt:
    """From the columns of ``job_attempts``."""
    number, worker, started_at, ended_at, outcome, error = row
    return Attempt(
        number=number,
        worker=worker,
        started_at=time(started_at),
        ended_at=time(ended_at),
        outcome=outcome,
        error=None if error is None else _error.decode(error),
    )


def job(row: Row, whole: Row, more: Row, ended: list[Attempt]) -> Job:
    """From the columns of ``job_summary``, ``job_whole`` and ``job_more``, and the attempts that ended.

    A plain success writes no attempt row: its attempt is told from the job's own.
    """
    text, result, options_text, progress, saved, lease_until = whole
    options = _options.decode(options_text) if options_text else JobOptions()
    attempts = list(ended)
    number, state = row[6], State(row[3])
    if number > 0 and (not attempts or attempts[-1].number < number):
        succeeded = state is State.SUCCEEDED
        attempts.append(
            Attempt(
                number=number,
                worker=row[14],
                started_at=time(row[10]),
                ended_at=time(row[11]) if succeeded else None,
                outcome="succeeded" if succeeded else None,
            )
        )
    return Job(
        **_summary_fields(row),
        input=msgspec.Raw(text.encode()),
        result=raw(result),
        summary=more[1],
        chunks=more[2],
        error=attempts[-1].error if attempts else None,
        progress=None if progress is None else _progress.decode(progress),
        saved=raw(saved),
        tags=options.tags,
        owner=options.owner,
        metadata=raw(more[0]),
        timeout=None if options.timeout_ms is None else format_duration(options.timeout_ms),
        retry=options.retry,
        unique_key=None if options.unique_key is None else options.unique_key.partition("\n")[2],
        limits=None if options.limits is None else [_limit(rule) for rule in options.limits],
        schedule=options.schedule,
        batch=options.batch,
        parent=options.parent,
        attempts=attempts,
        lease_until=time(lease_until) if state is State.RUNNING else None,
    )


def _limit(rule: LimitRule) -> Limit:
    return Limit(key=rule.key, concurrency=rule.concurrency, rate=rule.rate, burst=rule.burst, cost=rule.cost)


def step(row: Row) -> Step:
    """From the columns of ``job_steps``."""
    number, name, kind, input_hash, output, usage, number_of_attempt, started_at, finished_at = row
    return Step(
        number=number,
        name=name,
        kind=kind,
        input_hash=input_hash,
        output=msgspec.Raw(output.encode()),
        usage=raw(usage),
        attempt=number_of_attempt,
        started_at=time(started_at),
        finished_at=timestamp(finished_at),
    )


def unrecorded_step(row: Row) -> UnrecordedStep:
    """From the columns of ``job_steps_started``."""
    name, kind, input_hash, number_of_attempt, started_at, ended = row
    return UnrecordedStep(
        name=name,
        kind=kind,
        input_hash=input_hash,
        attempt=number_of_attempt,
        started_at=timestamp(started_at),
        ended=ended,
    )


def hold(row: Row) -> Hold:
    """From the columns of ``hold_one``."""
    return Hold(
        id=row[0],
        job=row[1],
        kind=row[2],
        queue=row[3],
        reason=row[4],
        title=row[5],
        subject=msgspec.Raw(row[6].encode()),
        subject_hash=row[7],
        state=row[8],
        created_at=timestamp(row[9]),
        deadline=time(row[10]),
        on_expiry=row[11],
        decided_at=time(row[12]),
        decided_by=row[13],
        note=row[14],
        answer=raw(row[15]),
        current=bool(row[16]),
    )


def schedule(row: Row) -> Schedule:
    """From the columns of ``schedule_row``."""
    rule = _rule.decode(row[1])
    return Schedule(
        name=row[0],
        rule=rule,
        job=_new_job.decode(row[2]),
        description=describe(rule),
        paused=bool(row[3]),
        remove_after_last=bool(row[4]),
        next_fire=time(row[5]),
        last_fire=time(row[6]),
        last_job=row[7],
        created_at=timestamp(row[8]),
        changed_at=timestamp(row[9]),
        runs=row[10],
    )


def schedule_facts(row: Row) -> ScheduleFacts:
    """From the columns of ``schedule_fact``."""
    return ScheduleFacts(
        name=row[0],
        rule=_rule.decode(row[1]),
        job=row[2],
        paused=bool(row[3]),
        remove_after_last=bool(row[4]),
        next_fire=row[5],
        last_fire=row[6],
        created_at=row[7],
        queued=bool(row[8]),
        last_job=row[9],
        last_job_state=None if row[10] is None else State(row[10]),
        runs=row[11],
    )


def kind(row: Row) -> KindSchema:
    """From the columns of ``kind_rows``."""
    name, schema, changed_at, changed_by = row
    return KindSchema(
        name=name, schema=msgspec.Raw(schema.encode()), changed_at=timestamp(changed_at), changed_by=changed_by
    )


def worker(row: Row) -> Worker:
    """From the columns of ``worker_rows``."""
    said = _register.decode(row[1])
    return Worker(
        id=row[0],
        host=said.host,
        pid=said.pid,
        queues=said.queues,
        kinds=said.kinds,
        concurrency=said.concurrency,
        version=said.version,
        running=row[4],
        started_at=timestamp(row[2]),
        seen_at=timestamp(row[3]),
        draining=row[5] is not None,
    )


def batch(row: Row) -> Batch:
    """From the columns of ``batch_rows``."""
    sealed_at, finished_at, callbacks = row[12:15]
    return Batch(
        id=row[0],
        name=row[1],
        chain=bool(row[2]),
        state="open" if sealed_at is None else "sealed" if finished_at is None else "finished",
        total=row[3],
        pending=row[4],
        succeeded=row[5],
        failed=row[6],
        cancelled=row[7],
        expired=row[8],
        skipped=row[9],
        quarantined=row[10],
        created_at=timestamp(row[11]),
        sealed_at=time(sealed_at),
        finished_at=time(finished_at),
        callbacks=msgspec.json.decode(callbacks) if callbacks else [],
    )


def dependency(row: Row) -> Dependency:
    """From the columns of ``job_dependencies``."""
    id, kind, queue, state, reason, finished_at, waits, result = row
    return Dependency(
        id=id,
        kind=kind,
        queue=queue,
        state=None if state is None else State(state),
        reason=reason,
        finished_at=time(finished_at),
        pending=bool(waits),
        result=raw(result),
    )


def limiter(row: Row, now: int) -> Limiter:
    """From the columns of ``limiter_row``."""
    key, concurrency, rate, burst, spacing, tat, used, freed_at, waiting = row
    state = limits.Limiter(key, concurrency, spacing, burst, tat, used, freed_at, bool(waiting))
    at = state.allowed_at(1, now)
    return Limiter(
        key=key,
        concurrency=concurrency,
        running=used,
        rate=rate,
        burst=burst,
        available=state.available(now),
        next_at=timestamp(at) if at > now else None,
        waiting=waiting,
    )


def limit_use(row: Row, now: int) -> LimitUse:
    """From the columns of ``job_limit_uses``."""
    key, cost, parked, concurrency, used, rate, spacing, burst, tat, holders = row
    state = limits.Limiter(key, concurrency, spacing, burst, tat, used, 0, bool(parked))
    cost = state.cost(cost)
    at = state.allowed_at(cost, now)
    return LimitUse(
        key=key,
        parked=bool(parked),
        full=not state.fits(cost),
        concurrency=concurrency,
        used=used,
        rate=rate,
        next_at=at if at > now else None,
        holders=unpack(holders),
    )
