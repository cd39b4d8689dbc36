"""Checks that every field of a rule has its declared type, however the rule was built."""

from __future__ import annotations

import re

import msgspec

from roost.errors import InvalidRequest

_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")


def check_shape(rule: msgspec.Struct, path: str) -> None:
    """Refuse a rule with a field of the wrong type or an unknown word in it.

    Decoding JSON checks this already; a rule built in Python has been checked by nobody.
    Raises `InvalidRequest` with the path of the field.
    """
    try:
        msgspec.convert(msgspec.to_builtins(rule), type(rule))
    except msgspec.ValidationError as error:
        text = str(error)
        place = _PLACE.search(text)
        field = place.group(1) if place else ""
        message = text[: place.start()] if place else text
        raise InvalidRequest(ascii(message)[1:-1], path=at(path, field), help="see the rule's fields") from None
    except (TypeError, OverflowError) as error:
        raise InvalidRequest(ascii(str(error))[1:-1], path=path, help="use plain text and numbers") from None


def at(path: str, field: str) -> str:
    """Join a path and a field: ``at("schedule", "cron")`` is ``schedule.cron``, ``at("", "cron")`` is ``cron``."""
    return f"{path}.{field}" if path and field else path or field
