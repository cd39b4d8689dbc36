"""What the documents show: their blocks of code and of commands, taken out as a reader would."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

from scripts.source_files import ROOT

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
DOCUMENTS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")] + GUIDES
_CODE = re.compile(r"`([^`|]+)`")


def guide(name: str) -> str:
    """The text of a guide."""
    return (ROOT / "docs" / "guides" / f"{name}.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The words of each command in the ``console`` blocks, without the prompt, comments and ``&``."""
    found = []
    for block in blocks(text, "console"):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            if line.startswith("$ "):
                words = shlex.split(line.removeprefix("$ "), comments=True)
                found.append([word for word in words if word != "&"])
    return found


def shown_commands(text: str) -> list[list[str]]:
    """The arguments of every use of the program in the ``console`` blocks."""
    return [words[1:] for words in commands(text) if words and words[0] == "roost"]


def mentioned_commands(text: str) -> list[list[str]]:
    """The arguments of every use of the program within the text and its tables."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [shlex.split(code)[1:] for code in _CODE.findall(prose) if re.match(r"roost [a-z]", code)]


def rows(text: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first heading is ``heading``."""
    lines = text.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def code(cell: str) -> str:
    """The first code in a cell."""
    found = _CODE.search(cell)
    assert found, cell
    return found[1]


def module(name: str, text: str, folder: Path) -> ModuleType:
    """The ``python`` blocks of a document joined into a module, as a reader who copies one after the other has it."""
    path = folder / f"{name}.py"
    path.write_text("\n\n".join(blocks(text, "python")))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made
