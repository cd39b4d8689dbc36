"""Failures that are alike: the fingerprint of a type, a message without what changes in it, and the top own frame."""

from __future__ import annotations

import hashlib
import re

import msgspec

MESSAGE_LIMIT = 1_000
_NORMAL_LIMIT = 300

_CHANGING = (
    (re.compile(r"https?://[^\s'\"]+"), "<url>"),
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<uuid>"),
    (re.compile(r"\b[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+"), "<mail>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ][\d:.]+(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\""), "<text>"),
    (re.compile(r"(?:/[\w.@-]+){2,}/?"), "<path>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "<hex>"),
    (re.compile(r"\d+(?:\.\d+)?"), "<n>"),
    (re.compile(r"\s+"), " "),
)
_FRAME = re.compile(r'^\s*File "(?P<file>[^"]{1,500})", line \d+, in (?P<function>\S{1,200})', re.MULTILINE)
_FOREIGN = ("site-packages/", "dist-packages/", "/lib/python", "<frozen", "/roost/sdk/")


class ErrorText(msgspec.Struct):
    """An attempt's error as it is stored."""

    type: str = "Error"
    message: str = ""
    traceback: str = ""


class Fingerprint(msgspec.Struct, frozen=True):
    """A failure and the group it belongs to."""

    fingerprint: str
    type: str
    message: str
    frame: str


_errors = msgspec.json.Decoder(ErrorText)


def fingerprint(error: str) -> Fingerprint:
    """The group of an error, given as JSON text; what is no error text is a group too."""
    try:
        told = _errors.decode(error)
    except (msgspec.ValidationError, msgspec.DecodeError):
        told = ErrorText()
    frame = top_frame(told.traceback)
    text = f"{told.type}\0{normal(told.message)}\0{frame}"
    return Fingerprint(
        hashlib.sha256(text.encode()).hexdigest()[:12], told.type[:200], told.message[:MESSAGE_LIMIT], frame
    )


def normal(message: str) -> str:
    """A message without numbers, names, paths, times and other things that differ between failures that are alike."""
    text = message[:_NORMAL_LIMIT]
    for pattern, sign in _CHANGING:
        text = pattern.sub(sign, text)
    return text.strip()


def top_frame(traceback: str) -> str:
    """``file:function`` of the last frame that is not of a library; empty where there is none."""
    found = ""
    for frame in _FRAME.finditer(traceback):
        file = frame["file"].replace("\\", "/")
        if not any(sign in file for sign in _FOREIGN):
            found = f"{'/'.join(file.split('/')[-2:])}:{frame['function']}"
    return found
