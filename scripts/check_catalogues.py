"""Fails when the SQL catalogues of the two engines differ in statement names or in a statement's parameters.

A catalogue is the folder src/roost/engine/<engine>/sql. A block in one of its .sql files begins with a line
`-- name: statement_name`, goes on with comments if it has any, and holds one statement with parameters `:name`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from scripts.source_files import ROOT

ENGINES = ("sqlite", "postgres")
# Exactly as roost.engine.catalogue reads it; a line that only resembles it would be a comment there.
NAME_LINE = re.compile(r"^-- name: (\w+)$")
NEAR_NAME_LINE = re.compile(r"^\s*--\s*name\s*:", re.IGNORECASE)
# What can hold a ':name' that is no parameter, first; a parameter last, so that it matches only outside of the others.
TOKENS = re.compile(
    r"""
      '(?:[^']|'')*'                        # string
    | "(?:[^"]|"")*"                        # quoted identifier
    | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$       # dollar-quoted string
    | --[^\n]*                              # comment to the end of the line
    | /\*.*?\*/                             # comment
    | ::\s*"?\w+                            # cast
    | (?P<statement_end>;)
    | (?P<parameter>:[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)

Catalogue = dict[str, frozenset[str]]


def read_catalogue(folder: Path) -> tuple[Catalogue, list[str]]:
    """The parameters of each statement below `folder`, and what is wrong with the files."""
    catalogue: Catalogue = {}
    problems: list[str] = []
    for path in sorted(folder.rglob("*.sql")):
        for name, body in _blocks(path.read_text(encoding="utf-8"), f"{folder.parent.name}/{path.name}", problems):
            where = f"{folder.parent.name}/{path.name}: {name}"
            if name in catalogue:
                problems.append(f"{where}: the name is taken by another statement")
            tokens = list(TOKENS.finditer(body))
            if not TOKENS.sub("", body).strip():
                problems.append(f"{where}: no statement")
            ends = [token.end() for token in tokens if token["statement_end"]]
            if ends and TOKENS.sub("", body[ends[0] :]).strip():
                problems.append(f"{where}: more than one statement")
            catalogue[name] = frozenset(token["parameter"][1:] for token in tokens if token["parameter"])
    return catalogue, problems


def differences(catalogues: dict[str, Catalogue]) -> list[str]:
    """One line per statement or parameter that one engine has and another lacks."""
    found = []
    for name in sorted({name for catalogue in catalogues.values() for name in catalogue}):
        missing = [engine for engine, catalogue in catalogues.items() if name not in catalogue]
        if missing:
            found.append(f"{name}: missing in {', '.join(missing)}")
            continue
        every = frozenset[str]().union(*(catalogue[name] for catalogue in catalogues.values()))
        for engine, catalogue in catalogues.items():
            if lacking := every - catalogue[name]:
                found.append(f"{name}: {engine} does not use {', '.join(f':{one}' for one in sorted(lacking))}")
    return found


def main(root: Path = ROOT) -> int:
    catalogues: dict[str, Catalogue] = {}
    found: list[str] = []
    for engine in ENGINES:
        catalogues[engine], problems = read_catalogue(root / "src" / "roost" / "engine" / engine / "sql")
        found += problems
        if not catalogues[engine]:
            found.append(f"{engine}: no statement at all")
    found += differences(catalogues)
    for line in found:
        print(line)
    return 1 if found else 0


def _blocks(text: str, where: str, problems: list[str]) -> list[tuple[str, str]]:
    blocks: list[tuple[str, list[str]]] = []
    for number, line in enumerate(text.splitlines(), 1):
        if match := NAME_LINE.match(line):
            blocks.append((match[1], []))
        elif NEAR_NAME_LINE.match(line):
            problems.append(f"{where}:{number}: a name line reads '-- name: statement_name', nothing else")
        elif blocks:
            blocks[-1][1].append(line)
        elif line.strip() and not line.lstrip().startswith("--"):
            problems.append(f"{where}:{number}: a statement without a name")
    return [(name, "\n".join(lines)) for name, lines in blocks]


if __name__ == "__main__":
    sys.exit(main())
