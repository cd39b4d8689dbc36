"""Streams over WebSockets (RFC 6455): for readers that have no server-sent events; the messages are the same.

The server speaks and the client listens: of what comes from it, only pings and its close are answered.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import struct
from typing import Any

from roost.errors import InvalidRequest
from roost.service.following import Stream
from roost.wire.codec import encode
from roost.wire.streams import END, Message

Header = tuple[bytes, bytes]

TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA
NORMAL, GOING_AWAY, PROTOCOL_ERROR, TOO_LARGE = 1000, 1001, 1002, 1009
LARGEST = 4096
"""Bytes of a frame that a client may send."""

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def wanted(headers: dict[bytes, bytes]) -> bool:
    """Whether a request asks for a WebSocket."""
    return headers.get(b"upgrade", b"").lower() == b"websocket"


def handshake(headers: dict[bytes, bytes]) -> list[Header]:
    """The headers of the answer that accepts; raises `InvalidRequest`."""
    if headers.get(b"sec-websocket-version") != b"13":
        raise InvalidRequest("only version 13 of the WebSocket protocol is spoken here", path="sec-websocket-version")
    key = headers.get(b"sec-websocket-key", b"")
    try:
        sound = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        sound = False
    if not sound:
        raise InvalidRequest("the WebSocket key is not 16 bytes in base64", path="sec-websocket-key")
    # SHA-1 is the protocol's, and no secret rests on it.
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    return [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", base64.b64encode(digest)),
    ]


def frame(opcode: int, payload: bytes = b"") -> bytes:
    """A whole frame as a server sends it: not masked, not in parts."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, size)
    elif size < 65_536:
        head = struct.pack("!BBH", 0x80 | opcode, 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 127, size)
    return head + payload


def close_frame(code: int) -> bytes:
    """The frame that ends a connection, and why."""
    return frame(CLOSE, struct.pack("!H", code))


def text_frame(message: Message) -> bytes:
    """A stream's message: ``{"id", "event", "data"}``; one that only moves the position on has its id alone."""
    if not message.name:
        return frame(TEXT, b'{"id":%s}' % encode(message.id))
    return frame(TEXT, b'{"id":%s,"event":%s,"data":%s}' % (encode(message.id), encode(message.name), message.data))


class ProtocolError(Exception):
    """What the client sent is no WebSocket frame that is taken here; ``code`` says why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class FrameInput:
    """Reads a client's frames from bytes, in whatever pieces they come."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The (opcode, payload) of frames that ``data`` completes; raises `ProtocolError`."""
        self._rest += data
        found: list[tuple[int, bytes]] = []
        while (whole := self._next()) is not None:
            found.append(whole)
        return found

    def _next(self) -> tuple[int, bytes] | None:
        data = self._rest
        if len(data) < 2:
            return None
        opcode, size, start = data[0] & 0x0F, data[1] & 0x7F, 2
        if data[0] & 0x70 or not data[1] & 0x80 or (opcode >= CLOSE and (size > 125 or not data[0] & 0x80)):
            raise ProtocolError(PROTOCOL_ERROR)
        if size == 127:
            raise ProtocolError(TOO_LARGE)
        if size == 126:
            if len(data) < 4:
                return None
            size, start = struct.unpack_from("!H", data, 2)[0], 4
        if size > LARGEST:
            raise ProtocolError(TOO_LARGE)
        end = start + 4 + size
        if len(data) < end:
            return None
        mask, masked = data[start : start + 4], data[start + 4 : end]
        self._rest = data[end:]
        return opcode, bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))


async def send_websocket(headers: list[Header], first: list[Message], stream: Stream, receive: Any, send: Any) -> None:
    """Write a stream that has begun with ``first`` until it ends, its reader says goodbye, or leaves."""

    async def say(data: bytes, more: bool = True) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": more})

    async def write() -> int:
        await send({"type": "http.response.start", "status": 101, "headers": headers})
        await say(b"".join([text_frame(message) for message in first]))
        name = ""
        async for messages in stream:
            await say(b"".join([text_frame(message) for message in messages]))
            name = messages[-1].name if messages else name
        return NORMAL if name == END else GOING_AWAY

    async def listen() -> int | None:
        """The code of the close that answers what the client sent; None where it has left."""
        source = FrameInput()
        while (message := await receive())["type"] != "http.disconnect":
            try:
                frames = source.feed(message["body"])
            except ProtocolError as error:
                return error.code
            for opcode, payload in frames:
                if opcode == CLOSE:
                    return NORMAL
                if opcode == PING:
                    await say(frame(PONG, payload))
        return None

    writing, listening = asyncio.ensure_future(write()), asyncio.ensure_future(listen())
    try:
        await asyncio.wait((writing, listening), return_when=asyncio.FIRST_COMPLETED)
        code = writing.result() if writing.done() else listening.result()
        if code is not None:
            if not writing.done():
                # Between two frames: what is half written would take the close for its rest.
                writing.cancel()
                await asyncio.wait((writing,))
            await say(close_frame(code), more=False)
    finally:
        for task in (writing, listening):
            task.cancel()
        await asyncio.wait((writing, listening))
        await stream.aclose()
