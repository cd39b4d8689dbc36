"""What may enter: a request becomes a row, or one clear refusal; nothing is stored before that."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import lru_cache

import msgspec

from roost.domain import flow, holds, limits
from roost.domain.duration import parse_duration
from roost.domain.names import check_name, is_name
from roost.domain.priority import number
from roost.domain.records import (
    Flag,
    FlowWish,
    HoldRule,
    JobExtras,
    JobOptions,
    JobRow,
    LimitRule,
    OnConflict,
    QueueRules,
    Shape,
    UniqueClaim,
)
from roost.domain.retry import RetryRule
from roost.domain.retry import validate as validate_retry
from roost.domain.states import State
from roost.domain.templates import Subject, template
from roost.errors import InvalidRequest, TooLarge

INPUT_LIMIT = 256 * 1024
"""Bytes of an input or a result, where neither server nor queue says otherwise."""
PAYLOAD_LIMIT_MAX = 8 * 1024 * 1024
"""What a server may be set to."""
METADATA_LIMIT = 16 * 1024
SAVED_LIMIT = 1024 * 1024
"""Bytes of a step's output or a state blob."""
TAGS_LIMIT = 32
LONGEST_KEY = 256
LATEST = 253402300799000
"""The last millisecond a time may name: 9999-12-31."""


class UniqueWish(msgspec.Struct, frozen=True, kw_only=True):
    """A unique rule as asked for; see `roost.wire.jobs.Unique`."""

    key: str | None = None
    fields: list[str] | None = None
    scope: str = "kind"
    within: str | None = None
    on_conflict: OnConflict = "return"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A job as asked for, free of any wire type."""

    kind: str
    input: str
    queue: str = "default"
    priority: int | str | None = None
    run_at: datetime | None = None
    delay: str | None = None
    expires_at: datetime | None = None
    ttl: str | None = None
    deadline: str | None = None
    timeout: str | None = None
    retry: RetryRule | None = None
    unique: UniqueWish | None = None
    hold: HoldRule | None = None
    tags: dict[str, str] | None = None
    owner: str | None = None
    metadata: str | None = None
    """JSON text of an object."""
    schedule: str | None = None
    fire_at: int | None = None
    flow: FlowWish | None = None
    limits: list[LimitRule] | None = None


PLAIN = QueueRules()


@lru_cache(maxsize=1024)
def _plain_shape(kind: str, queue: str, priority: int) -> Shape | None:
    """One object for all jobs of a sort; None where a name is none."""
    return Shape(queue, kind, priority=priority) if is_name(kind) and is_name(queue) else None


def plain_row(kind: str, queue: str, priority: int, text: str, path: str) -> JobRow:
    """The row of a job that asks for nothing special, in a queue that asks for nothing either; its size was checked."""
    shape = _plain_shape(kind, queue, priority)
    if shape is None:
        check_name(kind, f"{path}kind")
        check_name(queue, f"{path}queue")
        raise AssertionError("one of the names was refused")
    return JobRow(shape, text)


def admit(request: Request, rules: QueueRules, now: int, path: str = "") -> JobRow:
    """The row to store; raises `InvalidRequest` (or a kind of it) with the field's path, or `TooLarge`."""
    check_size(request.input, rules.payload_limit or PAYLOAD_LIMIT_MAX, f"{path}input")
    priority = number(request.priority, rules.priority)
    row = plain_row(request.kind, request.queue, priority, request.input, path)
    state, reason, flags = State.READY, None, 0
    run_at = moment(request.run_at, request.delay, now, f"{path}run_at", f"{path}delay")
    if run_at is not None and run_at > now:
        state, reason = State.WAITING, "scheduled"
    else:
        run_at = None
    expires_at = moment(request.expires_at, request.ttl, run_at or now, f"{path}expires_at", f"{path}ttl")
    if expires_at is not None and expires_at <= (run_at or now):
        raise InvalidRequest(
            "the job would expire before it may start", path=f"{path}expires_at", help="give a later time"
        )
    deadline = rules.deadline if request.deadline is None else request.deadline
    deadline_ms = None if deadline is None else parse_duration(deadline, path=f"{path}deadline")
    deadline_at = None if deadline_ms is None else now + deadline_ms
    if request.retry is not None:
        validate_retry(request.retry, f"{path}retry")
    timeout = rules.timeout if request.timeout is None else request.timeout
    hold = request.hold or rules.hold
    if hold is not None:
        row.hold = holds.from_rule(hold, subject(request.kind, request.input), now, f"{path}hold")
        state, reason, flags = State.HELD, "approval", flags | Flag.HOLDS
    row.unique = _unique(request, now, path)
    if rules.limits or request.limits:
        row.limits = limits.of_job(rules, request.limits, _described(request), path)
        flags |= Flag.LIMITED
    if rules.ageing is not None or rules.fairness is not None:
        row.order = "" if rules.fairness is None else template(rules.fairness.key).key(_described(request))
    row.shape = Shape(request.queue, request.kind, state, reason, priority, flags, run_at, expires_at, deadline_at)
    options = JobOptions(
        retry=request.retry or rules.retry,
        timeout_ms=None if timeout is None else parse_duration(timeout, path=f"{path}timeout"),
        ttl_ms=None if request.ttl is None else parse_duration(request.ttl, path=f"{path}ttl"),
        deadline_ms=deadline_ms,
        tags=check_tags(request.tags, f"{path}tags"),
        owner=request.owner,
        unique_key=row.unique.key if row.unique else None,
        hold=hold,
        schedule=request.schedule,
        fire_at=request.fire_at,
        batch=request.flow.batch if request.flow else None,
        parent=request.flow.parent if request.flow else None,
        limits=row.limits,
    )
    row.options = None if options == JobOptions() else msgspec.json.encode(options).decode()
    if options.tags or request.metadata is not None:
        row.extras = JobExtras(options.tags, request.metadata)
    if request.flow is not None:
        flow.enter(row, request.flow)
    return row


