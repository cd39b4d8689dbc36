"""The catalogue check finds what differs, and is not fooled by colons that are no parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import check_catalogues

SAME = """\
-- name: take_job
-- why: one row at most
SELECT id FROM job WHERE queue = :queue AND due <= :now
"""


def _write(root: Path, engine: str, text: str, name: str = "jobs.sql") -> None:
    folder = root / "src" / "roost" / "engine" / engine / "sql"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")


def _run(root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    status = check_catalogues.main(root)
    return status, capsys.readouterr().out.splitlines()


def test_equal_catalogues_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, "sqlite", SAME)
    _write(tmp_path, "postgres", "-- name: take_job\nSELECT id FROM job WHERE due <= :now AND queue = :queue;\n")
    assert _run(tmp_path, capsys) == (0, [])


def test_missing_parameter_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, "sqlite", SAME)
    _write(tmp_path, "postgres", SAME.replace(" AND due <= :now", ""))
    assert _run(tmp_path, capsys) == (1, ["take_job: postgres does not use :now"])


def test_missing_statement_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, "sqlite", SAME + "\n-- name: count_jobs\nSELECT count(*) FROM job\n")
    _write(tmp_path, "postgres", SAME)
    assert _run(tmp_path, capsys) == (1, ["count_jobs: missing in postgres"])


def test_statements_may_lie_in_different_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write(tmp_path, "sqlite", SAME, name="claims.sql")
    _write(tmp_path, "postgres", SAME, name="hot.sql")
    assert _run(tmp_path, capsys) == (0, [])


@pytest.mark.parametrize(
    "body",
    [
        'SELECT :real::bigint, \'{"a":"b"}\'::jsonb, x::text',
        "SELECT ':string', 'it''s :quoted', :real",
        'SELECT ":column", :real',
        "SELECT :real -- not :this",
        "SELECT /* nor\n :that */ :real",
        "SELECT $$ :dollar $$, $tag$ $$ :tagged $$ $tag$, :real",
    ],
)
def test_only_parameters_count(body: str, tmp_path: Path) -> None:
    _write(tmp_path, "postgres", f"-- name: one\n{body}\n")
    folder = tmp_path / "src" / "roost" / "engine" / "postgres" / "sql"
    assert check_catalogues.read_catalogue(folder) == ({"one": frozenset({"real"})}, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT 1\n-- name: one\nSELECT 2\n", "postgres/jobs.sql:1: a statement without a name"),
        ("-- name: one\nSELECT 1\n--name: two\nSELECT 2\n", "postgres/jobs.sql:3: a name line reads"),
        ("-- name: one\n-- only a comment\n", "postgres/jobs.sql: one: no statement"),
        ("-- name: one\nSELECT 1; SELECT 2;\n", "postgres/jobs.sql: one: more than one statement"),
        ("-- name: one\nSELECT 1\n-- name: one\nSELECT 2\n", "postgres/jobs.sql: one: the name is taken"),
    ],
)
def test_malformed_files_are_reported(text: str, problem: str, tmp_path: Path) -> None:
    _write(tmp_path, "postgres", text)
    _, problems = check_catalogues.read_catalogue(tmp_path / "src" / "roost" / "engine" / "postgres" / "sql")
    assert [found[: len(problem)] for found in problems] == [problem]


def test_empty_catalogues_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, capsys) == (1, ["sqlite: no statement at all", "postgres: no statement at all"])
