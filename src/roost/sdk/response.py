"""An HTTP response, read from bytes as they come."""

from __future__ import annotations

from dataclasses import dataclass

import httptools

from roost.errors import Unavailable


@dataclass(slots=True)
class Response:
    """A whole response; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    keep: bool
    """Whether the connection may be used again."""


class ResponseReader:
    """Makes one `Response` of what a connection receives."""

    __slots__ = ("_body", "_done", "_headers", "_keep", "_parser", "_started")

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._started = self._done = self._keep = False

    def feed(self, data: bytes) -> Response | None:
        """The response when ``data`` completes it; raises `Unavailable` for what is not HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise Unavailable(f"the answer is not HTTP: {error}", help="is this the URL of a Roost server?") from None
        return self._response(self._keep) if self._done else None

    def end(self) -> Response | None:
        """The response when the end of the connection is its end, else None."""
        delimited = "content-length" in self._headers or "transfer-encoding" in self._headers
        return self._response(False) if self._started and not delimited else None

    def _response(self, keep: bool) -> Response:
        return Response(self._parser.get_status_code(), self._headers, b"".join(self._body), keep)

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._started = True

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            # Asked here, because the parser forgets it once the message is over.
            self._done, self._keep = True, self._parser.should_keep_alive()
        else:
            self._headers, self._started = {}, False


class StreamReader(ResponseReader):
    """Reads a response that goes on: `take` gives what came of its body since the last time."""

    __slots__ = ()

    @property
    def started(self) -> bool:
        """Whether the head is there."""
        return self._started

    @property
    def accepted(self) -> bool:
        """Whether the head says that a stream follows; a refusal is read to its end instead."""
        return self._started and self._parser.get_status_code() < 300

    def take(self) -> bytes:
        """The body's bytes that came meanwhile."""
        data = b"".join(self._body)
        self._body.clear()
        return data
