"""Answers of a server newer than its reader: fields of a later version are left out, not refused.

Requests stay strict: who asks for something this server does not know shall hear so. A reply has nobody to be told, and
a client that was there first must go on working.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from roost.errors import InvalidRequest
from roost.wire.codec import UNKNOWN_FIELD, decode, encode

T = TypeVar("T")

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items = msgspec.json.Decoder(list[msgspec.Raw])


def decode_reply(data: bytes | str, kind: type[T]) -> T:
    """A ``kind`` from JSON, unknown fields at any depth left out; raises as `decode` for all else.

    What is known stays as it was sent, byte for byte: values that Roost only carries are not looked into.
    """
    try:
        return decode(data, kind)
    except InvalidRequest as error:
        # Nearly every server is of this version: only another one's answers are read twice.
        if not error.message.startswith(UNKNOWN_FIELD):
            raise
    whole = data.encode() if isinstance(data, str) else data
    return decode(bytes(_known(msgspec.Raw(whole.strip()), _type_of(cast("Hashable", kind)))), kind)


@lru_cache(maxsize=256)
def _type_of(kind: Hashable) -> inspect.Type:
    return inspect.type_info(kind)


def _known(value: msgspec.Raw, kind: inspect.Type) -> msgspec.Raw:
    """``value`` without the members its type does not have; what has not its type's form is left to the decoder."""
    first = bytes(value)[:1]
    if isinstance(kind, inspect.Metadata):
        return _known(value, kind.type)
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            value = _known(value, one)
    elif isinstance(kind, inspect.StructType) and first == b"{":
        types = {field.encode_name: field.type for field in kind.fields}
        members = _members.decode(value)
        value = _raw({name: _known(part, types[name]) for name, part in members.items() if name in types})
    elif isinstance(kind, inspect.DictType) and first == b"{":
        value = _raw({name: _known(part, kind.value_type) for name, part in _members.decode(value).items()})
    elif isinstance(kind, inspect.ListType | inspect.VarTupleType) and first == b"[":
        value = _raw([_known(part, kind.item_type) for part in _items.decode(value)])
    return value


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(encode(value))
