"""Statements by name, from files of SQL."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(package: str) -> dict[str, str]:
    """Every statement of the ``.sql`` files in ``package``'s folder ``sql``; a name used twice is an error."""
    found: dict[str, str] = {}
    for file in sorted(resources.files(package).joinpath("sql").iterdir(), key=lambda entry: entry.name):
        if not file.name.endswith(".sql"):
            continue
        parts = _NAME.split(file.read_text())
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"{file.name}: the statement {name} is there twice")
            lines = [line for line in text.strip().splitlines() if not line.lstrip().startswith("--")]
            found[name] = "\n".join(lines).rstrip(";")
    return found
