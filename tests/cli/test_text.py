"""What is printed: harmless, aligned, and readable times."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.cli import text, times
from roost.cli.output import Column, emit_pages, json_text

HOSTILE = [
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[H",
    "\x9b31mred",
    "a\u202egnp.exe",
    "zero\u200bwidth",
    "bell\x07",
    "back\x08space",
    "carriage\rreturn",
    "line\nbreak",
    "\x7f",
    "\ud800",
    "\ufeff",
]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_shown_as_escapes(hostile: str) -> None:
    shown = text.line(hostile)
    assert shown != hostile
    assert shown.isprintable()


@given(st.text())
def test_a_line_never_drives_the_terminal(given_text: str) -> None:
    shown = text.line(given_text)
    assert not any(character < " " or "\x7f" <= character <= "\x9f" for character in shown)
    assert not set(shown) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))))
def test_json_stays_the_same_document(value: dict[str, str]) -> None:
    for indent in (0, 2):
        printed = json_text(value, indent=indent)
        assert json.loads(printed) == value
        assert not any("\x7f" <= character <= "\x9f" or character in "\u202e\u2066" for character in printed)


def test_plain_text_in_any_script_stays_as_it_is() -> None:
    for plain in ("mail.send", "größe", "日本語", "שלום", "😀", "naïve café"):
        assert text.line(plain) == plain


def test_columns_line_up_whatever_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    columns = (Column[tuple[str, int]]("NAME", lambda row: row[0]), Column("N", lambda row: row[1], right=True))
    emit_pages([[("mail", 1), ("日本", 20)], [("e\u0301", 300)]], "table", columns, lambda row: row[0], "none")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "NAME   N"
    assert {text.width(line) for line in lines[:3]} == {8}
    assert lines[2] == "日本  20"


def test_an_empty_list_is_a_note_and_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    emit_pages([[]], "table", (), str, "no such jobs")
    assert capsys.readouterr() == ("", "no such jobs\n")
    emit_pages([[]], "json", (), str, "no such jobs")
    assert capsys.readouterr() == ("[]\n", "")
    emit_pages([[], []], "jsonl", (), str, "no such jobs")
    assert capsys.readouterr() == ("", "")


class Row(msgspec.Struct, omit_defaults=True):
    """As the API's rows are: what is as usual is left out."""

    id: int
    title: str
    waiting: int = 0
    paused: bool = False
    owner: str | None = None
    tags: dict[str, str] | None = None


def test_csv_has_every_field_of_the_api_and_keeps_values_exact(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row(1, 'said "hi", left'), Row(9007199254740993, "a\x1b[2J\nb", 3, True, "ana", {"team": "blue"})]
    emit_pages([rows[:1], rows[1:]], "csv", (), lambda row: row.id, "none")
    heading, first, second = csv.reader(capsys.readouterr().out.splitlines())
    assert heading == ["id", "title", "waiting", "paused", "owner", "tags"]
    assert first == ["1", 'said "hi", left', "0", "false", "", ""]
    assert second == ["9007199254740993", r"a\x1b[2J\nb", "3", "true", "ana", '{"team":"blue"}']
    emit_pages([[{"check": "disk", "found": None}, {"check": "file"}]], "csv", (), str, "none")
    assert capsys.readouterr() == ("check,found\ndisk,\nfile,\n", "")
    emit_pages([[]], "csv", (), str, "none")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("cells", "shown"), [(9, "日本語abc"), (8, "日本語a…"), (4, "日…"), (1, "…")])
def test_cut_text_fits(cells: int, shown: str) -> None:
    assert text.fit("日本語abc", cells) == shown
    assert text.width(shown) <= cells


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0ms"), (0.04, "40ms"), (0.9999, "1s"), (2.14, "2.1s"), (59.96, "1m"), (200, "3m20s"), (3600, "1h"),
        (18_600, "5h10m"), (86_400 * 3 + 4 * 3600, "3d4h"),
    ],
)  # fmt: skip
def test_spans(seconds: float, shown: str) -> None:
    assert times.span(seconds) == shown


def test_times_tell_how_long_ago() -> None:
    now = datetime.fromtimestamp(times.now_ms() / 1000, UTC)
    stamp = (now - timedelta(minutes=5, seconds=2)).isoformat()
    assert times.relative(stamp) == "5m ago"
    assert times.relative((now + timedelta(hours=5, seconds=30)).isoformat()) == "in 5h"
    assert times.short(stamp).startswith("5m ago, ")
    assert times.full(stamp).endswith("(5m ago)")
    assert times.short(None) == times.full(None) == ""


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-21T09:00:00Z", datetime(2026, 11, 21, 9, tzinfo=UTC)),
        ("2026-11-21T09:00+01:00", datetime(2026, 11, 21, 9, tzinfo=timezone(timedelta(hours=1)))),
        ("2026-11-21 09:00 Europe/Paris", datetime(2026, 11, 21, 9, tzinfo=ZoneInfo("Europe/Paris"))),
        ("2026-11-21 09:00 UTC", datetime(2026, 11, 21, 9, tzinfo=UTC)),
    ],
)
def test_moments(written: str, meant: datetime) -> None:
    assert times.MOMENT.convert(written, None, None) == meant


def test_a_moment_without_a_zone_is_this_machines() -> None:
    assert times.MOMENT.convert("2026-11-21 09:00", None, None) == datetime(2026, 11, 21, 9).astimezone()
