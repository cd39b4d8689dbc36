"""Names of queues, kinds, schedules and workers: one alphabet everywhere."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

import msgspec

from roost.errors import InvalidRequest

_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"
_name = re.compile(_PATTERN)

Name = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": _PATTERN, "minLength": 1, "maxLength": 128})]
"""Documented by its pattern, tried by `check_name`: a cached look-up is cheaper than a pattern per job."""


@lru_cache(maxsize=4096)
def is_name(text: str) -> bool:
    """Whether ``text`` may name something; a trailing newline is no part of a name."""
    return _name.fullmatch(text) is not None


def check_name(text: str, path: str) -> str:
    """``text`` itself; raises `InvalidRequest` where it is not a name."""
    if not is_name(text):
        raise InvalidRequest(
            f"{text[:40]!r} is not a name",
            path=path,
            help="1 to 128 characters of A-Z a-z 0-9 . _ : / -, the first a letter or a digit",
        )
    return text
