"""When and how a job runs, as a program says it, made into what the API takes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

from roost.domain.duration import format_duration, to_milliseconds
from roost.domain.priority import PRIORITIES
from roost.domain.records import HoldRule
from roost.domain.retry import Backoff, ErrorRule, RetryRule, validate
from roost.errors import InvalidRequest
from roost.sdk.adapters import encode
from roost.sdk.limits import Limit
from roost.sdk.outcome import DurationLike, duration_text
from roost.sdk.reference import JobReference
from roost.sdk.registry import Isolation, type_name
from roost.sdk.signature import Signature
from roost.wire import jobs as wire

if TYPE_CHECKING:
    from roost.sdk.calls import JobCall
    from roost.sdk.flow import BatchHandle

LONGEST_KEY = 256
_MEMORY = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?) ?(?P<unit>[kmg]i?b)", re.IGNORECASE)
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}
_LEAST_MEMORY = 32 * 10**6
"""The interpreter itself needs most of this."""

Priority = Literal["low", "normal", "high"] | int
AfterFailure = Literal["cancel", "fail", "run"]


class Unique:
    """At most one job for each value of these parameters (where none is named: of the whole input).

    The key is held until the job ends, or ``within`` a period from its enqueue. Where it is held, ``on_conflict`` says
    what becomes of the new job: ``return`` answers with the existing one, ``reject`` raises `UniqueConflict`,
    ``replace`` cancels a job that has not started and takes its place, ``reschedule`` gives such a job the new time.
    Another input under the same key is a conflict, but for ``replace``. ``scope`` says among which jobs: of the same
    kind, the same queue, or all.
    """

    __slots__ = ("fields", "on_conflict", "scope", "within")

    def __init__(
        self,
        *fields: str,
        within: DurationLike | None = None,
        on_conflict: Literal["return", "reject", "replace", "reschedule"] = "return",
        scope: Literal["kind", "queue", "global"] = "kind",
    ) -> None:
        self.fields = fields
        self.within = None if within is None else duration_text(within, "unique.within")
        self.on_conflict = on_conflict
        self.scope = scope

    def rule(self, signature: Signature, arguments: dict[str, Any]) -> wire.Unique:
        """The rule for one call; raises `InvalidRequest` for a field that is no parameter."""
        for name in self.fields:
            if name not in signature.names:
                raise InvalidRequest(
                    f"{name!r} is no parameter", path="unique", help=f"there are {', '.join(signature.names) or 'none'}"
                )
        names = self.fields or signature.names
        values = {name: signature.value(arguments, name) for name in names if self.fields or name in arguments}
        key = "&".join(f"{name}={encode(value, 'unique', canonical=True).decode()}" for name, value in values.items())
        if len(key) > LONGEST_KEY:
            key = f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"
        return wire.Unique(key=key or "*", scope=self.scope, within=self.within, on_conflict=self.on_conflict)


class JobRules(TypedDict, total=False):
    """What both a declaration and an enqueue may say; None leaves it to the job, its queue or the server."""

    queue: str | None
    priority: Priority | None
    ttl: DurationLike | None
    """Counted from when it may start: not started by then, it expires."""
    deadline: DurationLike | None
    """Counted from the enqueue: not ended by then, it is cancelled."""
    timeout: DurationLike | None
    """The longest one attempt may take."""
    retry: RetryRule | None
    unique: Unique | None
    hold: HoldRule | bool | None
    """True, or a rule: a person approves it before it starts."""
    tags: Mapping[str, str] | None
    owner: str | None
    metadata: Mapping[str, Any] | None
    """What travels with it, as JSON, unread by Roost."""
    limits: Sequence[Limit] | None
    """All of them must have room before it starts."""


class Declaration(JobRules, total=False):
    """What ``@app.job`` takes beside a name."""

    retries: int | None
    backoff: Backoff | None
    retry_base: DurationLike | None
    retry_cap: DurationLike | None
    errors: Sequence[ErrorRule] | None
    """What errors of some types do instead of what the rule says; `on_error` makes them of exception classes."""
    isolate: Isolation
    memory: str | int | None
    """The most its process may use, such as ``"256MB"``; only with ``isolate="process"``."""


class EnqueueRules(JobRules, total=False):
    """What ``.options`` takes."""

    delay: DurationLike | None
    run_at: datetime | None
    expires_at: datetime | None
    after: Sequence[JobReference | JobCall[Any] | int] | None
    """Jobs that must end first."""
    after_failure: AfterFailure | None
    """What becomes of it when one of those does not succeed; ``cancel`` where None."""
    batch: BatchHandle | int | None
    """The open batch it joins."""
    parent: JobReference | int | None
    """The job whose work it is part of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The rules of one enqueue; None is the default of the job, its queue or the server."""

    queue: str | None = None
    priority: Priority | None = None
    delay: DurationLike | None = None
    run_at: datetime | None = None
    ttl: DurationLike | None = None
    expires_at: datetime | None = None
    deadline: DurationLike | None = None
    timeout: DurationLike | None = None
    retry: RetryRule | None = None
    unique: Unique | None = None
    hold: HoldRule | bool | None = None
    tags: Mapping[str, str] | None = None
    owner: str | None = None
    metadata: Mapping[str, Any] | None = None
    limits: Sequence[Limit] | None = None
    after: Sequence[JobReference | JobCall[Any] | int] | None = None
    after_failure: AfterFailure | None = None
    batch: BatchHandle | int | None = None
    parent: JobReference | int | None = None

    def merged(self, **changes: Any) -> Options:
        """A copy with what is not None in ``changes``."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def template(self) -> dict[str, Any]:
        """The fields of `roost.wire.jobs.NewJob` that are the same for every call; raises `InvalidRequest`."""
        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or field.name in ("unique", "limits", "after"):
                continue
            if field.name in ("delay", "ttl", "deadline", "timeout"):
                value = duration_text(value, field.name)
            elif field.name == "priority":
                value = _priority(value)
            elif field.name in ("run_at", "expires_at") and value.tzinfo is None:
                raise InvalidRequest("the time has no zone", path=field.name, help="pass an aware datetime")
            elif field.name == "hold":
                if value is False:
                    continue
                value = HoldRule() if value is True else value
            elif field.name == "tags":
                value = dict(value)
            elif field.name == "metadata":
                value = msgspec.Raw(encode(value, "metadata"))
            elif field.name in ("batch", "parent"):
                value = value if isinstance(value, int) else value.id
            found[field.name] = value
        return found

    def made(self, signature: Signature, arguments: dict[str, Any]) -> dict[str, Any]:
        """The fields that one call's arguments decide; raises `InvalidRequest`."""
        found: dict[str, Any] = {}
        if self.unique is not None:
            found["unique"] = self.unique.rule(signature, arguments)
        if self.limits:
            found["limits"] = [limit.rule(signature, arguments) for limit in self.limits]
        return found


