"""Failures that are alike have one fingerprint; those that are not, have not."""

from __future__ import annotations

import json

import pytest

from roost.domain.fingerprints import fingerprint

pytestmark = pytest.mark.feature("views-errors")

TRACE = """Traceback (most recent call last):
  File "/usr/lib/python3.11/runpy.py", line 198, in _run
  File "/srv/app/mail/send.py", line {line}, in deliver
    connect(host)
  File "/srv/venv/lib/python3.11/site-packages/smtp/client.py", line 9, in connect
TimeoutError: {message}
"""


def of(message: str, type: str = "TimeoutError", line: int = 12, traceback: bool = True) -> str:
    trace = TRACE.format(line=line, message=message) if traceback else ""
    return fingerprint(json.dumps({"type": type, "message": message, "traceback": trace})).fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no user 17", "no user 942"),
        ("no user 'ana'", "no user 'bo'"),
        ("took 1.5 s at 2026-11-21T09:00:00Z", "took 33 s at 2026-11-22T10:30:00+01:00"),
        ("object at 0x7f1ae1f68f10", "object at 0x7f1ae2b37a50"),
        ("job 0b5e7c1a-90b5-4a5e-8f11-0a1b2c3d4e5f", "job 11111111-2222-3333-4444-555555555555"),
        ("cannot open /var/lib/a/b.txt", "cannot open /tmp/other/c"),
        ("GET https://a.example/x?y=1 failed", "GET https://b.example/ failed"),
        ("to ana@example.com", "to bo.b+c@mail.example.org"),
        ("a  b\n c", "a b c"),
    ],
)
def test_what_changes_between_failures_does_not_count(one: str, other: str) -> None:
    assert of(one) == of(other)
    assert of(one, line=12) == of(other, line=900)


def test_what_they_are_counts() -> None:
    known = {of("timed out"), of("refused"), of("timed out", type="OSError"), of("timed out", traceback=False)}
    assert len(known) == 4


def test_the_top_own_frame_is_told() -> None:
    made = fingerprint(
        json.dumps({"type": "TimeoutError", "message": "x", "traceback": TRACE.format(line=1, message="x")})
    )
    assert made.frame == "mail/send.py:deliver"


@pytest.mark.parametrize("text", ['"words"', "{}", '{"type":7}', "nonsense"])
def test_what_is_no_error_text_is_a_group_too(text: str) -> None:
    assert len(fingerprint(text).fingerprint) == 12
