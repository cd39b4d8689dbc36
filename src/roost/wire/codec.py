"""How wire types become bytes: strict decoding with one clear error, and compact encoding."""

from __future__ import annotations

import re
from collections.abc import Hashable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

from roost.errors import InvalidJson, InvalidRequest

T = TypeVar("T")

UNKNOWN_FIELD = "Object contains unknown field"
"""How the message begins for a field that the type does not have."""
_WHERE = re.compile(r" - at `(?P<path>[^`]*)`$")
_encoder = msgspec.json.Encoder()


class Wire(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of every wire type: named fields only, unknown ones refused, defaults left out."""


@lru_cache(maxsize=256)
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(cast(Any, kind))


def encode(value: object) -> bytes:
    """``value`` as compact JSON."""
    return _encoder.encode(value)


def decode(data: bytes | str, kind: type[T]) -> T:
    """A ``kind`` from JSON; raises `InvalidJson` for bad syntax, `InvalidRequest` (with the path) for bad content."""
    try:
        value: T = _decoder(cast(Hashable, kind)).decode(data)
        return value
    except msgspec.ValidationError as error:
        raise _invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidJson(str(error), help="send one JSON value in UTF-8") from None
    except RecursionError:
        raise InvalidJson("JSON is nested too deeply", help="64 levels at most") from None


def convert(value: object, kind: type[T]) -> T:
    """A ``kind`` from texts (path and query parameters); raises `InvalidRequest`."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from None


def _invalid(error: msgspec.ValidationError) -> InvalidRequest:
    text = str(error)
    found = _WHERE.search(text)
    path = found["path"].removeprefix("$").removeprefix(".") if found else ""
    message = _WHERE.sub("", text)
    if message.startswith(UNKNOWN_FIELD):
        return InvalidRequest(message, path=path, help="remove the field, or look at /docs for its right name")
    return InvalidRequest(message, path=path, help="see /docs for the fields and their types")


def timestamp(ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, from milliseconds since the epoch."""
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def milliseconds(moment: datetime, path: str) -> int:
    """Milliseconds since the epoch; raises `InvalidRequest` for a time without an offset or before 1970."""
    if moment.tzinfo is None:
        raise InvalidRequest(
            "the time has no offset", path=path, help="write it as 2026-11-21T09:00:00Z or with +01:00"
        )
    value = int(moment.timestamp() * 1000)
    if value < 0:
        raise InvalidRequest("the time is before 1970", path=path, help="give a time that is still to come")
    return value
