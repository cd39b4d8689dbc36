"""Functions as kinds: names, inputs and results by their annotations."""

from __future__ import annotations

import dataclasses
import enum
import math
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import roost
from roost.errors import ConfigurationError, InvalidDuration, InvalidRequest
from roost.sdk.adapters import adapter, encode
from roost.sdk.outcome import Retry, Snooze
from roost.sdk.registry import Handler, Registry
from roost.sdk.signature import Signature


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    SMALL = 1


@dataclasses.dataclass
class Person:
    name: str
    born: date
    friends: list[Person] = dataclasses.field(default_factory=list)


class Point(msgspec.Struct):
    x: float
    y: float = 0.0


VALUES: list[tuple[Any, object]] = [
    (int, 2**60),
    (str, "naïve ☃"),
    (bytes, b"\x00\xff"),
    (date, date(2024, 2, 29)),
    (time, time(8, 30)),
    (datetime, datetime(2026, 3, 8, 2, 30, tzinfo=UTC)),
    (timedelta, timedelta(days=1, milliseconds=1)),
    (UUID, UUID(int=7)),
    (Decimal, Decimal("0.10")),
    (Colour, Colour.RED),
    (Size, Size.SMALL),
    (Path, Path("/tmp/a b")),
    (set[str], {"a"}),
    (frozenset[int], frozenset({1, 2})),
    (tuple[int, str], (1, "a")),
    (dict[str, list[Point]], {"a": [Point(1.5)]}),
    (Person, Person("Ana", date(1990, 1, 1), [Person("Ben", date(1991, 1, 1))])),
    (Point | None, None),
    (list[Path], [Path("a"), Path("b")]),
]


@pytest.mark.parametrize(("hint", "value"), VALUES, ids=lambda case: str(case)[:40])
def test_values_come_back_as_their_annotation_says(hint: Any, value: object) -> None:
    back = adapter(hint).decode(encode(value))
    assert back == value
    assert type(back) is type(value)


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SCALARS = st.none() | st.booleans() | st.integers() | TEXTS | st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner), max_leaves=20)


@given(VALUE)
def test_json_comes_back_as_it_was_and_canonical_json_does_not_depend_on_order(value: Any) -> None:
    assert adapter(Any).decode(encode(value)) == value
    if isinstance(value, dict):
        turned = dict(reversed(value.items()))
        assert encode(turned, canonical=True) == encode(value, canonical=True)


@pytest.mark.parametrize(
    ("value", "path", "message"),
    [
        ({"a": [1, math.nan]}, "input.a[1]", "nan is not JSON"),
        ({"a": math.inf}, "input.a", "inf is not JSON"),
        (Point(-math.inf), "input.x", "-inf is not JSON"),
        ({"a": "x\0"}, "input.a", "NUL"),
        ({"a\0": 1}, "input.a\0", "NUL"),
        ({"a": {"b": object()}}, "input.a.b", "object has no JSON form"),
        ({"a": "\ud800"}, "input.a", "surrogate"),
        (Person("x", object()), "input.born", "object has no JSON form"),  # type: ignore[arg-type]  # on purpose
    ],
)
def test_what_json_cannot_say_is_refused_with_its_path(value: object, path: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as refused:
        encode(value, "input")
    assert refused.value.path == path


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidRequest, match="contains itself"):
        encode(loop)


def test_text_that_only_looks_like_a_nul_or_null_passes() -> None:
    assert adapter(Any).decode(encode(["\\u0000", "null", None])) == ["\\u0000", "null", None]


def welcome(user_id: int, /, name: str = "you", *, tags: set[str] | None = None, at: datetime | None = None) -> str:
    return f"{user_id} {name} {tags} {at}"


def test_a_call_becomes_an_object_of_parameters_and_back() -> None:
    signature = Signature(welcome)
    data = signature.encode(signature.arguments((7,), {"tags": {"b", "a"}}))
    assert data == b'{"tags":["a","b"],"user_id":7}'
    assert signature.decode(data) == ([7], {"tags": {"a", "b"}})
    assert welcome(*signature.decode(data)[0], **signature.decode(data)[1]).startswith("7 you {")


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        (("7",), {}, "input.user_id"),
        ((), {}, "input.user_id"),
        ((7, "x", "y"), {}, "input"),
        ((7, "x"), {"name": "y"}, "input.name"),
        ((7,), {"nmae": "y"}, "input.nmae"),
        ((7,), {"tags": {1}}, "input.tags[0]"),
        ((7,), {"at": "tomorrow"}, "input.at"),
        ((True,), {}, "input.user_id"),
    ],
)
def test_a_call_the_function_would_not_take_is_refused_with_the_parameters_path(
    args: tuple[Any, ...], kwargs: dict[str, Any], path: str
) -> None:
    signature = Signature(welcome)
    with pytest.raises(InvalidRequest) as refused:
        signature.encode(signature.arguments(args, kwargs))
    assert refused.value.path.startswith(path)


