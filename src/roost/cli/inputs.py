"""Values from the command line: JSON from an argument, a file or stdin; tags; priorities."""

from __future__ import annotations

import sys
from typing import Any

import click

from roost.domain.priority import PRIORITIES


class JsonText(click.ParamType[bytes]):
    """JSON as an argument, ``@file`` or ``-`` (stdin); the value is its text, tried for syntax."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """The JSON's bytes; fails as a usage error."""
        if isinstance(value, bytes):
            return value
        given = str(value)
        if given == "-":
            data = sys.stdin.buffer.read()
        elif given.startswith("@"):
            from pathlib import Path

            try:
                data = Path(given[1:]).read_bytes()
            except OSError as error:
                self.fail(f"cannot read {given[1:]}: {error.strerror}", param, ctx)
        else:
            data = given.encode(errors="surrogateescape")
        import msgspec

        try:
            # Whitespace goes: what is stored is one line, whatever editor the file comes from.
            return msgspec.json.format(data.strip(), indent=-1)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            quoted = " (texts need their quotes: '\"text\"')" if given[:1].isalpha() else ""
            self.fail(f"not JSON: {error}{quoted}", param, ctx)


class Priority(click.ParamType[int]):
    """0 to 9, or low, normal, high."""

    name = "0-9"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; fails as a usage error."""
        given = str(value)
        if given in PRIORITIES:
            return PRIORITIES[given]
        if given.isdigit() and len(given) == 1:
            return int(given)
        self.fail(f"{given!r} is not a priority; 0 to 9 (9 goes first), or {', '.join(PRIORITIES)}", param, ctx)


JSON = JsonText()
PRIORITY = Priority()


def tags(pairs: tuple[str, ...]) -> dict[str, str] | None:
    """Tags from ``key=value`` words; raises `click.UsageError` for a word without ``=``."""
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{pair!r} is not a tag; write key=value")
        found[key] = value
    return found or None


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: a field that is left out keeps the API's default."""
    return {name: value for name, value in options.items() if value is not None}
