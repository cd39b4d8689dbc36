"""Search: jobs by a query, what a query means, values to complete with, errors in groups, views, indexed paths."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from roost.domain.names import Name
from roost.domain.query import LENGTH_LIMIT
from roost.wire.codec import Wire
from roost.wire.jobs import ErrorInfo, JobId, JobSummary

QueryText = Annotated[str, msgspec.Meta(max_length=LENGTH_LIMIT)]
Actor = Annotated[str, msgspec.Meta(max_length=200)]
SortText = Literal[
    "-created", "created", "-finished", "finished", "-started", "started", "-priority", "priority", "-run_at", "run_at"
]
"""A minus puts the latest (or highest) first. All but ``created`` list only jobs that have it: ended, running, ready
(in the order of their start) and waiting ones."""
Fingerprint = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class SearchJobs(Wire, kw_only=True):
    """A page of the jobs that match ``query``; no query matches all.

    ``count`` asks for how many match in all, counted up to 10,000. ``jq`` is a program of jq's: only jobs for whose
    whole JSON it gives something other than ``false`` or ``null`` are kept.
    """

    query: QueryText = ""
    sort: SortText = "-created"
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    count: bool = False
    jq: Annotated[str, msgspec.Meta(min_length=1, max_length=1000)] | None = None


class Searched(Wire, kw_only=True):
    """How far a search looked: ``complete`` is False where its bound ended it, and the cursor goes on."""

    rows: int
    complete: bool
    index: str
    """Where the candidates came from."""
    scan: bool = False
    """No index answers the query: rows were looked at one by one."""


class Count(Wire, kw_only=True):
    """How many jobs match: exactly, or at least so many."""

    jobs: int
    exact: bool


class SearchPage(Wire, kw_only=True):
    """``cursor`` is None at the end; a page may hold less than its limit, even nothing, and still have one."""

    jobs: list[JobSummary]
    searched: Searched
    cursor: str | None = None
    count: Count | None = None


class CheckQuery(Wire, kw_only=True):
    """What would a query mean?"""

    query: QueryText = ""
    sort: SortText = "-created"


class CheckedTerm(Wire, kw_only=True):
    """A term, where it stands in the text, and how it is answered."""

    text: str
    field: str
    """Empty for words without a field."""
    path: str | None = None
    operator: str
    values: list[str]
    negated: bool = False
    position: int
    length: int
    use: Literal["index", "filter", "scan"]
    """By the index that is used, by a look at each row the index gives, or at every row."""


class QueryFault(Wire, kw_only=True):
    """Why a query cannot be read, and at which character (from 0)."""

    message: str
    position: int
    help: str = ""


class CheckedQuery(Wire, kw_only=True):
    """A query as it is understood; ``fault`` where it cannot be read."""

    terms: list[CheckedTerm] = []
    index: str = ""
    scan: bool = False
    fault: QueryFault | None = None


class ListFacets(Wire, kw_only=True):
    """Values of ``field`` among the newest jobs that match ``query``: queue, kind, state, reason, worker, type, tag,
    ``tag.K``, schedule."""

    field: Annotated[str, msgspec.Meta(max_length=80)] = "queue"
    prefix: Annotated[str, msgspec.Meta(max_length=128)] = ""
    query: QueryText = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


class Facet(Wire, kw_only=True):
    """A value, and how many of the jobs that were looked at have it."""

    value: str
    jobs: int


class Facets(Wire, kw_only=True):
    """The most frequent first; kept for up to a minute."""

    values: list[Facet]
    jobs: int
    """How many jobs were looked at: of those that match the newest, 2,000 at most."""
    complete: bool = True
    """They are all that match; else there are more, and the values may have more jobs, or be others."""


# --- errors -----------------------------------------------------------------------------------------------------------

ErrorState = Literal["open", "muted", "resolved"]


class ListErrors(Wire, kw_only=True):
    """Groups of errors that are alike, last seen first."""

    state: ErrorState | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=100)] | None = None


class ErrorRef(Wire, kw_only=True):
    """Which group."""

    fingerprint: Fingerprint = ""
    actor: Actor = ""


class ErrorGroup(Wire, kw_only=True):
    """Failures with the same type, normalised message and top own frame."""

    fingerprint: str
    type: str
    message: str
    """The last one, as it was told."""
    frame: str = ""
    """``file:function``."""
    state: ErrorState
    """Resolved ones are open again when they come back; muted ones stay muted."""
    count: int
    """Attempts that failed with it."""
    first_seen: str
    last_seen: str
    last_job: JobId
    changed_at: str | None = None
    changed_by: str | None = None


class ErrorPage(Wire, kw_only=True):
    errors: list[ErrorGroup]
    cursor: str | None = None


class ErrorShare(Wire, kw_only=True):
    """Jobs of a group in one place."""

    queue: str
    kind: str
    state: str
    jobs: int


class ErrorDetail(ErrorGroup, kw_only=True):
    """A group, whole: where its newest 1,000 jobs are now, and the last job's error with its traceback."""

    jobs: list[ErrorShare] = []
    error: ErrorInfo | None = None


# --- saved views ------------------------------------------------------------------------------------------------------


class ViewRef(Wire, kw_only=True):
    name: Name = ""
    actor: Actor = ""


class PutView(Wire, kw_only=True):
    """Save a query under a name; the query must be one that can be read."""

    name: Name = ""
    query: QueryText = ""
    sort: SortText = "-created"
    columns: Annotated[list[Annotated[str, msgspec.Meta(max_length=80)]], msgspec.Meta(max_length=20)] = []
    shared: bool = True
    actor: Actor = ""


class View(Wire, kw_only=True):
    """A saved query."""

    name: str
    query: str
    sort: SortText
    columns: list[str] = []
    shared: bool = True
    owner: str | None = None
    created_at: str
    changed_at: str


class Views(Wire, kw_only=True):
    views: list[View]


# --- declared paths ---------------------------------------------------------------------------------------------------

IndexPath = Annotated[str, msgspec.Meta(min_length=1, max_length=70, pattern=r"^input(\.[A-Za-z0-9_-]+)+$")]


class DeclareIndex(Wire, kw_only=True):
    """Index what jobs have at ``path`` of their input, such as ``input.user.id``; of one kind, or of all."""

    path: IndexPath
    kind: Name | None = None
    actor: Actor = ""


class RemoveIndex(Wire, kw_only=True):
    path: IndexPath
    kind: Name | None = None
    actor: Actor = ""


class IndexDeclared(Wire, kw_only=True):
    """A declared path; searches use it when it is ``ready``."""

    path: str
    kind: str | None = None
    state: Literal["filling", "ready", "removing"]
    declared_at: str
    declared_by: str | None = None


class Indexes(Wire, kw_only=True):
    indexes: list[IndexDeclared]
