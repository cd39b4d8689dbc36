"""Strict JSON against a slow oracle that reads the text one character at a time."""

from __future__ import annotations

import math
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.errors import InvalidJson
from roost.wire import strict
from roost.wire.codec import decode, encode
from roost.wire.jobs import EnqueueJobs, NewJob
from tests.server.oracle import strict_value


def accepted(data: bytes) -> bool:
    try:
        text = strict.check(data, "input")
    except InvalidJson as refused:
        return not (refused.path.startswith("input") and refused.message and refused.help)
    return text.encode() == data


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) - 2, 2**64 + 2)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
# pieces that make JSON, nearly make JSON, or hide something in it
pieces = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"a"',
        '"b"',
        '""',
        '"a:b"',
        '"',
        '\\"',
        "\\",
        "'a'",
        "true",
        "nul",
        "null",
        '"\\u003a"',
        '"\\u0061"',
        '"\\\\u0000"',
        '"\\u0000"',
        '"\\ud83d\\ude00"',
        '"\\ud800"',
        '"\\udc00"',
        '"\\ud800a"',
        "1",
        "-0",
        "-1",
        "01",
        "1.",
        ".5",
        "1e5",
        "1e999",
        "-1e999",
        "1E400",
        "NaN",
        "Infinity",
        "-Infinity",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "123456789012345678901234567890",
        "\x00",
        "\x0b",
        "\x1f",
        "\ufeff",
        "\u2028",
        "é",
    ]
)
nearly = st.lists(pieces | st.just(" "), max_size=14).map("".join).map(str.encode)
objects = st.lists(
    st.tuples(st.sampled_from(['"a"', '"b"', '"\\u0061"', '"a:b"', '"c"']), pieces), min_size=1, max_size=5
).map(lambda pairs: ("{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}").encode())


@given(nearly | objects | st.binary(max_size=20))
@settings(max_examples=1500, deadline=None)
def test_agrees_with_the_oracle_on_hostile_text(data: bytes) -> None:
    assert accepted(data) == strict_value(data)


@given(values, st.booleans(), st.booleans())
@settings(max_examples=500, deadline=None)
def test_agrees_with_the_oracle_on_real_values(value: object, escape: bool, spaced: bool) -> None:
    import json

    text = json.dumps(value, ensure_ascii=escape, separators=(", ", ": ") if spaced else (",", ":"))
    data = text.encode("utf-8", "surrogatepass")
    assert accepted(data) == strict_value(data)


@given(objects, values)
@settings(max_examples=300, deadline=None)
def test_a_doubled_key_is_found_in_any_depth(inner: bytes, other: object) -> None:
    data = b'{"x":[' + inner + b',{"y":' + inner + b"}]}"
    assert accepted(data) == strict_value(data)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_depth_ends_at_64(opening: str, closing: str) -> None:
    levels = 64 // opening.count("[") if opening == "[" else 64 // (opening.count("[") + 1)
    fits = opening * levels + "1" + closing * levels
    assert strict.check(fits.encode(), "") == fits
    with pytest.raises(InvalidJson, match="deep"):
        strict.check(f"[{fits}]".encode(), "")


def test_brackets_in_strings_are_no_levels() -> None:
    text = encode({"code": "[{" * 500, "colons": ":" * 20_000})
    assert strict.check(text, "") == text.decode()


def test_keys_end_at_10_000() -> None:
    fits = encode({f"k{number}": 1 for number in range(strict.MAX_KEYS)})
    assert strict.check(fits, "") == fits.decode()
    with pytest.raises(InvalidJson, match="many keys"):
        strict.check(encode([{"x": 1}, msgspec.json.decode(fits)]), "")


def test_what_it_accepts_from_every_buffer() -> None:
    data = b'{"a":[1,2.5,"\xc3\xa9\\n\\u00e9"]}'
    raw = decode(b'{"kind":"k","input":' + data + b"}", NewJob).input
    assert strict.check(memoryview(data), "") == strict.check(data, "") == strict.check(raw, "") == data.decode()


