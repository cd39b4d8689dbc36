"""Python values as JSON and back, by their annotations; never pickle.

Dataclasses, msgspec Structs, pydantic models, dates and times, `timedelta`, `UUID`, `Decimal`, enums, paths, bytes
(base64), sets and tuples go out as JSON and come back as what the annotation says. Without an annotation it is JSON.
"""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Generic, TypeVar

import msgspec

from roost.errors import ConfigurationError, InvalidRequest

T = TypeVar("T")

_HELP = "JSON types, dataclasses, msgspec Structs, pydantic models, dates and times, UUID, Decimal, enums, paths, bytes"
_WHERE = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_FIELD = re.compile(r"`(?P<name>[^`]*)`$")


def encode(value: object, path: str = "", *, canonical: bool = False) -> bytes:
    """``value`` as JSON; raises `InvalidRequest` with the path of what JSON cannot say (NaN, NUL, unknown types).

    ``canonical`` sorts keys and sets, so that equal values give equal bytes in every process: for what is compared.
    """
    try:
        data = _canonical.encode(value) if canonical else _encoder.encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise _unencodable(value, path, error) from None
    # msgspec writes NaN and infinity as null, and a NUL as an escape that databases refuse: rare, so looked for only
    # where the text says that it may be there.
    if b"null" in data or b"\\u0000" in data:
        for place, found in _leaves(value, path):
            _refuse_leaf(place, found)
    return data


class Adapter(Generic[T]):
    """The two directions of one annotation."""

    __slots__ = ("_decoder", "hint")

    def __init__(self, hint: Any) -> None:
        """Raises `ConfigurationError` where JSON cannot be read as ``hint``."""
        self.hint = hint
        try:
            self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(hint, dec_hook=_from_json)
        except TypeError as error:
            raise ConfigurationError(f"{hint!r} cannot be read from JSON: {error}", help=_HELP) from None

    def encode(self, value: T, path: str = "") -> bytes:
        """See `encode`."""
        return encode(value, path)

    def decode(self, data: bytes | str | msgspec.Raw, path: str = "") -> T:
        """The value in ``data``; raises `InvalidRequest` with the path of what does not fit the annotation."""
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise _misfit(error, path) from None
        except msgspec.DecodeError as error:
            raise InvalidRequest(f"not JSON: {error}", path=path) from None


def adapter(hint: Any) -> Adapter[Any]:
    """The adapter of an annotation; `Any` is plain JSON."""
    try:
        return _cached(hint)
    except TypeError:  # an annotation that cannot be hashed
        return Adapter(hint)


@lru_cache(maxsize=1024)
def _cached(hint: Any) -> Adapter[Any]:
    return Adapter(hint)


def _to_json(value: object) -> object:
    if isinstance(value, PurePath):
        return str(value)
    if _is_pydantic(type(value)):
        dump: Callable[..., object] = value.model_dump  # type: ignore[attr-defined]  # known by `_is_pydantic`
        return dump(mode="json")
    raise TypeError(f"{type(value).__qualname__} has no JSON form")


def _from_json(hint: Any, value: Any) -> Any:
    if isinstance(hint, type):
        if issubclass(hint, PurePath):
            if not isinstance(value, str):
                raise ValueError(f"Expected `str`, got `{type(value).__name__}`")
            return hint(value)
        if _is_pydantic(hint):
            return hint.model_validate_json(_encoder.encode(value))  # type: ignore[attr-defined]
    raise ValueError(f"{getattr(hint, '__qualname__', hint)} cannot be read from JSON")


_encoder = msgspec.json.Encoder(enc_hook=_to_json)
_canonical = msgspec.json.Encoder(enc_hook=_to_json, order="deterministic")


def _is_pydantic(kind: type) -> bool:
    # Whoever has a model has imported pydantic; nobody else shall pay for it.
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and issubclass(kind, pydantic.BaseModel)


def _unencodable(value: object, path: str, error: Exception) -> InvalidRequest:
    if isinstance(error, RecursionError):
        return InvalidRequest("the value is nested too deeply, or contains itself", path=path, help="64 levels at most")
    for place, found in _leaves(value, path):
        try:
            _refuse_leaf(place, found)
            _encoder.encode(found)
        except InvalidRequest as refusal:
            return refusal
        except UnicodeEncodeError:
            return InvalidRequest("the text has a lone surrogate", path=place, help="pass text that UTF-8 can write")
        except (TypeError, ValueError) as cause:
            return InvalidRequest(str(cause), path=place, help=_HELP)
    return InvalidRequest(str(error), path=path, help=_HELP)


def _refuse_leaf(path: str, value: object) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequest(f"{value} is not JSON", path=path, help="use None for a missing number")
    if isinstance(value, str) and "\0" in value:
        raise InvalidRequest("the text has a NUL character", path=path, help="remove it")


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Every scalar in ``value`` with its path, keys included."""
    if isinstance(value, msgspec.Raw | str | bytes | bytearray | memoryview):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            place = f"{path}.{key}" if path else str(key)
            yield place, key
            yield from _leaves(item, place)
    elif isinstance(value, list | tuple | set | frozenset):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    elif isinstance(value, msgspec.Struct):
        yield from _fields(value, value.__struct_fields__, path)
    elif dataclasses.is_dataclass(value):
        yield from _fields(value, tuple(field.name for field in dataclasses.fields(value)), path)
    elif _is_pydantic(type(value)):
        yield from _leaves(_to_json(value), path)
    else:
        yield path, value


def _fields(value: object, names: tuple[str, ...], path: str) -> Iterator[tuple[str, object]]:
    for name in names:
        yield from _leaves(getattr(value, name), f"{path}.{name}" if path else name)


def _misfit(error: msgspec.ValidationError, path: str) -> InvalidRequest:
    text = str(error)
    found = _WHERE.search(text)
    place = f"{path}{found['path']}" if found else path
    message = text[: found.start()] if found else text
    if message.startswith(("Object contains unknown field", "Object missing required field")):
        field = _FIELD.search(message)
        place = f"{place}.{field['name']}" if field else place
    return InvalidRequest(message, path=place.removeprefix("."), help="pass what the function's annotations say")
