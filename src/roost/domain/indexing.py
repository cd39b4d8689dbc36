"""Values of inputs at declared paths, as the index holds them."""

from __future__ import annotations

from typing import Any

import msgspec

from roost.domain.query import TEXT_LIMIT

_decoder = msgspec.json.Decoder()


def number_text(number: float) -> str:
    """A number as the index holds it: equal numbers are equal texts."""
    if abs(number) < 2**53 and int(number) == number:
        return str(int(number))
    return str(number) if isinstance(number, int) else repr(number)


def wanted_texts(text: str, number: float | None) -> list[str]:
    """What the index may hold for a value of a query, which may be a number or a text there."""
    return [text] if number is None else list(dict.fromkeys([text, number_text(number)]))


def values_at(text: str, paths: list[str]) -> list[tuple[str, str]]:
    """(path, value) of each of ``paths`` that leads to a scalar of ``text``, but for those too long to ask for."""
    document = _decoder.decode(text)
    found = []
    for path in paths:
        value: Any = document
        for name in path.split("."):
            if not isinstance(value, dict) or name not in value:
                break
            value = value[name]
        else:
            shown = _shown(value)
            if shown is not None:
                found.append((path, shown))
    return found


def _shown(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return number_text(value)
    return value if isinstance(value, str) and len(value) <= TEXT_LIMIT else None
