"""Limits by key: how much each allows, and how much of it is taken."""

from __future__ import annotations

from typing import Annotated

import msgspec

from roost.wire.codec import Wire


class Limiter(Wire, kw_only=True):
    """What the jobs of one key may do together; a queue's own limit has the key ``queue:NAME``."""

    key: str
    concurrency: int | None = None
    """How many run at once; any number where None."""
    running: int = 0
    """How much of the concurrency is taken: the costs of the jobs that run."""
    rate: str | None = None
    burst: int | None = None
    available: int | None = None
    """How much may start at once, now; None without a rate."""
    next_at: str | None = None
    """When more may start, where nothing may now."""
    waiting: int = 0
    """Jobs that wait for it, counted up to 10,000."""


class ListLimits(Wire, kw_only=True):
    """A page of keys in their order; those that begin with ``prefix``."""

    prefix: Annotated[str, msgspec.Meta(max_length=200)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    cursor: str | None = None


class LimitPage(Wire, kw_only=True):
    """``cursor`` is None on the last page."""

    limits: list[Limiter]
    cursor: str | None = None


class EditLimit(Wire, kw_only=True):
    """Set what a key allows from now on; a job enqueued later with numbers of its own for the key sets them again."""

    key: Annotated[str, msgspec.Meta(max_length=200)] = ""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    rate: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    burst: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""
