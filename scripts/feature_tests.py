"""Which tests try which promise: rows from tests/features.toml, tests from their ``feature`` marks.

Read from the source, not from a collection: it costs milliseconds and needs no database. Fails where a row has no test
or a mark names no row.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from scripts.source_files import ROOT

DOCUMENT = Path("docs/features.md")
_ROWS = Path("tests/features.toml")


def rows(root: Path = ROOT) -> dict[str, dict[str, str]]:
    """Every row by its key, in the order of the file."""
    return tomllib.loads((root / _ROWS).read_text())


def marked_tests(root: Path = ROOT) -> dict[str, list[str]]:
    """The ids (``path::test``) of the tests that carry each key."""
    found: dict[str, list[str]] = {}
    for path in sorted((root / "tests").rglob("test_*.py")):
        name = path.relative_to(root).as_posix()
        for key, test in _marks(ast.parse(path.read_text())):
            found.setdefault(key, []).append(f"{name}::{test}" if test else name)
    return found


def _marks(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in module.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "pytestmark" for t in node.targets):
            yield from ((key, "") for key in _keys(node.value))
        elif isinstance(node, ast.ClassDef):
            yield from _marks_of(node, node.name)
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield from _marks_of(inner, f"{node.name}::{inner.name}")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _marks_of(node, node.name)


def _marks_of(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[tuple[str, str]]:
    for decorator in node.decorator_list:
        yield from ((key, name) for key in _keys(decorator))


def _keys(expression: ast.expr) -> Iterator[str]:
    """The keys in ``pytest.mark.feature("key")``, wherever they stand in the expression."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "feature":
            yield from (str(each.value) for each in node.args if isinstance(each, ast.Constant))


def document(root: Path = ROOT) -> str:
    """The table as a page."""
    tests = marked_tests(root)
    parts = [
        "# Features and their tests",
        "Made by `make generate` from `tests/features.toml` and the marks of the tests. One named here runs on SQLite "
        "and on PostgreSQL wherever the promise is the store's to keep.",
    ]
    section = ""
    for key, row in rows(root).items():
        if row["section"] != section:
            section = row["section"]
            parts.append(f"## {section}")
        parts.append(f"### {row['feature']}")
        if row["promise"]:
            parts.append(f"Promise: {row['promise']}.")
        if row["trap"]:
            parts.append(f"Trap: {row['trap']}.")
        parts.append("\n".join(f"- `{test}`" for test in tests.get(key, ["no test yet"])))
    return "\n\n".join(parts) + "\n"


def problems(root: Path = ROOT) -> list[str]:
    """Rows without a test and marks without a row."""
    known, tests = rows(root), marked_tests(root)
    return [f"{_ROWS}: [{key}] has no test" for key in known if key not in tests] + [
        f"{places[0]}: the mark feature({key!r}) names no row of {_ROWS}"
        for key, places in tests.items()
        if key not in known
    ]


def main() -> int:
    found = problems()
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
