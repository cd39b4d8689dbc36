"""Writes src/roost/sdk/_sync from src/roost/sdk/_async: the same client without async and await.

Only tokens change, so both read alike and an error in one has the same line of thought in the other. A name from
`asyncio` without a counterpart in `ASYNCIO` below is refused: it needs a decision, not a guess.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

from scripts.source_files import ROOT

SOURCE = Path("src/roost/sdk/_async")
TARGET = Path("src/roost/sdk/_sync")

# `asyncio.X` becomes the value; its first part is imported instead of asyncio.
ASYNCIO = {
    "sleep": "time.sleep",
    "Lock": "threading.Lock",
    "Event": "threading.Event",
    "Condition": "threading.Condition",
    "Semaphore": "threading.Semaphore",
    "Queue": "queue.Queue",
    "QueueEmpty": "queue.Empty",
    "QueueFull": "queue.Full",
}
# Whole names. Beside these, AsyncThing becomes Thing and _AsyncThing becomes _Thing.
NAMES = {
    "_async": "_sync",
    "aclose": "close",
    "aclosing": "closing",
    "aiter": "iter",
    "anext": "next",
    "asynccontextmanager": "contextmanager",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "enter_async_context": "enter_context",
    "push_async_callback": "callback",
    "StopAsyncIteration": "StopIteration",
}
CLASS_NAME = re.compile(r"^(_*)Async(?=[A-Z])")
WORD = re.compile(r"\b(?:asyncio\.(?P<attribute>\w+)|(?P<name>[A-Za-z_]\w*))")
AWAIT_IN_TEXT = re.compile(r"\bawait (?=[\w.]+[(\[])|\basync (?=def |with |for )")


class NoCounterpart(Exception):
    """The asynchronous source uses something this generator cannot turn into plain code."""


def to_sync(source: str, path: str) -> str:
    """The synchronous form of the source of one module; `path` is named in its first line and in errors."""
    lines = source.splitlines(keepends=True)
    edits: list[tuple[tuple[int, int], tuple[int, int], str]] = []
    modules: set[str] = set()
    tokens = list(_tokens(source))
    for index, (kind, text, start, end) in enumerate(tokens):
        if kind == tokenize.NAME and text in ("async", "await"):
            following = tokens[index + 1]
            edits.append((start, following[2] if following[2][0] == start[0] else end, ""))
        elif kind == tokenize.NAME and text == "asyncio":
            edits += _replace_asyncio(tokens, index, modules, path)
        elif kind == tokenize.NAME:
            if (new := sync_name(text)) != text:
                edits.append((start, end, new))
        elif kind in (tokenize.STRING, tokenize.COMMENT) and (new := _sync_text(text)) != text:
            edits.append((start, end, new))
    for start, end, new in sorted(edits, reverse=True):
        first, last = start[0] - 1, end[0] - 1
        lines[first : last + 1] = [lines[first][: start[1]] + new + lines[last][end[1] :]]
    body = "".join(lines)
    imports = [f"import {module}\n" for module in sorted(modules)]
    body = re.sub(
        r"^([ \t]*)import asyncio\n", lambda line: "".join(line[1] + one for one in imports), body, flags=re.MULTILINE
    )
    return f"# Generated from {path} by scripts/generate_sync.py; do not edit.\n{body}"


def sync_name(name: str) -> str:
    """The synchronous counterpart of an identifier, or the identifier itself."""
    return NAMES.get(name) or CLASS_NAME.sub(r"\1", name)


def generated_files(root: Path = ROOT) -> dict[Path, str]:
    """What each file below _sync must hold, by its path relative to `root`, formatted."""
    made: dict[Path, str] = {}
    for path in sorted((root / SOURCE).rglob("*.py")):
        relative = path.relative_to(root)
        target = TARGET / Path(*(sync_name(part) for part in relative.relative_to(SOURCE).parts))
        made[target] = _format(to_sync(path.read_text(encoding="utf-8"), relative.as_posix()), target)
    return made


def existing_files(root: Path = ROOT) -> dict[Path, str]:
    """What is below _sync now, in the same form."""
    return {path.relative_to(root): path.read_text(encoding="utf-8") for path in sorted((root / TARGET).rglob("*.py"))}


def main(root: Path = ROOT) -> int:
    made = generated_files(root)
    existing = existing_files(root)
    for path in existing.keys() - made.keys():
        (root / path).unlink()
        print(f"removed {path}")
    for path, text in made.items():
        if existing.get(path) != text:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
            print(f"wrote {path}")
    return 0


Token = tuple[int, str, tuple[int, int], tuple[int, int]]


def _tokens(source: str) -> Iterator[Token]:
    """The source's tokens, an f-string always as one STRING, as Python before 3.12 has it."""
    lines = source.splitlines(keepends=True)
    f_start = getattr(tokenize, "FSTRING_START", None)
    f_end = getattr(tokenize, "FSTRING_END", None)
    depth = 0
    opened = (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if f_start is not None and token.type == f_start:
            opened = opened if depth else token.start
            depth += 1
        elif f_end is not None and token.type == f_end:
            depth -= 1
            if depth == 0:
                yield tokenize.STRING, _slice(lines, opened, token.end), opened, token.end
        elif not depth:
            yield token.type, token.string, token.start, token.end


def _slice(lines: list[str], start: tuple[int, int], end: tuple[int, int]) -> str:
    if start[0] == end[0]:
        return lines[start[0] - 1][start[1] : end[1]]
    middle = lines[start[0] : end[0] - 1]
    return lines[start[0] - 1][start[1] :] + "".join(middle) + lines[end[0] - 1][: end[1]]


def _replace_asyncio(
    tokens: list[Token], index: int, modules: set[str], path: str
) -> list[tuple[tuple[int, int], tuple[int, int], str]]:
    """The edit for one use of `asyncio`; the plain import line is replaced later, when all uses are known."""
    _, _, start, _ = tokens[index]
    previous, following = tokens[index - 1][1], tokens[index + 1][1]
    if previous == "import" and following in ("\n", "\r\n", ""):
        return []
    attribute = tokens[index + 2][1] if following == "." else ""
    if attribute not in ASYNCIO:
        name = f"asyncio.{attribute}" if attribute else "this use of asyncio"
        raise NoCounterpart(f"{path}:{start[0]}: {name} has no counterpart in scripts/generate_sync.py")
    modules.add(ASYNCIO[attribute].partition(".")[0])
    return [(start, tokens[index + 2][3], ASYNCIO[attribute])]


def _sync_text(text: str) -> str:
    """Documentation, comments and expressions in f-strings follow the code they belong to."""

    def replace(match: re.Match[str]) -> str:
        attribute = match["attribute"]
        if attribute is None:
            return sync_name(match["name"])
        return ASYNCIO.get(attribute, match[0])

    return WORD.sub(replace, AWAIT_IN_TEXT.sub("", text))


def _format(text: str, path: Path) -> str:
    ruff = Path(sys.executable).with_name("ruff")
    arguments = ["--quiet", "--config", str(ROOT / "pyproject.toml"), "--stdin-filename", str(path), "-"]
    for command in (["check", "--select", "I", "--fix-only"], ["format"]):
        done = subprocess.run([ruff, *command, *arguments], input=text, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NoCounterpart(f"{path}: the generated code is no Python:\n{done.stderr}")
        text = done.stdout
    return text


if __name__ == "__main__":
    sys.exit(main())
