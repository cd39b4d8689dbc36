"""The same call for many ids: read them, ask once, show progress, and tell what failed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import click

from roost.cli import exit_codes, failures
from roost.cli.output import note
from roost.cli.session import Session

T = TypeVar("T")

_MANY = 50
"""From here on a run takes long enough that somebody wants to see it move."""
_SILENT_SECONDS = 10.0


def read_ids(words: Iterable[str], what: str) -> list[int]:
    """Ids from the arguments, where ``-`` stands for those on stdin; raises `click.UsageError` for another word."""
    ids: list[int] = []
    for word in words:
        for part in sys.stdin.read().split() if word == "-" else [word]:
            if not (part.isascii() and part.isdigit()):
                raise click.UsageError(f"{part[:40]!r} is not the id of a {what}; ids are whole numbers")
            ids.append(int(part))
    return list(dict.fromkeys(ids))


def confirm(question: str, count: int, yes: bool) -> None:
    """Ask before something that touches several things and cannot be taken back; raises `click.Abort` for a no."""
    if yes or count < 2:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError(f"this would {question}; add --yes to do it without being asked")
    click.confirm(f"{question[0].upper()}{question[1:]}?", abort=True, err=True)


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, else a line per tenth or per ten seconds; call it with how many more are done."""
    if total is not None and total < _MANY:
        yield lambda _: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count: bar.advance(task, count)
    else:
        yield _Lines(label, total)


class _Lines:
    """Progress where nothing can be drawn over: few lines, each worth reading."""

    def __init__(self, label: str, total: int | None) -> None:
        self._label = label
        self._total = total
        self._done = 0
        self._told = 0
        self._told_at = time.monotonic()

    def __call__(self, count: int) -> None:
        self._done += count
        step = max(1, (self._total or sys.maxsize) // 10)
        now = time.monotonic()
        if self._done // step > self._told // step or now - self._told_at >= _SILENT_SECONDS:
            of = f"/{self._total:,}" if self._total is not None else ""
            note(f"{self._label}: {self._done:,}{of}")
            self._told, self._told_at = self._done, now


def for_each(session: Session, label: str, ids: Sequence[int], call: Callable[[int], T]) -> tuple[list[T], int]:
    """The answers of ``call`` for the ids it succeeds for, and the exit code; each refusal is told as it comes.

    The exit code is that of the failures when all are alike, and 1 where they differ. Ctrl-C ends it before the next
    one: what was done is told like any end.
    """
    from roost.errors import RoostError

    answers: list[T] = []
    codes: set[int] = set()
    with progress(label, len(ids)) as advance:
        for before, id in enumerate(ids):
            try:
                answers.append(call(id))
            except KeyboardInterrupt:
                # Whether the call at hand was carried out is not known: its answer did not come.
                refused = before - len(answers)
                note(f"{label}: interrupted at {id}; {len(answers):,} of {len(ids):,} done, {refused:,} refused")
                return answers, exit_codes.INTERRUPTED
            except RoostError as error:
                if len(ids) == 1 or exit_codes.of(error) == exit_codes.UNAVAILABLE:
                    raise
                error.message = f"{id}: {error.message}"
                codes.add(failures.report(error, session.format))
            advance(1)
    if codes:
        note(f"{label}: {len(answers):,} of {len(ids):,} done")
    return answers, codes.pop() if len(codes) == 1 else (exit_codes.FAILED if codes else exit_codes.OK)
