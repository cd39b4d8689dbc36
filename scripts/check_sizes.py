"""Fails when a source file is longer than 600 lines; names those over 400."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from scripts.source_files import ROOT, project_files

FOLDERS = ("src", "tests", "examples", "bench", "scripts")
ENDINGS = (".py", ".sql")
SOFT_LIMIT = 400
WALL = 600


def long_files(files: Iterable[Path], root: Path = ROOT) -> list[tuple[int, str]]:
    """(lines, path) of every source file over the soft limit, longest first."""
    found = []
    for path in files:
        name = path.relative_to(root)
        if name.parts[0] in FOLDERS and path.suffix in ENDINGS:
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > SOFT_LIMIT:
                found.append((lines, str(name)))
    return sorted(found, reverse=True)


def main() -> int:
    found = long_files(project_files())
    for lines, name in found:
        verdict = f"over the wall of {WALL}, split it" if lines > WALL else f"over {SOFT_LIMIT}"
        print(f"{name}: {lines} lines, {verdict}")
    return 1 if any(lines > WALL for lines, _ in found) else 0


if __name__ == "__main__":
    sys.exit(main())
