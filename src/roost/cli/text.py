"""What may be printed: stored data never drives the terminal, and columns line up whatever the script."""

from __future__ import annotations

import re
import unicodedata

# Control characters (C0, DEL, C1), direction overrides and isolates, invisible separators and lone surrogates: with
# them stored data could move the cursor, set the title, or show another text than it is.
_UNSAFE = "\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufff9-\ufffb"
_unsafe = re.compile(f"[{_UNSAFE}]")
_unsafe_in_json = re.compile(f"[{_UNSAFE.removeprefix(chr(0) + '-' + chr(31))}]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return _SHORT.get(character) or (f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}")


def line(text: str) -> str:
    """``text`` on one line: whatever could move the cursor or deceive the eye is written as an escape."""
    return text if text.isascii() and text.isprintable() else _unsafe.sub(_escape, text)


def block(text: str) -> list[str]:
    """``text`` as its lines, each safe to print; tabs become spaces."""
    return [line(part.expandtabs(4)) for part in text.replace("\r\n", "\n").split("\n")]


def json_line(text: str) -> str:
    """JSON text with what a terminal might obey written as JSON escapes: the same document, safe to look at."""
    return _unsafe_in_json.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def width(text: str) -> int:
    """Terminal cells that ``text`` takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, cells: int) -> str:
    """``text`` cut to ``cells``, with an ellipsis where something is missing."""
    if width(text) <= cells:
        return text
    taken, used = [], 0
    for character in text:
        used += _cells(character)
        if used > cells - 1:
            break
        taken.append(character)
    return "".join(taken) + "…"


def pad(text: str, cells: int) -> str:
    """``text`` with spaces up to ``cells``."""
    return text + " " * (cells - width(text))
