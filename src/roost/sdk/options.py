"""When and how a job runs, as a program says it, made into what the API takes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Literal

import msgspec

from roost.domain.duration import format_duration, to_milliseconds
from roost.domain.records import HoldRule
from roost.domain.retry import RetryRule, validate
from roost.errors import InvalidRequest
from roost.sdk.adapters import encode
from roost.sdk.outcome import DurationLike, duration_text
from roost.sdk.signature import Signature
from roost.wire import jobs as wire

PRIORITIES = {"low": 2, "normal": 5, "high": 8}
LONGEST_KEY = 256

Priority = Literal["low", "normal", "high"] | int


class Unique:
    """At most one job for each value of these parameters (where none is named: of the whole input).

    The key is held until the job ends, or ``within`` a period from its enqueue. Enqueued again with the same input, the
    existing job is returned (``on_conflict="reject"``: `UniqueConflict`); with another input it is always a conflict.
    ``scope`` says among which jobs: of the same kind, the same queue, or all.
    """

    __slots__ = ("fields", "on_conflict", "scope", "within")

    def __init__(
        self,
        *fields: str,
        within: DurationLike | None = None,
        on_conflict: Literal["return", "reject"] = "return",
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

    def merged(self, **changes: Any) -> Options:
        """A copy with what is not None in ``changes``."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def template(self) -> dict[str, Any]:
        """The fields of `roost.wire.jobs.NewJob` that are the same for every call; raises `InvalidRequest`."""
        found: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or field.name == "unique":
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
            found[field.name] = value
        return found


def retry_rule(
    retries: int | None,
    retry: RetryRule | None,
    backoff: Literal["fixed", "linear", "exponential"] | None,
    base: DurationLike | None,
    cap: DurationLike | None,
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
    if retry is None and not changes:
        return None
    rule = msgspec.structs.replace(retry or RetryRule(), **changes)
    if base is not None and cap is None and retry is None:
        # Whoever asks for an hour between tries does not mean the default's ten minutes.
        longest = max(to_milliseconds(rule.base), to_milliseconds(rule.cap))
        rule = msgspec.structs.replace(rule, cap=format_duration(longest))
    validate(rule, "retry")
    return rule


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
