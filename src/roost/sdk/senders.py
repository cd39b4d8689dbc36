"""A webhook that somebody else's server took, passed on to Roost with the headers it came with."""

from __future__ import annotations

import re

from roost.errors import InvalidRequest
from roost.wire.webhooks import ReceiveWebhook

_OWN = frozenset(
    (
        "accept", "connection", "content-length", "expect", "host", "keep-alive", "operation-id", "origin", "te",
        "trailer", "transfer-encoding", "upgrade",
    )
)  # fmt: skip
"""Headers of the way it came, not of what came."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")


def header_lines(request: ReceiveWebhook) -> list[str]:
    """The sender's headers as lines of a request; raises `InvalidRequest` for what cannot be one."""
    lines = []
    for name, value in request.headers.items():
        if _NAME.fullmatch(name) is None or not value.isascii() or not value.replace("\t", " ").isprintable():
            raise InvalidRequest("this is no header", path=f"headers.{name[:40]}", help="pass headers as they came")
        if name.lower() not in _OWN:
            lines.append(f"{name.lower()}: {value}\r\n")
    return lines
