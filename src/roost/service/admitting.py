"""From the wire to a row: what a request asks for, checked, as the engine stores it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from roost.domain import admission
from roost.domain.admission import INPUT_LIMIT, PLAIN, UniqueWish, check_size
from roost.domain.records import JobRow, QueueRules
from roost.wire import strict
from roost.wire.jobs import NULL, NewJob


def admit(job: NewJob, rules: QueueRules, now: Callable[[], int], path: str) -> JobRow:
    """The row of ``job``; raises `InvalidRequest`, `InvalidJson` or `TooLarge` with the field's path."""
    text = checked(job.input, INPUT_LIMIT, path + "input")
    if rules is PLAIN and is_plain(job):
        return admission.plain_row(job.kind, job.queue, job.priority, text, path)
    return admission.admit(to_request(job, text), rules, now(), path)


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
        and job.limits is None
        and job.after is None
        and job.batch is None
        and job.parent is None
    )


def to_request(job: NewJob, text: str, *, schedule: str | None = None, fire_at: int | None = None) -> admission.Request:
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
        schedule=schedule,
        fire_at=fire_at,
    )


def checked(value: msgspec.Raw, limit: int, path: str) -> str:
    """The text of a JSON value; raises `TooLarge` or `InvalidJson` with ``path``."""
    if value is NULL:
        return "null"
    data = bytes(value)
    check_size(data, limit, path)
    return strict.check(data, path)


def checked_or_none(value: msgspec.Raw | None, limit: int, path: str) -> str | None:
    """The same, where there may be no value."""
    return None if value is None else checked(value, limit, path)
