"""Requests as programs build them: nobody has checked those yet, and what reads them must not depend on the way."""

from __future__ import annotations

from typing import TypeVar

from roost.errors import InvalidRequest
from roost.wire.codec import Wire, decode, encode
from roost.wire.places import place

Q = TypeVar("Q", bound=Wire)


def write(request: Wire) -> bytes:
    """``request`` as JSON; raises `InvalidRequest` for text that UTF-8 cannot write and for values of foreign types."""
    try:
        return encode(request)
    except UnicodeEncodeError:
        raise unwritable(request) from None
    except (TypeError, OverflowError, RecursionError) as error:
        raise InvalidRequest(str(error), help="see /docs for the fields and their types") from None


def unwritable(request: Wire) -> InvalidRequest:
    """Why ``request`` cannot be sent: some text in it holds half of a surrogate pair."""
    path = place(request, _has_surrogate) or ""
    return InvalidRequest("the text holds half of a surrogate pair", path=path, help="pass text that UTF-8 can write")


def as_received(request: Q) -> Q:
    """``request`` as a server reads it from a network, whoever built it: types, bounds and texts are checked.

    Raises `InvalidRequest` with the path of the field, `InvalidJson` for JSON that is malformed within it. Beyond that,
    JSON values are checked where they are stored.
    """
    data = write(request)
    if b"\\u0000" in data and (path := place(request, _has_nul)) is not None:
        raise InvalidRequest("the text holds a NUL character", path=path, help="leave it out")
    return decode(data, type(request))


def _has_nul(text: str) -> bool:
    return "\0" in text


def _has_surrogate(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)