def _described(request: Request) -> Subject:
    return Subject(kind=request.kind, queue=request.queue, input=request.input, owner=request.owner, tags=request.tags)


def subject(kind: str, text: str) -> str:
    """What a person sees who must decide whether a job starts: its kind and its input."""
    return f'{{"kind":"{kind}","input":{text}}}'


def check_size(text: str | bytes, limit: int, path: str, setting: str = "") -> None:
    """Raises `TooLarge` where ``text`` has more than ``limit`` bytes; ``setting`` names what sets the limit."""
    # Four bytes a character is the most UTF-8 needs: short texts are not encoded to be counted.
    if len(text) * 4 > limit:
        size = len(text) if isinstance(text, bytes) else len(text.encode())
        if size > limit:
            raise TooLarge(
                f"{size:,} bytes, over the limit of {limit:,}" + (f" ({setting})" if setting else ""),
                path=path,
                help="store the data elsewhere and pass a reference to it",
            )


def input_hash(kind: str, text: str) -> str:
    """SHA-256 over kind and input: whether two requests for one unique key are the same.

    Whitespace and the order of keys do not matter: programs in several languages may ask for the same job.
    """
    plain = msgspec.json.encode(msgspec.json.decode(text), order="deterministic")
    return hashlib.sha256(f"{kind}\0".encode() + plain).hexdigest()


def moment(at: datetime | None, after: str | None, base: int, at_path: str, after_path: str) -> int | None:
    """A time given as such or as a duration from ``base``, in milliseconds; raises `InvalidRequest`."""
    if at is not None and after is not None:
        raise InvalidRequest(
            "both a time and a duration are given", path=after_path, help=f"leave out {at_path} or this"
        )
    if after is not None:
        return base + parse_duration(after, path=after_path)
    if at is None:
        return None
    if at.tzinfo is None:
        raise InvalidRequest(
            "the time has no offset", path=at_path, help="write it as 2026-11-21T09:00:00Z or with +01:00"
        )
    value = round(at.timestamp() * 1000)
    if not 0 <= value <= LATEST:
        raise InvalidRequest("the time is out of range", path=at_path, help="give a time between 1970 and 9999")
    return value


def _unique(request: Request, now: int, path: str) -> UniqueClaim | None:
    wish = request.unique
    if wish is None:
        return None
    if (wish.key is None) == (wish.fields is None):
        raise InvalidRequest("give a key or the fields that make one", path=f"{path}unique.key", help="one of the two")
    key = wish.key if wish.fields is None else _key_of(request.input, wish.fields, f"{path}unique.fields")
    scope = {"kind": f"kind:{request.kind}", "queue": f"queue:{request.queue}", "global": "global"}[wish.scope]
    until = None if wish.within is None else now + parse_duration(wish.within, path=f"{path}unique.within")
    return UniqueClaim(
        key=f"{scope}\n{key}",
        input_hash=input_hash(request.kind, request.input),
        until=until,
        on_conflict=wish.on_conflict,
    )


def _key_of(text: str, fields: list[str], path: str) -> str:
    """The values of these fields of the input, as one key; raises `InvalidRequest` for a field it does not have."""
    document = msgspec.json.decode(text)
    parts = []
    for index, field in enumerate(fields):
        value = document
        for name in field.split("."):
            if not isinstance(value, dict) or name not in value:
                raise InvalidRequest(
                    f"the input has no field {field!r}", path=f"{path}[{index}]", help="a key is made of what is there"
                )
            value = value[name]
        parts.append(f"{field}={msgspec.json.encode(value, order='deterministic').decode()}")
    key = "&".join(parts)
    return key if len(key) <= LONGEST_KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def check_tags(tags: dict[str, str] | None, path: str) -> dict[str, str] | None:
    """The tags themselves; raises `InvalidRequest` for too many, for keys that are no names, and for long values."""
    if tags is None:
        return None
    if len(tags) > TAGS_LIMIT:
        raise InvalidRequest(f"{len(tags)} tags, over the limit of {TAGS_LIMIT}", path=path, help="use fewer tags")
    for key, value in tags.items():
        check_name(key, f"{path}.{key[:40]}")
        if len(value) > 256:
            raise InvalidRequest("the tag's value is over 256 characters", path=f"{path}.{key}", help="shorten it")
    return tags or None
