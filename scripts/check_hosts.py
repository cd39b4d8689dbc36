"""Fails when a tracked file names one machine's folders or a package registry's host.

Such names make a checkout work in one place only; registries are the installer's own configuration.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from scripts.source_files import ROOT, project_files

# Written so that this file does not report itself.
FORBIDDEN = re.compile(
    r"""
      (?<![\w.$)}]) / (?: work | root | home/\w+ | Users/\w+ | opt/wheels ) /
    | \b (?: pypi | pythonhosted | npmjs | yarnpkg | golang | debian ) [.] (?: org | com ) \b
    | \b crates [.] io \b
    | \b repo1? [.] maven \b
    """,
    re.VERBOSE,
)


def findings(path: Path, root: Path = ROOT) -> list[str]:
    """One line per forbidden name in the file; files that are not text have none."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return []
    return [
        f"{path.relative_to(root)}:{number}: names {match.group()!r}"
        for number, line in enumerate(text.splitlines(), 1)
        if (match := FORBIDDEN.search(line))
    ]


def main() -> int:
    found = [line for path in project_files() for line in findings(path)]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
