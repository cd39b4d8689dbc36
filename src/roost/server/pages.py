"""Pages beside the API: its OpenAPI document, its documentation, and the way there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from roost.wire.codec import encode

Header = tuple[bytes, bytes]

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SECURITY: tuple[Header, ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
)


class Page:
    """One page; its body is made when it is first asked for, so that a start waits for none."""

    def __init__(self, kind: str, make: Callable[[], bytes], *, status: int = 200, location: str = "") -> None:
        self.status = status
        self._make = make
        extra = ((b"location", location.encode()),) if location else ()
        self.headers: tuple[Header, ...] = ((b"content-type", kind.encode()), *extra, *_SECURITY)

    @cached_property
    def body(self) -> bytes:
        return self._make()


def pages(version: str) -> dict[bytes, Page]:
    """The pages by path."""
    style = Path(__file__).parent / "static" / "docs.css"
    return {
        b"/": Page("text/plain; charset=utf-8", lambda: b"see /docs\n", status=307, location="/docs"),
        b"/openapi.json": Page("application/json", lambda: _openapi(version)),
        b"/docs": Page("text/html; charset=utf-8", lambda: _docs(version)),
        b"/docs/docs.css": Page("text/css; charset=utf-8", style.read_bytes),
    }


def _openapi(version: str) -> bytes:
    from roost.server.openapi import document

    return encode(document(version))


def _docs(version: str) -> bytes:
    from roost.server.docs import render
    from roost.server.openapi import document

    return render(document(version)).encode()
