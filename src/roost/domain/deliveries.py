"""Webhooks out as rules: which events an endpoint wants, when a failed delivery is tried again, when to give up."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Literal

import msgspec

from roost.domain.globs import matches, matches_any

RETRY_MS = (
    5_000,
    300_000,
    1_800_000,
    7_200_000,
    18_000_000,
    36_000_000,
    50_400_000,
    72_000_000,
    86_400_000,
)
"""The pauses after the first failure, the second, and so on: ten tries in a little over three days."""
JITTER = 0.2
"""A pause is up to this much longer, so that what failed together does not come back together."""
LONGEST_RETRY_AFTER_MS = 86_400_000
FEWEST_FAILURES = 10
"""An endpoint that failed for long but seldom was asked is not given up for that."""
GONE = 410

DeliveryState = Literal["pending", "succeeded", "failed"]


class WebhookRule(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint wants, as it is stored; None wants all."""

    events: list[str] | None = None
    queues: list[str] | None = None
    kinds: list[str] | None = None
    tags: dict[str, str] | None = None
    """Patterns of values by their keys: a job has all of them."""
    include: list[str] = []
    disable_after_ms: int

    def wants(self, type: str, queue: str | None, kind: str | None) -> bool:
        """Whether an event goes there; one that is about no job has neither queue nor kind."""
        return all(
            patterns is None or (name is not None and matches_any(patterns, name))
            for patterns, name in ((self.events, type), (self.queues, queue), (self.kinds, kind))
        )

    def tagged(self, tags: Mapping[str, str]) -> bool:
        """Whether a job with these tags is meant."""
        return all(key in tags and matches(pattern, tags[key]) for key, pattern in (self.tags or {}).items())


class OldKey(msgspec.Struct, frozen=True, array_like=True):
    """A secret or private key that was replaced, and until when it signs beside its successor."""

    secret: str
    until: int


MOST_OLD = 8
"""Old keys of an endpoint; beyond them the oldest end early."""


def rotated(old: list[OldKey], current: list[str], overlap_ms: int, now: int) -> list[OldKey]:
    """The keys that sign beside new ones: the ``current`` ones for ``overlap_ms``, older ones as long as they had.

    Without an overlap all of them end: somebody who must not has one.
    """
    if overlap_ms == 0:
        return []
    kept = [key for key in old if key.until > now]
    return [*(OldKey(secret, now + overlap_ms) for secret in current), *kept][:MOST_OLD]


class Try(msgspec.Struct, frozen=True, array_like=True):
    """What came of sending a delivery once; ``status`` is None where nothing was answered."""

    delivery: int
    token: str
    at: int
    duration_ms: int
    status: int | None
    error: str | None
    response: str
    """The beginning of the answer's body."""
    retry_after_ms: int | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has it."""
        return self.error is None


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of a delivery; ``next_at`` is set where it is tried again."""

    state: DeliveryState
    next_at: int | None


def judge(tried: Try, failures: int, now: int, random: float) -> Verdict:
    """The fate of a delivery that had failed ``failures`` times before; ``random`` is in [0, 1)."""
    if tried.accepted:
        return Verdict("succeeded", None)
    if failures >= len(RETRY_MS):
        return Verdict("failed", None)
    pause = round(RETRY_MS[failures] * (1 + JITTER * random))
    if tried.retry_after_ms is not None:
        pause = max(pause, min(tried.retry_after_ms, LONGEST_RETRY_AFTER_MS))
    return Verdict("pending", now + pause)


class Health(msgspec.Struct, frozen=True):
    """How an endpoint has answered since it last accepted anything."""

    failures: int
    failing_since: int | None

    def after(self, tried: Try) -> Health:
        """The same with one more try."""
        if tried.accepted:
            return Health(0, None)
        return Health(self.failures + 1, tried.at if self.failing_since is None else self.failing_since)

    def given_up(self, rule: WebhookRule, now: int) -> bool:
        """Whether the endpoint failed for so long that nobody can be there any more."""
        since = self.failing_since
        return since is not None and self.failures >= FEWEST_FAILURES and now - since >= rule.disable_after_ms


def retry_after_ms(header: str | None, now: int) -> int | None:
    """What a Retry-After header asks for, in seconds or as a date; None where it says nothing that can be read."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return int(text) * 1000
    try:
        moment = parsedate_to_datetime(text)
        return max(0, round(moment.timestamp() * 1000) - now)
    except (ValueError, OverflowError, TypeError):
        return None
