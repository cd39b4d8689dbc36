"""A client and a server newer than it: what the server says beyond what the client knows does no harm."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import inspect

from roost.errors import InvalidJson, InvalidRequest
from roost.wire.codec import Wire, decode, encode
from roost.wire.contract import OPERATIONS
from roost.wire.events import FeedEvent, FeedReset
from roost.wire.jobs import EnqueuedJobs, Job, LogLine, NewJob
from roost.wire.lenient import decode_reply
from roost.wire.problems import ErrorBody

LATER = {"later": [{"than": None}], "also": "\u2028"}
VERBATIM = b'{"a" : 1.10e0,\n"later":[1.0]}'


def example(kind: inspect.Type, later: dict[str, Any]) -> Any:
    """A value of the type with every field there, and ``later`` beside the fields of each object."""
    match kind:
        case inspect.StructType(fields=fields):
            return {field.encode_name: example(field.type, later) for field in fields} | later
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [example(item, later), example(item, later)]
        case inspect.DictType(value_type=value):
            return {"later": example(value, later)}
        case inspect.UnionType(types=types):
            return example(max(types, key=lambda one: isinstance(one, inspect.StructType | inspect.ListType)), later)
        case inspect.Metadata(type=inner):
            return example(inner, later)
        case inspect.EnumType(cls=cls):
            return next(iter(cls)).value
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.RawType():
            return {"later": [1.0]}
        case inspect.DateTimeType():
            return "2026-11-21T09:00:00Z"
        case inspect.BoolType():
            return True
        case inspect.IntType(ge=least) | inspect.FloatType(ge=least):
            return least or 0
        case inspect.StrType(min_length=least):
            return "x" * (least or 1)
        case inspect.NoneType():
            return None
    raise TypeError(kind)


ANSWERS = dict.fromkeys([*(operation.reply for operation in OPERATIONS), FeedEvent, FeedReset, LogLine, ErrorBody])


@pytest.mark.parametrize("reply", ANSWERS, ids=lambda one: one.__name__)
def test_fields_of_a_later_version_are_left_out_of_every_answer(reply: type[Wire]) -> None:
    kind = inspect.type_info(reply)
    known, newer = (json.dumps(example(kind, later)).encode() for later in ({}, LATER))
    read = decode_reply(newer, reply)
    assert type(read) is reply
    assert encode(read) == encode(decode(known, reply))


def test_values_roost_only_carries_stay_as_they_were_sent() -> None:
    body = (
        b' {"id":1,"kind":"k","queue":"q","state":"ready","priority":5,"attempt":0,"failures":0,"created_at":"",'
        b'"later":[' + VERBATIM + b'],"input":' + VERBATIM + b',"retry":{"retries":3,"later":1}} '
    )
    job = decode_reply(body, Job)
    assert bytes(job.input) == VERBATIM
    assert job.retry is not None
    assert job.retry.retries == 3


@pytest.mark.parametrize(
    ("body", "error"),
    [(b'{"jobs":[{"id":"x","later":1}]}', InvalidRequest), (b"<html>", InvalidJson), (b"[]", InvalidRequest)],
)
def test_what_is_no_answer_is_refused_all_the_same(body: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        decode_reply(body, EnqueuedJobs)


def test_a_request_is_read_as_strictly_as_ever() -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode(b'{"kind":"k","later":1}', NewJob)
    assert "later" in refused.value.message
