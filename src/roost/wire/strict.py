"""The JSON Roost stores: strict enough that every engine, and every language, reads the same value.

UTF-8 without a byte order mark, at most `MAX_DEPTH` levels and `MAX_KEYS` keys, no key twice in one object, integers of
64 bits, finite floats, no NUL and no lone surrogate (PostgreSQL can keep neither). The text is stored as it came.

Values come at 100,000 a second, so one decode in C accepts the common ones; what it cannot vouch for is read again,
exactly.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from types import GenericAlias
from typing import Annotated, Any, NoReturn

import msgspec

from roost.errors import InvalidJson, RoostError
from roost.wire.places import place

MAX_DEPTH = 64
MAX_KEYS = 10_000
_BODY_DEPTH = MAX_DEPTH + 8
_BODY_KEYS = MAX_KEYS + 200
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_HELP = "send one JSON value in UTF-8"


def _bounded(levels: int) -> Any:
    """The type of values with 64-bit integers and at most ``levels`` levels; deeper ones take the exact way."""
    scalar: Any = None | bool | Annotated[int, msgspec.Meta(ge=_INT_MIN, le=_INT_MAX)] | float | str
    kind = scalar
    for _ in range(levels):
        kind = scalar | GenericAlias(list, (kind,)) | GenericAlias(dict, (str, kind))
    return kind


_decode = msgspec.json.Decoder(_bounded(6)).decode
_encode = msgspec.json.Encoder().encode
# escapes that may hide a NUL, a surrogate, or a colon from the count of keys
_suspicious_escape = re.compile(r"\\u(?:0000|003[aA]|[dD][89a-fA-F])").search
_half = re.compile(r"[\ud800-\udfff]").search
_nul_escape = re.compile(r"(?<!\\)(?:\\\\)*\\u0000").search
# possessive, and an unterminated string is one token too: linear on any text
_token = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"(\s*+:)?|)|[\[\]{}]', re.DOTALL).finditer


def check(data: bytes | memoryview | msgspec.Raw, path: str) -> str:
    """The text of the one JSON value in ``data``; raises `InvalidJson`, with ``path``, where it is not strict."""
    try:
        text = str(data, "utf-8")
        value = _decode(data)
    except (ValueError, RecursionError):
        # msgspec's errors are ValueErrors, and so is broken UTF-8
        return _check_exactly(data, path, MAX_DEPTH, MAX_KEYS)
    if _is_plain(text, value, MAX_DEPTH, MAX_KEYS):
        return text
    return _check_exactly(data, path, MAX_DEPTH, MAX_KEYS)


def check_body(data: bytes) -> None:
    """Refuse a whole request body that is not strict, before it is decoded; raises `InvalidJson`.

    The depth and keys of the body's own fields come on top of what a stored value may have.
    """
    try:
        text = str(data, "utf-8")
        value = _decode(data)
    except (ValueError, RecursionError):
        _check_exactly(data, "", _BODY_DEPTH, _BODY_KEYS)
        return
    if not _is_plain(text, value, _BODY_DEPTH, _BODY_KEYS):
        _check_exactly(data, "", _BODY_DEPTH, _BODY_KEYS)


def check_bulk(data: bytes) -> None:
    """Refuse what the decoder of a bulk body would let through into fields: NUL; raises `InvalidJson`.

    Depth needs no pass of its own here: msgspec refuses deep nesting itself, and `check` follows for each stored value.
    """
    if b"\\" in data and b"\\u0000" in data:
        text = _text(data, "")
        if _nul_escape(text):
            _refuse_nul(text, "")


def _is_plain(text: str, value: object, depth: int, keys: int) -> bool:
    """Whether a value that was decoded is strict beyond doubt; False means: look exactly."""
    if "\\" in text and _suspicious_escape(text):
        return False
    colons = text.count(":")
    # each level takes two brackets
    if len(text) >= 2 * depth and (colons > keys or text.count("[") + text.count("{") > depth):
        return False
    # decoding drops a doubled key and with it at least its colon; other colons come back as they were
    return colons == 0 or (type(value) is dict and len(value) == colons) or _encode(value).count(b":") == colons


def _check_exactly(data: bytes | memoryview | msgspec.Raw, path: str, depth: int, keys: int) -> str:
    """As `check`, reading each token; linear in the length of ``data``, whatever it holds."""
    text = _text(data, path)
    if text.startswith("\ufeff"):
        raise InvalidJson("JSON begins with a byte order mark", path=path, help="send UTF-8 without one")
    if "\0" in text or ("\\u0000" in text and _nul_escape(text)):
        _refuse_nul(text, path)
    _measure(text, path, depth, keys)
    try:
        value = json.loads(
            text, object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer, parse_float=_float
        )
        _encode(value)  # a lone surrogate has no UTF-8
    except RoostError as error:
        error.path = path
        raise
    except UnicodeEncodeError:
        raise InvalidJson(
            "a string holds half of a surrogate pair",
            path=_place(text, path, _half),
            help="escape characters as whole pairs, or send UTF-8",
        ) from None
    except (ValueError, RecursionError) as error:
        raise InvalidJson(f"JSON is malformed: {error}", path=path, help=_HELP) from None
    return text


def _text(data: bytes | memoryview | msgspec.Raw, path: str) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise InvalidJson(f"not UTF-8: {error.reason} at byte {error.start}", path=path, help=_HELP) from None


def _measure(text: str, path: str, depth: int, keys: int) -> None:
    level = seen = 0
    for token in _token(text):
        first = text[token.start()]
        if first in "[{":
            level += 1
            if level > depth:
                raise InvalidJson("JSON is nested too deeply", path=path, help=f"{MAX_DEPTH} levels at most")
        elif first in "]}":
            level -= 1
        elif token[1]:
            seen += 1
            if seen > keys:
                raise InvalidJson("JSON has too many keys", path=path, help=f"{MAX_KEYS:,} keys at most")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        double, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise InvalidJson(f"the key {double[:80]!r} appears twice in one object", help="give each key once")
    return found


def _integer(digits: str) -> int:
    # 20 characters hold every 64-bit integer; Python refuses thousands of digits in words of its own
    if len(digits) <= 20:
        value = int(digits)
        if _INT_MIN <= value <= _INT_MAX:
            return value
    raise InvalidJson(
        f"the integer {digits[:24]}{'…' if len(digits) > 24 else ''} is not of 64 bits", help="send it as a string"
    )


def _float(digits: str) -> float:
    value = float(digits)
    if value - value != 0:  # infinite
        raise InvalidJson(f"the number {digits[:24]} is out of range", help="send it as a string")
    return value


def _no_constant(name: str) -> NoReturn:
    raise InvalidJson(f"{name} is not JSON", help="send null, or a string")


def _refuse_nul(text: str, path: str) -> NoReturn:
    where = _place(text, path, lambda words: "\0" in words)
    raise InvalidJson("a string holds a NUL character", path=where, help="remove it, or encode bytes as base64")


def _place(text: str, path: str, wrong: Callable[[str], object]) -> str:
    """Where in the value the first string stands that is ``wrong``, behind ``path``.

    Only for what is refused: it costs as much as reading the text once more. What cannot be read stays at ``path``.
    """
    try:
        return place(json.loads(text, strict=False), wrong, path) or path
    except (ValueError, RecursionError):
        return path
