"""Keys made of the input's fields, on the way every request takes."""

from __future__ import annotations

import msgspec
import pytest

from roost.engine.store import Store
from roost.errors import InvalidRequest, UniqueConflict
from roost.service.runtime import Runtime
from roost.wire.contract import ENQUEUE
from roost.wire.jobs import NewJob, Unique
from tests.service.conftest import MakeRuntime

pytestmark = pytest.mark.feature("unique")


@pytest.fixture
async def runtime(store: Store, make_runtime: MakeRuntime) -> Runtime:
    return await make_runtime(store, loops=False)


def _job(text: str, **rule: object) -> NewJob:
    return NewJob(kind="mail", input=msgspec.Raw(text.encode()), unique=Unique(**rule))  # type: ignore[arg-type]


async def test_fields_make_the_key_whatever_order_they_stand_in(runtime: Runtime) -> None:
    first = await runtime.handle(ENQUEUE, _job('{"user":{"id":7,"a":{"x":1,"y":2}}}', fields=["user.id", "user.a"]))
    again = await runtime.handle(ENQUEUE, _job('{"user":{"a":{"y":2,"x":1},"id":7}}', fields=["user.id", "user.a"]))
    assert (again.id, again.duplicate) == (first.id, True)
    with pytest.raises(UniqueConflict, match=f"job {first.id} with another input"):
        await runtime.handle(ENQUEUE, _job('{"user":{"a":{"y":2,"x":1},"id":7},"b":1}', fields=["user.id", "user.a"]))
    other = await runtime.handle(ENQUEUE, _job('{"user":{"id":8,"a":{"x":1,"y":2}}}', fields=["user.id", "user.a"]))
    assert other.id != first.id
    assert not other.duplicate


async def test_long_values_make_a_key_as_well(runtime: Runtime) -> None:
    text = '{"name":"' + "x" * 5000 + '"}'
    first = await runtime.handle(ENQUEUE, _job(text, fields=["name"]))
    again = await runtime.handle(ENQUEUE, _job(text, fields=["name"]))
    assert (again.id, again.duplicate) == (first.id, True)


@pytest.mark.parametrize(
    ("text", "rule", "path"),
    [
        ('{"user":{}}', {"fields": ["queue", "user.id"]}, "unique.fields[0]"),
        ('{"user":{}}', {"fields": ["user.id"]}, "unique.fields[0]"),
        ("[1]", {"fields": ["user"]}, "unique.fields[0]"),
        ("{}", {}, "unique.key"),
        ("{}", {"key": "k", "fields": ["a"]}, "unique.key"),
    ],
)
async def test_a_key_that_cannot_be_made_is_refused(
    runtime: Runtime, text: str, rule: dict[str, object], path: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await runtime.handle(ENQUEUE, _job(text, **rule))
    assert refused.value.path == path