def read_declaration(rules: Declaration) -> tuple[Isolation, int | None, Options]:
    """A declaration, checked: how it is isolated, its memory limit in bytes, and the options of its jobs.

    Raises `InvalidRequest`, `InvalidDuration`, and `TypeError` for a word that is none.
    """
    options: dict[str, Any] = dict(rules)
    isolate: Isolation = options.pop("isolate", "none")
    memory = options.pop("memory", None)
    retry = [options.pop(name, None) for name in ("retries", "retry", "backoff", "retry_base", "retry_cap", "errors")]
    # The defaults, said or not, are the same template.
    for name, default in (("queue", "default"), ("priority", "normal")):
        if options.get(name) == default:
            options[name] = None
    unknown = options.keys() - JobRules.__annotations__.keys()
    if unknown:
        raise TypeError(f"job() got an unexpected keyword argument {min(unknown)!r}")
    return isolate, None if memory is None else memory_bytes(memory), Options(retry=retry_rule(*retry), **options)


def memory_bytes(value: str | int) -> int:
    """Bytes of ``"256MB"``, ``"1.5GiB"`` or a number of them; raises `InvalidRequest`."""
    found = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    size = round(float(found["number"]) * _UNITS[found["unit"].upper()]) if found else value
    if isinstance(size, bool) or not isinstance(size, int) or size < _LEAST_MEMORY:
        raise InvalidRequest(f"{value!r} is no memory limit", path="memory", help='such as "256MB"; 32MB at least')
    return size


def retry_rule(
    retries: int | None,
    retry: RetryRule | None,
    backoff: Backoff | None,
    base: DurationLike | None,
    cap: DurationLike | None,
    errors: Sequence[ErrorRule] | None = None,
) -> RetryRule | None:
    """One rule of what a decorator was given; raises `InvalidRequest` or `InvalidDuration` where it cannot be meant."""
    changes: dict[str, Any] = {}
    if retries is not None:
        changes["retries"] = retries
    if backoff is not None:
        changes["backoff"] = backoff
    if base is not None:
        changes["base"] = duration_text(base, "retry_base")
    if cap is not None:
        changes["cap"] = duration_text(cap, "retry_cap")
    if errors is not None:
        changes["errors"] = tuple(errors)
    if retry is None and not changes:
        return None
    rule = msgspec.structs.replace(retry or RetryRule(), **changes)
    if base is not None and cap is None and retry is None:
        # Whoever asks for an hour between tries does not mean the default's ten minutes.
        longest = max(to_milliseconds(rule.base), to_milliseconds(rule.cap))
        rule = msgspec.structs.replace(rule, cap=format_duration(longest))
    validate(rule, "retry")
    return rule


def on_error(
    *errors: type[BaseException] | str,
    retries: int | None = None,
    backoff: Backoff | None = None,
    base: DurationLike | None = None,
    cap: DurationLike | None = None,
    jitter: float | None = None,
) -> ErrorRule:
    """What failures by these exceptions, or by those derived from them, do instead of what the retry rule says.

    A text is a pattern for the names of types, such as ``"app.mail.*"``. ``retries=0`` fails the job at once; what is
    not given stays as the rule has it. Raises `InvalidRequest` where no error is named, `InvalidDuration`.
    """
    if not errors:
        raise InvalidRequest("no error is named", path="errors", help="on_error(ValueError, retries=0)")
    every = (Exception, BaseException)
    return ErrorRule(
        types=tuple(one if isinstance(one, str) else "**" if one in every else type_name(one) for one in errors),
        retries=retries,
        backoff=backoff,
        base=None if base is None else duration_text(base, "base"),
        cap=None if cap is None else duration_text(cap, "cap"),
        jitter=jitter,
    )


def _priority(value: object) -> int:
    if isinstance(value, str):
        if value not in PRIORITIES:
            raise InvalidRequest(f"{value[:40]!r} is no priority", path="priority", help="low, normal, high, or 0 to 9")
        return PRIORITIES[value]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 9:
        raise InvalidRequest(
            f"{value!r} is no priority", path="priority", help="low, normal, high, or 0 to 9; 9 goes first"
        )
    return value
