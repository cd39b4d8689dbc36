"""What a document points to is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.source_files import ROOT
from tests.docs.documents import DECISIONS, DOCUMENTS

_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_FOLDERS = "src|tests|scripts|bench|docs|examples|domain|engine|service|server|sdk|wire|cli"
_FILE = re.compile(rf"`((?:{_FOLDERS})/[\w./]*)`")
_BESIDE = (ROOT, ROOT / "src" / "roost")


@pytest.mark.parametrize("path", [*DOCUMENTS, *DECISIONS], ids=lambda path: path.name)
def test_links_and_files_exist(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = [link for link in _LINK.findall(text) if "://" not in link]
    missing = [link for link in links if not (path.parent / link).exists()]
    missing += [name for name in _FILE.findall(text) if not any((place / name).exists() for place in _BESIDE)]
    assert not missing
