"""Bulk operations: one action on everything that matches a query, or on a selection."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from roost.domain.bulk import BulkAction, BulkState
from roost.domain.names import Name
from roost.wire.codec import Wire
from roost.wire.jobs import JobId
from roost.wire.search import Actor, QueryText

BulkId = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
Rate = Annotated[str, msgspec.Meta(max_length=20, pattern=r"^[0-9]{1,6}/(s|m|h)$")]


class CreateBulk(Wire, kw_only=True):
    """Do ``action`` to all jobs that match ``query`` (or have one of ``ids``) and are there now.

    ``retry`` runs ended jobs again (``queue``: in another queue), ``move`` needs ``queue`` or ``priority``,
    ``priority`` needs that, ``hold`` has a ``title``, ``tag`` needs ``tags`` or ``untag``. ``approve`` quotes what a
    dry run told as ``asked``, for 10,000 jobs at most. ``rate`` is such as ``50/s``. ``dry_run`` only counts.
    """

    action: BulkAction
    query: QueryText | None = None
    ids: Annotated[list[JobId], msgspec.Meta(min_length=1, max_length=10_000)] | None = None
    queue: Name | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=9)] | None = None
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] = "held by hand"
    tags: dict[str, str] | None = None
    untag: Annotated[list[Name], msgspec.Meta(max_length=32)] = []
    asked: Annotated[str, msgspec.Meta(min_length=64, max_length=64)] | None = None
    rate: Rate | None = None
    note: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    actor: Actor = ""
    dry_run: bool = False


class Bulk(Wire, kw_only=True):
    """A bulk operation and how far it is: ``done + skipped + failed`` of about ``jobs``."""

    id: BulkId
    action: BulkAction
    query: str = ""
    ids: bool = False
    """It was started with a selection instead of a query."""
    state: BulkState
    actor: str | None = None
    note: str = ""
    queue: str | None = None
    priority: int | None = None
    tags: dict[str, str] | None = None
    untag: list[str] = []
    rate: float | None = None
    """Jobs a second."""
    jobs: int
    """How many matched when it was started: exactly, or at least so many."""
    exact: bool = True
    done: int = 0
    skipped: int = 0
    """Not in a state for it, or they do not match any more."""
    failed: int = 0
    error: str | None = None
    created_at: str
    ended_at: str | None = None


class BulkStarted(Wire, kw_only=True):
    """What matches, what will be skipped, and the operation; None for a dry run."""

    jobs: int
    exact: bool
    skips: dict[str, int] = {}
    """Matching jobs by a state in which the action is not possible."""
    asked: str | None = None
    """Of approve: SHA-256 over what all of them ask, which starting it quotes."""
    bulk: Bulk | None = None


class BulkRef(Wire, kw_only=True):
    id: BulkId = 0
    actor: Actor = ""


class ListBulks(Wire, kw_only=True):
    """Last first."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=20)] | None = None


class Bulks(Wire, kw_only=True):
    bulks: list[Bulk]
    cursor: str | None = None


class ListBulkResults(Wire, kw_only=True):
    """Jobs that were skipped or failed."""

    id: BulkId = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 500
    cursor: Annotated[str, msgspec.Meta(max_length=20)] | None = None


class BulkResult(Wire, kw_only=True):
    """Why a job was not done."""

    job: JobId
    outcome: Literal["skipped", "failed"]
    code: str
    message: str


class BulkResults(Wire, kw_only=True):
    results: list[BulkResult]
    cursor: str | None = None
