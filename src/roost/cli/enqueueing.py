"""``roost jobs enqueue-many``: jobs from the lines of a file, a thousand to a transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from roost.cli import bulk, exit_codes, failures, output
from roost.cli.output import Column
from roost.cli.session import Session
from roost.errors import RoostError
from roost.wire.codec import decode
from roost.wire.contract import ENQUEUE_MANY
from roost.wire.jobs import Enqueued, EnqueueJobs, NewJob

PER_CALL = 1000
BYTES_PER_CALL = 4 * 1024 * 1024
"""Well within what a server takes of one body."""
_PLACE = re.compile(r"jobs\[(\d+)\]\.?")
COLUMNS: tuple[Column[Enqueued], ...] = (
    Column("ID", lambda made: made.id, right=True),
    Column("", lambda made: "was there already" if made.duplicate else ""),
)


def enqueue_lines(session: Session, lines: Iterable[bytes]) -> int:
    """Enqueue the job of each line and print what became of them; the exit code.

    Raises what refuses a line, with its number; the lines before its transaction are stored, and told.
    """
    codes: list[int] = []
    told = 0

    def pages() -> Iterator[list[Enqueued]]:
        nonlocal told
        with bulk.progress("enqueue", None) as advance:
            for numbers, jobs in _batches(lines):
                try:
                    made = session.send(ENQUEUE_MANY, EnqueueJobs(jobs=jobs)).jobs
                except RoostError as error:
                    raise _at_line(error, numbers) from None
                for number, one in zip(numbers, made, strict=True):
                    if one.error is not None:
                        refused = one.error.error()
                        refused.message = f"line {number}: {refused.message}"
                        codes.append(failures.report(refused, session.format))
                told += len(made)
                advance(len(made))
                yield [one for one in made if one.error is None]

    try:
        output.emit_pages(pages(), session.format, COLUMNS, lambda made: made.id, "no lines")
    except (RoostError, KeyboardInterrupt) as error:
        output.note(f"enqueue: {told:,} lines are stored")
        if isinstance(error, KeyboardInterrupt):
            return exit_codes.INTERRUPTED
        raise
    return exit_codes.PARTIAL if codes else exit_codes.OK


def _batches(lines: Iterable[bytes]) -> Iterator[tuple[list[int], list[NewJob]]]:
    """The jobs of the lines that are not empty, with their numbers, in sets for one call each."""
    given = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    numbers: list[int] = []
    jobs: list[NewJob] = []
    size = 0
    for number, line in given:
        try:
            job = decode(line, NewJob)
        except RoostError as error:
            error.message = f"line {number}: {error.message}"
            raise
        if jobs and (len(jobs) == PER_CALL or size + len(line) > BYTES_PER_CALL):
            yield numbers, jobs
            numbers, jobs, size = [], [], 0
        numbers.append(number)
        jobs.append(job)
        size += len(line)
    if jobs:
        yield numbers, jobs


def _at_line(error: RoostError, numbers: list[int]) -> RoostError:
    found = _PLACE.match(error.path)
    if found is not None:
        error.message = f"line {numbers[int(found[1])]}: {error.message}"
        error.path = error.path[found.end() :]
    return error