@pytest.mark.parametrize(
    "hostile",
    [
        b"[" * 1_000_000,
        b'{"a":' * 200_000,
        b'"' + b'\\"' * 500_000,
        b'["' + b"\\" * 1_000_001,
        b"[" + b'"' * 1_000_001,
        b"1" * 1_000_000,
        b'["a"' + b" " * 1_000_000,
        b"[" + b"[]," * 300_000 + b"\\u0000]",
        b"{" + b",".join(b'"k%d":1' % number for number in range(9_999)) + b',"k0":2}',
        b"[1" + b",1" * 400_000 + b",NaN]",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_hostile_megabytes_are_refused_in_linear_time(hostile: bytes) -> None:
    started = time.process_time()
    with pytest.raises(InvalidJson):
        strict.check(hostile, "")
    with pytest.raises(InvalidJson):
        strict.check_body(hostile)
    assert time.process_time() - started < 8  # quadratic would take minutes


@pytest.mark.parametrize(
    "before", [b'{"jobs":[{"kind":"k","input":', b'{"unknown":', b'{"jobs":[{"unknown":', b'{"jobs":']
)
@pytest.mark.parametrize("levels", [b"[", b'{"a":'])
def test_no_depth_reaches_the_stack_through_the_decoder(before: bytes, levels: bytes) -> None:
    from roost.errors import RoostError

    with pytest.raises(RoostError) as caught:
        decode(before + levels * 100_000, EnqueueJobs)
    assert 400 <= caught.value.status < 500


def test_a_body_may_be_as_deep_as_its_value_plus_its_own_fields() -> None:
    value = b"[" * 64 + b"]" * 64
    strict.check_body(b'{"jobs":[{"kind":"k","input":' + value + b"}]}")
    with pytest.raises(InvalidJson, match="deep"):
        strict.check_body(b"[" * 80 + b"]" * 80)


@pytest.mark.parametrize(
    "bad", [b'{"kind":"a","kind":"b"}', b'{"kind":"a\\u0000"}', b"\xef\xbb\xbf{}", b'{"kind":"\xff"}']
)
def test_a_body_is_strict_outside_its_values_too(bad: bytes) -> None:
    with pytest.raises(InvalidJson):
        strict.check_body(bad)


def test_a_bulk_body_hides_no_nul() -> None:
    strict.check_bulk(b'{"note":"\\\\u0000"}')
    with pytest.raises(InvalidJson, match="NUL"):
        strict.check_bulk(b'{"note":"x\\u0000"}')


@pytest.mark.feature("enqueue")
@pytest.mark.parametrize("bad", [r'"\u0000"', r'"x\ud800"', r'{"\u0000":1}', '"\0"'])
@pytest.mark.parametrize(
    ("body", "path"),
    [
        ('{"jobs":[{"kind":"a"},{"input":{"to":["x",%s]}}]}', "jobs[1].input.to[1]"),
        ('{"jobs":[{"tags":{"a":"b","c":%s}}]}', "jobs[0].tags.c"),
        ("%s", ""),
        ('{"' + 300 * "k" + '":%s}', 200 * "k"),
    ],
)
def test_the_place_of_a_character_no_store_can_keep_is_told(body: str, path: str, bad: str) -> None:
    data = (body % bad).encode()
    with pytest.raises(InvalidJson) as refused:
        strict.check_body(data)
    assert refused.value.path == path
    if "u0000" in bad:
        with pytest.raises(InvalidJson) as refused:
            strict.check_bulk(data)
        assert refused.value.path == path
    with pytest.raises(InvalidJson) as refused:
        strict.check(data, "input")
    assert refused.value.path == ("input." + path).removesuffix(".")[:200]


def test_floats_keep_their_text() -> None:
    for text in ("-0", "1e5", "0.1e-999", "1.7976931348623157e308", "1E+2"):
        assert strict.check(text.encode(), "") == text
        assert math.isfinite(msgspec.json.decode(text))
