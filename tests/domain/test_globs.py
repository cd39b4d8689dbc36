"""Patterns for names, against regular expressions."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.domain.globs import matches

names = st.text("ab./:-\n", max_size=12)
patterns = st.text("ab./*-", min_size=1, max_size=10)


def expression(pattern: str) -> str:
    parts = re.split(r"(\*+)", pattern)
    return "".join(
        ("(?s:.*)" if len(part) > 1 else r"[^./]*") if part.startswith("*") else re.escape(part) for part in parts
    )


@given(patterns, names)
def test_every_pattern_means_what_its_expression_means(pattern: str, name: str) -> None:
    assert matches(pattern, name) == (re.fullmatch(expression(pattern), name) is not None)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("mail.*", "mail.welcome", True),
        ("mail.*", "mail.welcome.again", False),
        ("mail.**", "mail.welcome.again", True),
        ("a*", "a/../b", False),
        ("a", "A", False),
        ("a", "a\n", False),
        ("%", "anything", False),
        ("a_c", "abc", False),
        ("*", "", True),
    ],
)
def test_no_more_than_it_says(pattern: str, name: str, fits: bool) -> None:
    assert matches(pattern, name) is fits


def test_no_pattern_is_slow() -> None:
    began = time.process_time()
    assert not matches("*a" * 64, "a" * 127 + "b")
    assert time.process_time() - began < 5
