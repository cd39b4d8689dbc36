"""What commands print: tables for people, JSON, CSV and ids for programs; data on stdout, all else on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import click

from roost.cli import choosing, text

Format = Literal["table", "json", "jsonl", "csv", "id"]
FORMATS: tuple[Format, ...] = ("table", "json", "jsonl", "csv", "id")

T = TypeVar("T")

_COLOURS = {
    "ready": "cyan", "waiting": "blue", "running": "yellow", "held": "magenta", "succeeded": "green", "failed": "red",
    "cancelled": "bright_black", "expired": "bright_black", "open": "magenta", "approved": "green", "answered": "green",
    "denied": "red", "withdrawn": "bright_black", "paused": "magenta", "lost": "red", "ok": "green", "warn": "yellow",
    "fail": "red", "error": "red", "warning": "yellow", "timed_out": "red",
}  # fmt: skip


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table: its heading, a row's text, and whether it may be cut to the terminal's width."""

    heading: str
    value: Callable[[T], object]
    right: bool = False
    elastic: bool = False


def coloured() -> bool:
    """Whether stdout is a terminal that wants colours."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(word: str, shown: str | None = None) -> str:
    """``shown`` (or the word) in the colour of the word, where colours are wanted."""
    out = shown if shown is not None else word
    colour = _COLOURS.get(word)
    return click.style(out, fg=colour) if colour is not None and coloured() else out


def strong(words: str) -> str:
    """A heading."""
    return click.style(words, bold=True) if coloured() else words


def faint(words: str) -> str:
    """An aside."""
    return click.style(words, dim=True) if coloured() else words


def say(words: str = "") -> None:
    """One line of data; what cannot be encoded for this terminal is escaped, never an error."""
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(words.encode(encoding, "backslashreplace").decode(encoding), color=coloured())


def note(words: str) -> None:
    """One line for people, beside the data."""
    encoding = sys.stderr.encoding or "utf-8"
    click.echo(words.encode(encoding, "backslashreplace").decode(encoding), err=True)


class Table(Generic[T]):
    """Rows in aligned columns; printed page by page, the columns never getting narrower."""

    def __init__(self, columns: Sequence[Column[T]], empty: str) -> None:
        self._columns = columns
        self._empty = empty
        self._widths = [len(column.heading) for column in columns]
        self._rows = 0

    def page(self, rows: Sequence[T]) -> None:
        """Print ``rows``; the heading comes with the first ones."""
        cells = [[text.line(_shown(column.value(row))) for column in self._columns] for row in rows]
        for line in cells:
            self._widths = [max(width, text.width(cell)) for width, cell in zip(self._widths, line, strict=True)]
        widths = self._fitted()
        if rows and not self._rows:
            headings = [column.heading for column in self._columns]
            say(strong(self._line(headings, widths, paint_cells=False)))
        for line in cells:
            say(self._line(line, widths, paint_cells=True))
        self._rows += len(rows)

    def end(self) -> None:
        """Say so when there was nothing."""
        if not self._rows:
            note(self._empty)

    def _fitted(self) -> list[int]:
        if not sys.stdout.isatty():
            return self._widths
        import shutil

        over = sum(self._widths) + 2 * (len(self._widths) - 1) - shutil.get_terminal_size().columns
        widths = [*self._widths]
        for index, column in enumerate(self._columns):
            if over > 0 and column.elastic:
                cut = min(over, max(0, widths[index] - 12))
                widths[index] -= cut
                over -= cut
        return widths

    def _line(self, cells: list[str], widths: list[int], *, paint_cells: bool) -> str:
        shown = []
        for cell, width, column in zip(cells, widths, self._columns, strict=True):
            fitted = text.fit(cell, width) if column.elastic else cell
            padded = " " * (width - text.width(fitted)) + fitted if column.right else text.pad(fitted, width)
            shown.append(paint(cell, padded) if paint_cells else padded)
        return "  ".join(shown).rstrip()


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    return str(value)


def json_text(value: object, *, indent: int = 0) -> str:
    """``value`` as JSON, in the API's field order; indented by ``indent`` where it is not 0."""
    import msgspec

    data = msgspec.json.encode(value)
    return text.json_line((msgspec.json.format(data, indent=indent) if indent else data).decode())


