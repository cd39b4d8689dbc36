"""``roost events``: what happened, and what happens as it does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import click

from roost.cli import output, text, times
from roost.cli.output import Column, paint
from roost.cli.session import Session, pass_session, reading
from roost.wire.contract import LIST_EVENTS
from roost.wire.events import FeedEvent, FeedReset, ListEvents

_PAGE = 1000


def _what(event: FeedEvent) -> str:
    data = "" if event.data is None else bytes(event.data).decode()
    by = f"by {event.actor}" if event.actor else ""
    return " ".join(filter(None, [by, data]))


COLUMNS: Sequence[Column[FeedEvent]] = (
    Column("id", lambda event: event.id),
    Column("at", lambda event: f"{times.parse(event.at):%H:%M:%S}"),
    Column("event", lambda event: event.type),
    Column("job", lambda event: event.job or "", right=True),
    Column("queue", lambda event: event.queue or ""),
    Column("kind", lambda event: event.kind or ""),
    Column("what", _what, elastic=True),
)


@click.command("events")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--after", metavar="ID", help="Begin behind this event; else with the oldest kept, with -f now.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of this type; may be repeated.")
@click.option("--queue", "queues", multiple=True, metavar="NAME", help="Only of this queue's jobs; may be repeated.")
@click.option("--kind", "kinds", multiple=True, metavar="NAME", help="Only of jobs of this kind; may be repeated.")
@click.option("--job", "jobs", multiple=True, type=int, metavar="ID", help="Only of this job; may be repeated.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="How many at most, without -f.")
@reading
@pass_session
def command(
    session: Session,
    /,
    follow: bool,
    after: str | None,
    types: tuple[str, ...],
    queues: tuple[str, ...],
    kinds: tuple[str, ...],
    jobs: tuple[int, ...],
    limit: int,
) -> None:
    """Show what happened to jobs, queues and schedules, in the order of commits."""
    if follow:
        stream = session.client.events(
            after=after, type=types or None, queue=queues or None, job=jobs or None, kind=kinds or None
        )
        with closing(stream) as events:
            for event in events:
                _print(session, event)
        return
    request = ListEvents(
        after=after,
        type=[*types] or None,
        queue=[*queues] or None,
        job=[*jobs] or None,
        kind=[*kinds] or None,
    )
    found: list[FeedEvent] = []
    while len(found) < limit:
        request.limit = min(_PAGE, limit - len(found))
        page = session.send(LIST_EVENTS, request)
        found += page.events
        request.after = page.cursor
        if not page.more:
            break
    output.emit_pages([found], session.format, COLUMNS, lambda event: event.id, "nothing happened yet")


def _print(session: Session, event: FeedEvent | FeedReset) -> None:
    """One event as one line: columns would wait for the widest."""
    if isinstance(event, FeedReset):
        output.note(f"{event.message}; going on behind {event.cursor}")
    elif session.format == "id":
        output.say(event.id)
    elif session.format == "table":
        state = event.state.value if event.state is not None else event.type
        job = f"job {event.job} {event.kind or ''} {event.queue or ''}".rstrip() if event.job is not None else ""
        words = [f"{times.parse(event.at):%H:%M:%S}", paint(state, event.type.ljust(16)), job, _what(event)]
        output.say(text.line("  ".join(filter(None, words))))
    elif session.format == "csv":
        session.csv.row(event)
    else:
        output.say(output.json_text(event))
