"""Every field of every call, with every value it must not have: made from the contract's own types.

A case is a request as plain values, so that it can be sent as bytes over HTTP and as an object to a store in this
process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect

from roost.wire.codec import Wire
from roost.wire.contract import Operation

DEEP = 100_000
NUL, SURROGATE = "a\0b", "a\ud800b"

DURATIONS = frozenset(
    {
        "base",
        "cap",
        "grace",
        "jitter",
        "every",
        "expires",
        "timeout",
        "retention",
        "retention_failed",
        "result_ttl",
        "deadline",
    }
)
"""Fields of domain rules that are durations without saying so in their type."""


class Fragment(bytes):
    """JSON as it is sent, whatever is wrong with it."""


@dataclass(frozen=True)
class Case:
    """One call with one thing wrong in it."""

    operation: Operation[Wire, Wire]
    field: str
    """The path of the field."""
    fault: str
    value: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.operation.name} {self.field or '-'}: {self.fault}"


BAD_JSON: dict[str, Fragment] = {
    "NaN": Fragment(b"NaN"),
    "Infinity": Fragment(b"-Infinity"),
    "overflow": Fragment(b"1e999"),
    "wide integer": Fragment(b"9223372036854775808"),
    "5,000 digits": Fragment(b"9" * 5000),
    "doubled key": Fragment(b'{"a":1,"\\u0061":2}'),
    "deep arrays": Fragment(b"[" * DEEP + b"]" * DEEP),
    "deep objects": Fragment(b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    "escaped NUL": Fragment(b'{"a":["\\u0000"]}'),
    "NUL in a key": Fragment(b'{"\\u0000":1}'),
    "raw NUL": Fragment(b'"\0"'),
    "lone surrogate": Fragment(b'["\\ud800"]'),
    "raw surrogate": Fragment(b'"\xed\xa0\x80"'),
    "broken UTF-8": Fragment(b'"\xff"'),
    "unfinished": Fragment(b'{"a":'),
    "no JSON": Fragment(b"what"),
    "nothing": Fragment(b""),
}
BAD_TIMES = (
    "",
    "yesterday",
    "2030-01-01",
    "2030-02-30T00:00:00Z",
    "2030-01-01T00:00:00",
    "0001-01-01T00:00:00Z",
    "10000-01-01T00:00:00Z",
    "2030-01-01T25:00:00Z",
)
HUGE = Fragment(b'"' + b"x" * 2_097_152 + b'"')


def dump(value: object) -> bytes:
    """JSON with fragments left as they are; characters that UTF-8 cannot write are escaped."""
    if isinstance(value, Fragment):
        return value
    if isinstance(value, dict):
        return b"{%s}" % b",".join([json.dumps(key).encode() + b":" + dump(each) for key, each in value.items()])
    if isinstance(value, list):
        return b"[%s]" % b",".join(map(dump, value))
    return json.dumps(value).encode()


def build(kind: inspect.Type, value: Any) -> Any:
    """``value`` as a program would build it, unchecked; raises `TypeError` where the type has no such field."""
    kind, _ = _plain(kind)
    if isinstance(kind, inspect.RawType):
        return msgspec.Raw(dump(value))
    if isinstance(value, Fragment):
        raise TypeError("no value has such JSON")
    if isinstance(kind, inspect.UnionType):
        found = next((each for each in kind.types if not isinstance(each, inspect.NoneType)), None)
        return value if value is None or found is None else build(found, value)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        types = {field.name: field.type for field in kind.fields}
        if not types.keys() >= value.keys():
            raise TypeError("no such field")
        return kind.cls(**{name: build(types[name], each) for name, each in value.items()})
    if isinstance(kind, inspect.ListType) and isinstance(value, list):
        return [build(kind.item_type, each) for each in value]
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return {name: build(kind.value_type, each) for name, each in value.items()}
    return value


def cases(
    operation: Operation[Wire, Wire], base: dict[str, Any], instead: dict[str, tuple[str, ...]] | None = None
) -> Iterator[Case]:
    """All cases of one call; ``base`` is the call with nothing wrong, ``instead`` names what a field replaces in it."""
    info = inspect.type_info(operation.request)
    assert isinstance(info, inspect.StructType)
    in_query = operation.method in ("GET", "DELETE")

    def case(steps: list[str | int], fault: str, wrong: object) -> Case:
        value = deepcopy(base)
        place: Any = value
        for step in steps[:-1]:
            place = place[step]
        for other in (instead or {}).get(str(steps[-1]), ()):
            place.pop(other, None)
        place[steps[-1]] = wrong
        return Case(operation, _path(steps), fault, value)

    def walk(kind: inspect.Type, steps: list[str | int], value: Any) -> Iterator[Case]:
        kind, meta = _plain(kind)
        optional = False
        if isinstance(kind, inspect.UnionType):
            optional = any(isinstance(each, inspect.NoneType) for each in kind.types)
            kind, meta = _plain(next(each for each in kind.types if not isinstance(each, inspect.NoneType)))
        if steps:
            in_path = steps[0] in operation.path_fields
            named = next(str(step) for step in reversed(steps) if isinstance(step, str))
            for fault, wrong in faults(kind, meta, named, optional, in_query or in_path):
                # nothing between two brackets is an empty list, and nothing between two slashes is another path
                if not (wrong == b"" and isinstance(steps[-1], int)) and not (wrong == "" and in_path):
                    yield case(steps, fault, wrong)
        if isinstance(kind, inspect.StructType) and isinstance(value, dict):
            if not in_query or not steps:
                yield case([*steps, "nonsense"], "unknown field", 1)
            for field in kind.fields:
                yield from walk(field.type, [*steps, field.name], value.get(field.name))
        elif isinstance(kind, inspect.ListType) and isinstance(value, list) and value:
            yield from walk(kind.item_type, [*steps, len(value) - 1], value[-1])
        elif isinstance(kind, inspect.DictType) and isinstance(value, dict) and not in_query:
            key = next(iter(value))
            yield from walk(kind.value_type, [*steps, key], value[key])
            for fault, wrong in (("NUL in a key", NUL), ("surrogate in a key", SURROGATE), ("key no name", "a b")):
                yield case(steps, fault, {wrong: "x"})

    yield from walk(info, [], base)


def faults(
    kind: inspect.Type, meta: dict[str, Any], field: str, optional: bool, as_text: bool
) -> Iterator[tuple[str, object]]:
    """What a field of this type must refuse; ``as_text`` where it travels in a URL and so is text in any case."""
    if isinstance(kind, inspect.RawType):
        yield from BAD_JSON.items()
        yield "2 MiB", HUGE
        return
    if not as_text:
        if not optional:
            yield "null", None
        yield "wrong type", 5 if not isinstance(kind, (inspect.IntType, inspect.FloatType)) else "5"
        yield "a list", [5] if not isinstance(kind, inspect.ListType) else {"a": 5}
        yield from ((fault, BAD_JSON[fault]) for fault in ("NaN", "overflow", "broken UTF-8", "nothing"))
    if isinstance(kind, inspect.StrType):
        yield "NUL", NUL
        yield "surrogate", SURROGATE
        if kind.max_length is not None and not as_text:
            yield "too long", "x" * (kind.max_length + 1)
        if kind.min_length and not as_text:
            yield "empty", ""
        if "pattern" in meta and (not as_text or field in ("queue", "kind", "schedule")):
            yield from ((repr(bad), bad) for bad in ("", " a", "a b", "a\n", "ä", "a\u202eb", "-a", "../a;", "x" * 129))
        if meta.get("examples") == ["30s"] or field in DURATIONS:
            bad_durations = ("", "soon", "5", "-5s", "5s ", "1.5h", "5S", "1h1h", "999999999w", "٣s", "9" * 5000 + "s")
            yield from ((repr(bad[:20]), bad) for bad in bad_durations)
        if field == "cron":
            bad_crons = (
                "",
                "61 * * * *",
                "*/0 * * * *",
                "0-99999999 * * * *",
                "0 0 30 2 *",
                "* * * *",
                "@often",
                "a" * 300,
            )
            yield from ((repr(bad[:20]), bad) for bad in bad_crons)
        if field == "zone":
            yield from ((repr(bad), bad) for bad in ("", "Mars/Olympus", "../../etc/passwd", "UTC\n", "/etc/localtime"))
        if field in ("at", "starts_at", "ends_at"):
            yield from ((repr(bad), bad) for bad in ("", "now", "2026-02-30T00:00:00Z", "9" * 40))
        if field == "cursor":
            yield from ((repr(bad), bad) for bad in ("", "what", "!!", "e30", "bnVsbA", "WzFd", "x" * 2000))
    elif isinstance(kind, inspect.IntType):
        yield "a fraction", "1.5" if as_text else 1.5
        yield "huge", 2**70
        yield "hugely negative", -(2**70)
        if kind.ge is not None:
            yield "below", kind.ge - 1
        if kind.le is not None:
            yield "above", kind.le + 1
        if as_text:
            yield from ((repr(bad), bad) for bad in ("", "one", "0x1", "1_0", " 1", "٣", "9" * 5000, NUL))
        else:
            yield "a boolean", True
    elif isinstance(kind, inspect.DateTimeType):
        yield from ((repr(bad), bad) for bad in BAD_TIMES)
    elif isinstance(kind, inspect.BoolType):
        yield "no boolean", "maybe"
    elif isinstance(kind, (inspect.LiteralType, inspect.EnumType)):
        yield "an unknown word", "nonsense"
        yield "NUL", NUL
    elif isinstance(kind, inspect.ListType) and not as_text:
        if kind.min_length:
            yield "empty", []
        if kind.max_length is not None:
            yield "too many", [0] * (kind.max_length + 1)
    elif isinstance(kind, inspect.DictType):
        yield "33 entries", {f"k{number}": "x" for number in range(33)}
        yield "a long value", {"k": "x" * 257}


def _plain(kind: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    meta: dict[str, Any] = {}
    while isinstance(kind, inspect.Metadata):
        meta.update(kind.extra_json_schema or {})
        kind = kind.type
    return kind, meta


def _path(steps: list[str | int]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")