def emit_one(value: Any, format: Format, show: Callable[[], None], id_of: Callable[[], object]) -> None:
    """One thing: by ``show`` for people, else as JSON or by its id."""
    if format == "table":
        show()
    elif format == "id":
        say(text.line(str(id_of())))
    elif format == "csv":
        Csv().row(value)
    else:
        say(json_text(value, indent=2 if format == "json" else 0))


class Csv:
    """Rows as CSV: a heading of the API's field names with the first row, values as in JSON, texts without quotes."""

    def __init__(self) -> None:
        self._defaults: dict[str, bytes] = {}
        """Of each column: what a row means that leaves it out."""

    def row(self, value: Any) -> None:
        """Print one row; what it holds beyond a plain value is JSON in its cell."""
        import msgspec

        cells = msgspec.json.decode(msgspec.json.encode(value), type=dict[str, msgspec.Raw])
        if not self._defaults:
            # Of a Struct all fields are columns, also those that only later rows have.
            known = msgspec.structs.fields(value) if isinstance(value, msgspec.Struct) else ()
            self._defaults = {field.encode_name: _default(field.default) for field in known}
            self._defaults = self._defaults or dict.fromkeys(cells, b"")
            self._line([*self._defaults])
        self._line([_cell(bytes(cells.get(name, default))) for name, default in self._defaults.items()])

    def _line(self, cells: list[str]) -> None:
        import csv
        import io

        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow(text.line(cell) for cell in cells)
        say(line.getvalue())


def _default(value: object) -> bytes:
    import msgspec

    return msgspec.json.encode(value) if isinstance(value, (int, float, str)) else b""


def _cell(value: bytes) -> str:
    import msgspec

    if value.startswith(b'"'):
        return msgspec.json.decode(value, type=str)
    return "" if value == b"null" else value.decode()


def _named(field: str) -> Column[dict[str, Any]]:
    """A column of a field by its name; what is no text is shown as JSON."""
    import msgspec

    return Column(field, lambda row: _cell(msgspec.json.encode(row[field])), elastic=True)


def emit_pages(
    pages: Iterable[Sequence[T]],
    format: Format,
    columns: Sequence[Column[T]],
    id_of: Callable[[T], object],
    empty: str,
) -> None:
    """A list, page by page; as JSON it is one array however many pages there were.

    Of the fields that ``--fields`` names, where it was given.
    """
    fields = choosing.chosen()
    if fields and format != "id":
        _emit(choosing.rows(pages, fields), format, [_named(name) for name in fields], str, empty)
    else:
        _emit(pages, format, columns, id_of, empty)


def _emit(
    pages: Iterable[Sequence[T]],
    format: Format,
    columns: Sequence[Column[T]],
    id_of: Callable[[T], object],
    empty: str,
) -> None:
    if format == "table":
        table = Table(columns, empty)
        for page in pages:
            table.page(page)
        table.end()
    elif format == "json":
        say(json_text([row for page in pages for row in page], indent=2))
    elif format == "csv":
        lines = Csv()
        for page in pages:
            for row in page:
                lines.row(row)
    else:
        for page in pages:
            for row in page:
                say(text.line(str(id_of(row))) if format == "id" else json_text(row))


def fields(pairs: Iterable[tuple[str, object]], by: int = 0) -> None:
    """Named facts of one thing, in two columns; empty ones are left out."""
    known = [(name, text.line(_shown(value))) for name, value in pairs if value not in (None, "", [], {})]
    wide = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        say(" " * by + f"{faint(name.ljust(wide))}  {paint(value)}")


def section(title: str) -> None:
    """A heading with an empty line before it."""
    say()
    say(strong(title))


def indented(lines: Iterable[str], by: int = 2) -> None:
    """Lines of stored text, moved to the right; they are made safe on the way."""
    for part in lines:
        say(" " * by + text.line(part))
