"""Where in a value something is wrong: the path a refusal tells."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

_LONGEST = 200


def place(value: object, wrong: Callable[[str], object], path: str = "") -> str | None:
    """The path of the first text that is ``wrong``, behind ``path``; None where all are well.

    A key that is wrong is told by its object's path. Raw JSON is not looked into. Raises `RecursionError` for what is
    nested beyond Python's own limit.
    """
    found = _inside(value, wrong)
    return None if found is None else (path + found).removeprefix(".")[:_LONGEST]


def _inside(value: object, wrong: Callable[[str], object]) -> str | None:
    # The path is put together on the way back: a large value costs nothing but the walk.
    if isinstance(value, str):
        return "" if wrong(value) else None
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            if (found := _inside(getattr(value, name), wrong)) is not None:
                return f".{name}{found}"
    elif isinstance(value, dict):
        if any(isinstance(key, str) and wrong(key) for key in value):
            return ""
        for key, part in value.items():
            if (found := _inside(part, wrong)) is not None:
                return f".{key}{found}"
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            if (found := _inside(part, wrong)) is not None:
                return f"[{index}]{found}"
    return None
