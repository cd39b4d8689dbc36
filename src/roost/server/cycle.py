"""One request and its reply: uvicorn's, but in one write, as a second system call costs more than routing does.

A stream is the exception: each of its parts is written as it comes, once the client has room for it.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class WholeReplyCycle(RequestResponseCycle):
    """Keeps the reply's start until its body is there; the application sends replies whole, or part by part.

    Header names and values come from the application's own constants and numbers, so none is searched for line breaks.
    """

    _start: dict[str, Any] | None = None
    _streaming = False
    upgraded = False
    """The connection speaks another protocol from now on: parts are written as they are."""

    async def send(self, message: Any) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start":
            if self.response_started:
                raise RuntimeError("the reply has begun already")
            self.response_started = True
            self.waiting_for_100_continue = False
            self._start = message
            return
        start = self._start
        if self._streaming or message.get("more_body"):
            self._send_part(start, message)
            return
        if start is None:
            raise RuntimeError("a reply begins with its start")
        self._start = None
        parts = self._head(start)
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        if self.scope["method"] != "HEAD":
            parts.append(message["body"])
        self.transport.write(b"".join(parts))
        self._complete()

    def _head(self, start: dict[str, Any]) -> list[bytes]:
        parts = [STATUS_LINE[start["status"]]]
        for name, value in self.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in start["headers"]:
            parts += (name, b": ", value, b"\r\n")
        return parts

    def _send_part(self, start: dict[str, Any] | None, message: Any) -> None:
        """A part of a stream; in chunks, or up to the connection's end where the client knows none."""
        parts: list[bytes] = []
        if start is not None:
            self._start, self._streaming = None, True
            self.upgraded = start["status"] == 101
            parts = self._head(start)
        chunked = self.scope["http_version"] != "1.0" and not self.upgraded
        if start is not None:
            if chunked:
                parts.append(b"transfer-encoding: chunked\r\n")
            parts.append(b"\r\n" if self.keep_alive or self.upgraded else b"connection: close\r\n\r\n")
        body, more = message["body"], message.get("more_body", False)
        if self.scope["method"] == "HEAD":
            more = False
        else:
            if body:
                parts += (b"%x\r\n" % len(body), body, b"\r\n") if chunked else (body,)
            if chunked and not more:
                parts.append(b"0\r\n\r\n")
        self.transport.write(b"".join(parts))
        if not more:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