def test_constraints_in_annotations_hold() -> None:
    def ship(count: Annotated[int, msgspec.Meta(ge=1)]) -> None: ...

    signature = Signature(_unfuture(ship, count=Annotated[int, msgspec.Meta(ge=1)]))
    with pytest.raises(InvalidRequest, match=">= 1"):
        signature.encode({"count": 0})


def test_the_context_is_given_by_annotation_and_is_no_input() -> None:
    async def brief(user: str, ctx: roost.Context) -> None: ...

    def sync_brief(ctx: roost.SyncContext, user: str) -> None: ...

    marker = object()
    for function in (brief, sync_brief):
        handler: Handler[None] = Handler(function)
        assert handler.signature.names == ("user",)
        assert handler.call(b'{"user":"ana"}', marker) == ([], {"user": "ana", "ctx": marker})
    assert Handler(brief).is_async
    assert not Handler(sync_brief).is_async


def test_an_input_of_null_is_a_call_without_arguments() -> None:
    def nothing() -> None: ...

    assert Handler(nothing).call(msgspec.Raw(b"null"), None) == ([], {})


@pytest.mark.parametrize(
    "bad", ["*args: int", "**kwargs: int", "x: Callable[[], int]", "x: Missing", "x: int | Person"]
)
def test_a_function_that_cannot_be_a_job_is_refused(bad: str) -> None:
    scope: dict[str, Any] = {"Person": Person}
    source = f"from __future__ import annotations\nfrom collections.abc import Callable\ndef f({bad}): ...\n"
    exec(source, scope)  # noqa: S102  # the sources are the literals above
    function = scope["f"]
    if bad in ("x: Callable[[], int]", "x: int | Person"):
        # JSON can be tried against these only when there is some: whatever comes, it is refused with its path.
        with pytest.raises((InvalidRequest, ConfigurationError)):
            Signature(function).encode({"x": "no"})
    else:
        with pytest.raises(ConfigurationError):
            Signature(function)


def test_kinds_are_named_after_module_and_function() -> None:
    assert Handler(welcome).kind.endswith("test_registry.welcome")
    assert Handler(welcome, kind="mail.welcome").kind == "mail.welcome"
    with pytest.raises(ConfigurationError):
        Handler(welcome, kind="no spaces")


def test_a_script_names_its_jobs_after_its_file(tmp_path: Path) -> None:
    script = tmp_path / "tour.py"
    script.write_text("import roost\napp = roost.App()\n@app.job\ndef hello(): ...\nprint(hello.kind)\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout == "tour.hello\n"


def test_one_kind_has_one_function() -> None:
    registry = Registry()
    registry.add(Handler(welcome, kind="a"))
    registry.add(Handler(welcome, kind="a"))
    with pytest.raises(ConfigurationError, match="'a' is"):
        registry.add(Handler(test_one_kind_has_one_function, kind="a"))
    assert registry.kinds == ["a"]


def test_results_are_decoded_by_the_return_annotation() -> None:
    def made() -> Person: ...  # type: ignore[empty-body]  # only its annotation matters

    handler: Handler[Person] = Handler(made)
    ana = Person("Ana", date(1990, 1, 1))
    assert handler.decode_result(handler.encode_result(ana)) == ana
    with pytest.raises(InvalidRequest) as refused:
        handler.decode_result(b'{"name":"x","born":"yesterday"}')
    assert refused.value.path == "result.born"


def test_outcomes_check_their_durations() -> None:
    assert Snooze(90).after == "1m30s"
    assert Retry(after=timedelta(seconds=1)).after == "1s"
    with pytest.raises(InvalidDuration):
        Snooze("soon")


def _unfuture(function: Any, **hints: Any) -> Any:
    function.__annotations__ = hints
    return function
