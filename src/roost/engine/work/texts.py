"""Sets as JSON texts: how they travel to and from the database."""

from __future__ import annotations

from typing import Any

import msgspec

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


def pack(value: object) -> str:
    """``value`` as JSON text."""
    return _encoder.encode(value).decode()


def unpack(text: str | None) -> Any:
    """The value of a JSON text the database made; an empty list for nothing."""
    return _decoder.decode(text) if text else []
