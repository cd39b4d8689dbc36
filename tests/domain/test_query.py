"""The query language: the cases that every parser of it must read alike, and its limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.domain import query
from roost.domain.query import parse
from roost.domain.query_fields import FIELDS
from roost.errors import InvalidQuery

pytestmark = pytest.mark.feature("query")

SHARED = json.loads((Path(__file__).parent.parent / "query_cases.json").read_text())
NOW = SHARED["now"]


@pytest.mark.parametrize("case", SHARED["cases"], ids=lambda case: case["text"] or "nothing")
def test_the_shared_cases(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(InvalidQuery) as refused:
            parse(case["text"], NOW)
        assert {"position": refused.value.position, "help": refused.value.help} == case["error"]
        return
    terms = []
    for term in parse(case["text"], NOW).terms:
        told = msgspec.to_builtins(term)
        told["values"] = [{name: value for name, value in one.items() if value is not None} for one in told["values"]]
        terms.append({name: value for name, value in told.items() if value not in (None, False)})
    assert terms == case["terms"]


@pytest.mark.parametrize("field", FIELDS.values(), ids=lambda field: field.name)
def test_every_example_of_the_table_is_read(field: Any) -> None:
    (term,) = parse(field.example, NOW).terms
    assert term.field == field.name


@pytest.mark.parametrize(
    "text",
    [
        "x" * (query.LENGTH_LIMIT + 1),
        " ".join(["a"] * (query.TERM_LIMIT + 1)),
        f"id:{','.join(['1'] * (query.VALUE_LIMIT + 1))}",
        f"owner:{'x' * (query.TEXT_LIMIT + 1)}",
        f"input.{'x' * (query.PATH_LIMIT + 1)}:1",
        "input.a'b:1",
        'input.a"b:1',
        "input.a b:1:2",
        "id:99999999999999999999",
        "input.x:>1e999",
        "created:>99999999999w",
        "\ud800",
    ],
    ids=range(12),
)
def test_what_is_too_much_or_not_a_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidQuery) as refused:
        parse(text, NOW)
    assert refused.value.code == "invalid_query"
    refused.value.message.encode("ascii")


@given(st.text(max_size=80))
def test_a_refusal_points_into_the_text(text: str) -> None:
    refusal: InvalidQuery | None = None
    try:
        terms = parse(text, NOW).terms
    except InvalidQuery as error:
        terms, refusal = (), error
    assert refusal is None or 0 <= refusal.position <= len(text)
    assert all(text[term.position : term.position + term.length].strip() for term in terms)


@given(
    st.text(min_size=1, max_size=60).filter(
        lambda text: all(ord(one) >= 32 and not 0xD800 <= ord(one) <= 0xDFFF for one in text)
    )
)
def test_a_quoted_text_is_itself(text: str) -> None:
    quoted = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    (term,) = parse(f"owner:{quoted}", NOW).terms
    assert [value.text for value in term.values] == [text]
