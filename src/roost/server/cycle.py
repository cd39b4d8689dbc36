"""One request and its reply: uvicorn's, but in one write, as a second system call costs more than routing does."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle


class WholeReplyCycle(RequestResponseCycle):
    """Keeps the reply's start until its body is there; the application sends replies whole, with their length.

    Header names and values come from the application's own constants and numbers, so none is searched for line breaks.
    """

    _start: dict[str, Any] | None = None

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
        if start is None or message.get("more_body"):
            raise RuntimeError("a reply is one start and one whole body")
        self._start = None
        parts = [STATUS_LINE[start["status"]]]
        for name, value in self.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in start["headers"]:
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        if self.scope["method"] != "HEAD":
            parts.append(message["body"])
        self.transport.write(b"".join(parts))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
