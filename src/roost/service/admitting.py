"""From the wire to a row: what a request asks for, checked, as the engine stores it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from roost.domain import admission, flow
from roost.domain.admission import METADATA_LIMIT, PLAIN, UniqueWish, check_size
from roost.domain.flow import Wanted
from roost.domain.priority import number
from roost.domain.records import FlowWish, JobRow, LimitRule
from roost.errors import InvalidRequest, RoostError
from roost.service.rules import Rules
from roost.wire import strict
from roost.wire.jobs import NULL, Limit, NewJob

Needs = tuple[list[int], list[int]]
"""What a job waits for: stored jobs by their ids, jobs of its request by their places."""


def admit_all(jobs: Sequence[NewJob], rules: Rules, now: Callable[[], int]) -> list[JobRow]:
    """The rows of a request's jobs, none where one is refused; raises as `admit`, with paths ``jobs[…]…``."""
    needs: list[Needs] | None = None
    if any(job.after is not None or job.ref is not None for job in jobs):
        needs = flow.resolve([Wanted(job.ref, job.after) for job in jobs], "jobs")
    rows: list[JobRow] = []
    try:
        for job in jobs:
            rows.append(admit(job, rules, now, "", needs[len(rows)] if needs else None))
    except RoostError as error:
        error.path = f"jobs[{len(rows)}].{error.path}"
        raise
    return rows


def admit(job: NewJob, rules: Rules, now: Callable[[], int], path: str, needs: Needs | None = None) -> JobRow:
    """The row of ``job``; raises `InvalidRequest`, `InvalidJson` or `TooLarge` with the field's path.

    Every job that enters comes through here: its input fits its queue's limit and its kind's schema.
    """
    own = rules.of(job.queue)
    text = checked_input(job, rules, path)
    if own is PLAIN and is_plain(job):
        return admission.plain_row(job.kind, job.queue, number(job.priority), text, path)
    request = to_request(job, text, path)
    if job.after is not None or job.batch is not None or job.parent is not None:
        ids, places = _needs(job, path) if needs is None else needs
        wish = FlowWish(ids, places, job.after_failure, job.batch, job.parent)
        request = msgspec.structs.replace(request, flow=wish)
    return admission.admit(request, own, now(), path)


def _needs(job: NewJob, path: str) -> Needs:
    """Of a job that is alone in its request."""
    try:
        return flow.resolve([Wanted(job.ref, job.after)], "jobs")[0]
    except InvalidRequest as error:
        error.path = path + error.path.removeprefix("jobs[0].")
        raise


def refuse_flow(job: NewJob, path: str, whose: str) -> None:
    """Raises `InvalidRequest` where a job that is made again and again, or later, names others."""
    for field in ("after", "batch", "parent", "ref"):
        if getattr(job, field) is not None:
            raise InvalidRequest(
                f"{whose} has nothing to do with other jobs", path=f"{path}{field}", help="leave it out"
            )


def checked_input(job: NewJob, rules: Rules, path: str) -> str:
    """The text of the job's input; raises `TooLarge`, `InvalidJson`, and `SchemaMismatch` where its kind refuses it."""
    limit = rules.payload_limit
    name = "payload_limit"
    if (lower := rules.of(job.queue).payload_limit) is not None and lower < limit:
        limit, name = lower, f"payload_limit of the queue {job.queue}"
    text = checked(job.input, limit, path + "input", name)
    rules.kinds.check(job.kind, text, path + "input")
    return text


def is_plain(job: NewJob) -> bool:
    """Whether it asks for nothing but a kind, an input, a queue and a priority."""
    return (
        job.delay is None
        and job.run_at is None
        and job.unique is None
        and job.retry is None
        and job.timeout is None
        and job.tags is None
        and job.ttl is None
        and job.expires_at is None
        and job.deadline is None
        and job.hold is None
        and job.owner is None
        and job.metadata is None
        and job.limits is None
        and job.after is None
        and job.batch is None
        and job.parent is None
    )


def to_request(
    job: NewJob, text: str, path: str = "", *, schedule: str | None = None, fire_at: int | None = None
) -> admission.Request:
    """The request of ``job`` whose input is ``text``, free of wire types."""
    wish = job.unique
    return admission.Request(
        kind=job.kind,
        input=text,
        queue=job.queue,
        priority=job.priority,
        run_at=job.run_at,
        delay=job.delay,
        expires_at=job.expires_at,
        ttl=job.ttl,
        deadline=job.deadline,
        timeout=job.timeout,
        retry=job.retry,
        unique=None
        if wish is None
        else UniqueWish(
            key=wish.key, fields=wish.fields, scope=wish.scope, within=wish.within, on_conflict=wish.on_conflict
        ),
        hold=job.hold,
        tags=job.tags,
        owner=job.owner,
        metadata=metadata_text(job.metadata, f"{path}metadata"),
        schedule=schedule,
        fire_at=fire_at,
        limits=None if job.limits is None else [_limit(limit) for limit in job.limits],
    )


def _limit(limit: Limit) -> LimitRule:
    return LimitRule(key=limit.key, concurrency=limit.concurrency, rate=limit.rate, burst=limit.burst, cost=limit.cost)


def metadata_text(value: msgspec.Raw | None, path: str) -> str | None:
    """The text of a job's metadata, which is an object; raises `InvalidRequest`, `TooLarge`, `InvalidJson`."""
    text = checked_or_none(value, METADATA_LIMIT, path, "metadata's limit, which no setting raises")
    if text is not None and not text.lstrip().startswith("{"):
        raise InvalidRequest("metadata is an object", path=path, help='for example {"ticket": 7}')
    return text


def checked(value: msgspec.Raw, limit: int, path: str, setting: str = "") -> str:
    """The text of a JSON value; raises `TooLarge`, which names ``setting``, or `InvalidJson`, with ``path``."""
    if value is NULL:
        return "null"
    data = bytes(value)
    check_size(data, limit, path, setting)
    return strict.check(data, path)


def checked_or_none(value: msgspec.Raw | None, limit: int, path: str, setting: str = "") -> str | None:
    """The same, where there may be no value."""
    return None if value is None else checked(value, limit, path, setting)
