"""``roost jobs list``: the query language on the command line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from roost.cli import choosing, output
from roost.cli.output import Column
from roost.cli.session import Session, paged

if TYPE_CHECKING:
    from roost.wire.jobs import JobSummary

_PLAIN = re.compile(r"[A-Za-z0-9._:/+*-]+")


def quoted(value: str) -> str:
    """A value as a query writes it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return value if _PLAIN.fullmatch(value) else f'"{escaped}"'


def query_of(
    words: Sequence[str],
    *,
    state: Sequence[str] = (),
    queue: Sequence[str] = (),
    kind: Sequence[str] = (),
    schedule: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> str:
    """The query of the words and the options together."""
    terms = [*words]
    for field, values in (("state", state), ("queue", queue), ("kind", kind)):
        if values:
            terms.append(f"{field}:{','.join(quoted(value) for value in values)}")
    if schedule is not None:
        terms.append(f"schedule:{quoted(schedule)}")
    if created_after is not None:
        terms.append(f"created:>={created_after.isoformat()}")
    if created_before is not None:
        terms.append(f"created:<{created_before.isoformat()}")
    return " ".join(terms)


def _whole(session: Session, found: Sequence[JobSummary]) -> list[JobSummary]:
    """The jobs with what a list does not tell; those that were deleted meanwhile are left out."""
    from roost.errors import NotFound
    from roost.wire.contract import GET_JOB
    from roost.wire.jobs import JobRef

    jobs: list[JobSummary] = []
    for one in found:
        with contextlib.suppress(NotFound):
            jobs.append(session.send(GET_JOB, JobRef(id=one.id)))
    return jobs


def list_jobs(
    session: Session,
    columns: Sequence[Column[JobSummary]],
    *,
    query: tuple[str, ...],
    view: str | None,
    sort: str | None,
    jq: str | None,
    count: bool,
    limit: int,
    everything: bool,
    **filters: Any,
) -> None:
    """Print matching jobs page by page, and beside them how far the search looked."""
    import msgspec

    from roost.wire.contract import GET_VIEW, SEARCH_JOBS
    from roost.wire.jobs import Job, JobSummary
    from roost.wire.search import SearchJobs, SearchPage, SortText, ViewRef

    fields = choosing.chosen()
    choosing.check(Job, fields)
    whole = not choosing.has_all(JobSummary, fields)
    words = [*query]
    order = sort
    if view is not None:
        saved = session.send(GET_VIEW, ViewRef(name=view))
        words, order = [saved.query, *words], sort or saved.sort
    text = query_of(words, **filters)
    pages: list[SearchPage] = []

    def ask(cursor: str | None, size: int) -> tuple[list[JobSummary], str | None]:
        request = SearchJobs(
            query=text,
            sort=msgspec.convert(order or "-created", SortText),
            limit=size,
            cursor=cursor,
            count=count and cursor is None,
            jq=jq,
        )
        page = session.send(SEARCH_JOBS, request)
        if page.count is not None and session.format == "table":
            output.note(f"{'' if page.count.exact else 'at least '}{page.count.jobs:,} jobs match")
        pages[:] = [page]
        # An empty page with a cursor: the search is bounded, and asking on costs as much again each time.
        stop = not page.jobs and not everything
        jobs = _whole(session, page.jobs) if whole else page.jobs
        return jobs, None if stop else page.cursor

    try:
        rows = paged(ask, limit, everything)
        output.emit_pages(rows, session.format, columns, lambda job: job.id, "no such jobs")
    except KeyboardInterrupt:
        raise click.Abort from None
    last = pages[-1]
    if last.cursor is not None and not everything and session.format == "table":
        looked = f"looked at {last.searched.rows:,} jobs; " if not last.searched.complete else ""
        output.note(f"{looked}there are more: --limit N or --all")
