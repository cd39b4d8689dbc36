"""Log lines of a job: all, the last ones, or as they come."""

from __future__ import annotations

from contextlib import closing

from roost.cli import output, times
from roost.cli.output import paint
from roost.cli.session import Session
from roost.cli.text import block
from roost.wire.contract import JOB_LOGS
from roost.wire.jobs import ListLogs, LogLine, LogPage

_PAGE = 1000


def print_logs(session: Session, id: int, *, follow: bool, after: int, tail: int | None) -> None:
    """Print the lines after number ``after`` (or the last ``tail``); with ``follow`` go on until the job has ended."""
    if tail is not None:
        lines = last_lines(session, id, tail)
        _emit(session, lines)
        after = lines[-1].number if lines else after
        if not follow:
            return
    if follow:
        with closing(session.client.jobs.follow_logs(id, after=after)) as coming:
            for line in coming:
                _emit(session, [line])
        return
    while True:
        page = session.send(JOB_LOGS, ListLogs(id=id, after=after, limit=_PAGE))
        _emit(session, page.lines)
        after = page.lines[-1].number if page.lines else after
        if len(page.lines) == _PAGE:
            continue
        return


def last_lines(session: Session, id: int, count: int) -> list[LogLine]:
    """The last ``count`` lines; long logs are searched for their end, not read."""

    def page(after: int, limit: int) -> LogPage:
        return session.send(JOB_LOGS, ListLogs(id=id, after=after, limit=limit))

    first = page(0, _PAGE).lines
    if len(first) < _PAGE:
        return first[len(first) - min(count, len(first)) :]
    inside = first[-1].number
    beyond = inside * 2
    while page(beyond, 1).lines:
        inside, beyond = beyond, beyond * 2
    while beyond - inside > 1:
        middle = (inside + beyond) // 2
        inside, beyond = (middle, beyond) if page(middle, 1).lines else (inside, middle)
    # `beyond` is the last line's number: nothing follows it, and something follows the number before.
    return page(beyond - min(count, _PAGE), _PAGE).lines


def shown(line: LogLine) -> list[str]:
    """A log line for people; its further lines are indented under the first."""
    first, *rest = block(line.message)
    mark = paint(line.level, line.level.ljust(7))
    return [f"{times.parse(line.at):%H:%M:%S} {mark} {first}", *(" " * 17 + part for part in rest)]


def _emit(session: Session, lines: list[LogLine]) -> None:
    for line in lines:
        if session.format == "table":
            for part in shown(line):
                output.say(part)
        elif session.format == "csv":
            session.csv.row(line)
        else:
            output.say(str(line.number) if session.format == "id" else output.json_text(line))
