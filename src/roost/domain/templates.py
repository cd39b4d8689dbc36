"""Keys made of a job: texts such as ``tenant:{tags.tenant}`` with the job's own values in the braces."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Any

import msgspec

from roost.errors import InvalidRequest

_PLACE = re.compile(r"{([^{}]*)}")
_NAME = re.compile(r"kind|queue|owner|tags\.[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}|input(\.[A-Za-z0-9_-]+)+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HELP = 'such as "tenant:{tags.tenant}"; there are {kind}, {queue}, {owner}, {tags.NAME} and {input.PATH}'
LONGEST_TEMPLATE = 200
LONGEST_KEY = 200
NOBODY = "(none)"
"""The key of jobs that have none of the values."""
_KEPT = 120


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a key can be made of."""

    kind: str
    queue: str
    input: str
    """JSON text."""
    owner: str | None = None
    tags: dict[str, str] | None = None


class Template:
    """A key with places for a job's values; a value that is not there is the empty text.

    Raises `InvalidRequest` with ``path`` for a template that no job could fill.
    """

    def __init__(self, text: str, path: str) -> None:
        if not text or len(text) > LONGEST_TEMPLATE:
            raise InvalidRequest(f"a key has 1 to {LONGEST_TEMPLATE} characters", path=path, help=_HELP)
        if _CONTROL.search(text) or not _storable(text):
            raise InvalidRequest("the key is not plain text", path=path, help=_HELP)
        # Odd parts are what stood in braces.
        self._parts = _PLACE.split(text)
        for place, part in enumerate(self._parts):
            if place % 2 and _NAME.fullmatch(part) is None:
                raise InvalidRequest(f"{{{part[:40]}}} is nothing a job has", path=path, help=_HELP)
            if place % 2 == 0 and ("{" in part or "}" in part):
                raise InvalidRequest("the key has a brace without its other one", path=path, help=_HELP)
        self._reads_input = any(part.startswith("input.") for part in self._parts[1::2])

    def key(self, job: Subject) -> str:
        """The key of ``job``; one that would be too long keeps its beginning and gets its SHA-256."""
        value = msgspec.json.decode(job.input) if self._reads_input else None
        return fitting(
            "".join(_value(part, job, value) if place % 2 else part for place, part in enumerate(self._parts))
        )


@lru_cache(maxsize=512)
def template(text: str) -> Template:
    """The template of a rule that was checked when it was stored."""
    return Template(text, "key")


def check_key(text: str, path: str) -> str:
    """``text`` itself; raises `InvalidRequest` where it is no key: it is stored and compared as it is."""
    if not text or fitting(text) != text or not _storable(text):
        raise InvalidRequest(
            "the key is empty, too long, or not plain text", path=path, help=f"1 to {LONGEST_KEY} printable characters"
        )
    return text


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def fitting(key: str) -> str:
    """``key`` without control characters, no longer than a key may be."""
    key = _CONTROL.sub("?", key)
    if len(key) > LONGEST_KEY:
        key = f"{key[:_KEPT]}#{hashlib.sha256(key.encode(errors='replace')).hexdigest()}"
    return key or NOBODY


def _value(name: str, job: Subject, value: Any) -> str:
    if name == "kind":
        return job.kind
    if name == "queue":
        return job.queue
    if name == "owner":
        return job.owner or ""
    if name.startswith("tags."):
        return (job.tags or {}).get(name.removeprefix("tags."), "")
    for step in name.split(".")[1:]:
        value = value.get(step) if isinstance(value, dict) else None
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
