"""Streams over real sockets: resumed at each position, filtered, ended, bounded, and cut where nobody reads."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from roost.server.guard import Limits
from roost.server.settings import Settings
from roost.wire.streams import FrameReader, Message
from tests.server.conftest import running
from tests.server.raw import call

pytestmark = pytest.mark.feature("events")
EVENTS = "/api/v1/events/stream"


class Reading:
    """One stream as its reader sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = FrameReader()
        self.headers: dict[str, str] = {}
        self.status = 0
        self.ended = False
        self.messages: list[Message] = []

    async def head(self) -> None:
        first, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines if line)}

    async def more(self) -> list[Message]:
        """The messages of the next chunk; `ended` when there is none."""
        size = int((await asyncio.wait_for(self._reader.readline(), 20)).strip() or b"0", 16)
        data = await self._reader.readexactly(size + 2)
        self.ended = size == 0
        found = self._frames.feed(data[:-2])
        self.messages += found
        return found

    async def until(self, count: int) -> list[dict[str, Any]]:
        """The data of the first ``count`` named messages."""
        while len(self.named) < count and not self.ended:
            await self.more()
        return [json.loads(message.data) for message in self.named[:count]]

    @property
    def named(self) -> list[Message]:
        return [message for message in self.messages if message.name]


@asynccontextmanager
async def stream(
    port: int, path: str, last_id: str = "", version: str = "1.1", receive_buffer: int = 0
) -> AsyncIterator[Reading]:
    connected = socket.socket()
    if receive_buffer:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connected.connect(("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=connected)
    resume = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
    writer.write(f"GET {path} HTTP/{version}\r\nHost: 127.0.0.1:{port}\r\n{resume}\r\n".encode())
    reading = Reading(reader, writer)
    await reading.head()
    try:
        yield reading
    finally:
        writer.transport.abort()


async def enqueue(port: int, count: int, **fields: Any) -> list[int]:
    jobs = [{"kind": "mail", "input": {"n": number}, **fields} for number in range(count)]
    reply = await call(port, "POST", "/api/v1/jobs/batch", {"jobs": jobs})
    return [job["id"] for job in json.loads(reply.body)["jobs"]]


async def test_a_stream_says_what_it_is_and_brings_what_comes(port: int) -> None:
    async with stream(port, EVENTS) as reading:
        assert reading.status == 200
        assert reading.headers["content-type"] == "text/event-stream"
        assert reading.headers["x-accel-buffering"] == "no"
        assert reading.headers["cache-control"] == "no-store"
        await reading.more()
        assert reading.named == [], "without a position it begins now"
        ids = await enqueue(port, 2)
        found = await reading.until(2)
        assert [(event["type"], event["job"], event["state"]) for event in found] == [
            ("created", id, "ready") for id in ids
        ]
        assert [message.id for message in reading.named] == [event["id"] for event in found]
        assert {message.name for message in reading.named} == {"created"}


async def test_it_resumes_at_each_position(port: int) -> None:
    for count in (1, 3, 1):
        await enqueue(port, count)
    async with stream(port, f"{EVENTS}?after=0") as reading:
        whole = await reading.until(5)
    for place, event in enumerate(whole[:-1]):
        async with stream(port, EVENTS, last_id=event["id"]) as reading:
            assert await reading.until(4 - place) == whole[place + 1 :]
        async with stream(port, f"{EVENTS}?after={event['id']}") as reading:
            assert await reading.until(1) == whole[place + 1 : place + 2]
    async with stream(port, f"{EVENTS}?after=0", last_id=f"{whole[3]['id']} ") as reading:
        assert await reading.until(1) == whole[4:], "the header is newer than the address"


async def test_filters(port: int) -> None:
    first = (await enqueue(port, 1, queue="a", kind="mail"))[0]
    second = (await enqueue(port, 1, queue="b", kind="mail"))[0]
    third = (await enqueue(port, 1, queue="b", kind="call"))[0]
    await call(port, "POST", f"/api/v1/jobs/{third}/cancel", {})
    cases = {
        "queue=a": [first],
        "queue=b": [second, third, third],
        "queue=a,b&kind=mail": [first, second],
        f"job={second}": [second],
        "type=cancelled": [third],
        f"type=created&type=cancelled&job={first}&job={third}": [first, third, third],
    }
    for query, expected in cases.items():
        page = json.loads((await call(port, "GET", f"/api/v1/events?{query}")).body)
        assert [event["job"] for event in page["events"]] == expected, query
        async with stream(port, f"{EVENTS}?after=0&{query}") as reading:
            assert [event["job"] for event in await reading.until(len(expected))] == expected, query


async def test_what_is_no_stream_is_refused_as_always(port: int) -> None:
    for path, last_id, status, code in (
        (f"{EVENTS}?after=nothing", "", 422, "invalid_cursor"),
        (EVENTS, "1.x", 422, "invalid_cursor"),
        (f"{EVENTS}?color=red", "", 422, "invalid_request"),
        (f"{EVENTS}?type=failed&type=sucseeded", "", 422, "invalid_request"),
        ("/api/v1/events?type=fail*", "", 422, "invalid_request"),
        ("/api/v1/jobs/77/logs/stream", "", 404, "not_found"),
        ("/api/v1/jobs/77/logs/stream", "one", 422, "invalid_cursor"),
        ("/api/v1/jobs/x/logs/stream", "", 422, "invalid_request"),
    ):
        reply = await call(port, "GET", path, **({"last_event_id": last_id} if last_id else {}))
        assert (reply.status, json.loads(reply.body)["error"]["code"]) == (status, code), path
    assert (await call(port, "POST", EVENTS, {})).status == 405
    foreign = await call(port, "GET", EVENTS, host="evil.example")
    assert foreign.status == 421
    assert (await call(port, "GET", EVENTS, origin="http://evil.example")).status == 421


async def test_a_position_that_is_gone_is_told_and_the_stream_goes_on(port: int) -> None:
    ids = await enqueue(port, 2)
    async with stream(port, EVENTS, last_id="999999") as reading:
        reset, *events = await reading.until(3)
        assert reading.named[0].name == "reset"
        assert reset["code"] == "cursor_too_old"
        assert [event["job"] for event in events] == ids
        assert reset["cursor"] == "0"


async def test_a_jobs_log_from_line_to_line_and_its_end(port: int) -> None:
    (id,) = await enqueue(port, 1)
    claimed = json.loads((await call(port, "POST", "/api/v1/jobs/claim", {"worker": "w", "queues": ["default"]})).body)
    token = claimed["token"]

    async def log(*lines: str) -> None:
        beat = {"id": id, "token": token, "logs": [{"message": line} for line in lines]}
        await call(port, "POST", "/api/v1/jobs/heartbeat", {"worker": "w", "beats": [beat]})

    await log("first", "second")
    path = f"/api/v1/jobs/{id}/logs/stream"
    async with stream(port, path) as reading, stream(port, path, last_id="1") as later:
        assert [line["message"] for line in await reading.until(2)] == ["first", "second"]
        await log("third")
        assert [line["message"] for line in await reading.until(3)] == ["first", "second", "third"]
        await call(port, "POST", "/api/v1/jobs/settle", {"outcomes": [{"id": id, "token": token}]})
        assert (await reading.until(4))[-1] == {"state": "succeeded"}
        assert [message.name for message in reading.named] == ["line", "line", "line", "end"]
        assert [message.id for message in reading.named] == ["1", "2", "3", "3"]
        while not reading.ended:
            await reading.more()
        assert [line.get("message") for line in await later.until(3)] == ["second", "third", None]
    async with stream(port, path, last_id="3") as reading:
        assert await reading.until(1) == [{"state": "succeeded"}], "the end is told also to who comes late"


async def test_a_log_ends_when_its_job_is_deleted(port: int) -> None:
    (id,) = await enqueue(port, 1)
    async with stream(port, f"/api/v1/jobs/{id}/logs/stream") as reading:
        await reading.more()
        await call(port, "DELETE", f"/api/v1/jobs/{id}")
        assert await reading.until(1) == [{}]
        assert reading.named[0].name == "end"


async def test_old_clients_are_read_to_by_the_end_of_the_connection(port: int) -> None:
    await enqueue(port, 1)
    async with stream(port, f"{EVENTS}?after=0", version="1.0") as reading:
        assert "transfer-encoding" not in reading.headers
        text = await asyncio.wait_for(reading._reader.readuntil(b"data: "), 20)
        assert b"event: created" in text


async def test_no_more_streams_than_allowed(store_url: str) -> None:
    async with running(Settings(port=0, store=store_url, limits=Limits(streams=2))) as port:
        async with stream(port, EVENTS) as first, stream(port, EVENTS) as second:
            await first.more()
            await second.more()
            refused = await call(port, "GET", EVENTS)
            assert (refused.status, json.loads(refused.body)["error"]["code"]) == (429, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
            assert (await call(port, "GET", "/api/v1/events")).status == 200
        for _ in range(100):
            # The server notices that its readers left.
            async with stream(port, EVENTS) as third:
                if third.status == 200:
                    return
        raise AssertionError("a stream that was left still counts")


async def test_a_server_that_ends_ends_its_streams(store_url: str) -> None:
    async with running(Settings(port=0, store=store_url)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {EVENTS} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        reading = Reading(reader, writer)
        await reading.head()
        await reading.more()
    # `running` saw the server drain within its grace; the stream ended whole.
    while not reading.ended:
        await reading.more()
    writer.close()


async def test_who_does_not_read_is_cut_and_the_others_are_not_held_up(store_url: str) -> None:
    limits = Limits(reply_stall_seconds=0.5)
    async with running(Settings(port=0, store=store_url, limits=limits)) as port:
        # A small window, and long names: the system takes 4 MB for a connection before anybody waits.
        small = stream(port, f"{EVENTS}?after=0", receive_buffer=4096)
        async with small as idle, stream(port, f"{EVENTS}?after=0") as reading:
            idle.writer.transport.pause_reading()  # type: ignore[attr-defined]
            wanted = 0
            for _ in range(14):
                await enqueue(port, 1000, queue="q" * 128, kind="k" * 128)
                wanted += 1000
                await reading.until(wanted)
            await asyncio.sleep(2 * limits.reply_stall_seconds)
            # Megabytes lie before the reader that does not read; it is cut, and nothing of it is kept.
            idle.writer.transport.resume_reading()  # type: ignore[attr-defined]
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await idle.until(wanted)
            assert not idle.ended, "cut, not ended"
            missing = wanted - len(idle.named)
            assert missing > 0
        async with stream(port, EVENTS, last_id=idle.messages[-1].id) as again:
            assert len(await again.until(missing)) == missing, "what it did not read it gets when it comes back"


class Socket:
    """A WebSocket as its client sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def say(self, opcode: int, payload: bytes = b"", *, mask: bytes = b"abcd") -> None:
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
        self.writer.write(bytes((0x80 | opcode, 0x80 | len(payload))) + mask + masked)

    async def hear(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        first, size = await asyncio.wait_for(self._reader.readexactly(2), 20)
        assert first & 0x80, "frames come whole"
        assert not size & 0x80, "a server does not mask"
        if size >= 126:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
        return first & 0x0F, await self._reader.readexactly(size)

    async def message(self) -> dict[str, Any]:
        opcode, payload = await self.hear()
        assert opcode == 1, (opcode, payload)
        found: dict[str, Any] = json.loads(payload)
        return found

    async def named(self) -> dict[str, Any]:
        """The next message with an event."""
        while "event" not in (found := await self.message()):
            pass
        return found


UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


@asynccontextmanager
async def websocket(port: int, path: str, head: str = UPGRADE + KEY) -> AsyncIterator[tuple[str, Socket]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{head}\r\n".encode())
    answer = (await reader.readuntil(b"\r\n\r\n")).decode()
    try:
        yield answer, Socket(reader, writer)
    finally:
        writer.transport.abort()


async def test_a_log_over_a_websocket_ends_with_its_mark(port: int) -> None:
    (id,) = await enqueue(port, 1)
    claimed = json.loads((await call(port, "POST", "/api/v1/jobs/claim", {"worker": "w", "queues": ["default"]})).body)
    beat = {"id": id, "token": claimed["token"], "logs": [{"message": "x" * size} for size in (3, 300, 4000)]}
    async with websocket(port, f"/api/v1/jobs/{id}/logs/stream") as (answer, socket):
        assert answer.startswith("HTTP/1.1 101 ")
        assert "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer.lower().replace(
            "s3pplmbitxaq9kygzzhzrbk+xoo=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        )
        socket.say(9, b"are you there?")
        frames = [await socket.hear(), await socket.hear()]
        assert (10, b"are you there?") in frames
        await call(port, "POST", "/api/v1/jobs/heartbeat", {"worker": "w", "beats": [beat]})
        lines = [await socket.named() for _ in range(3)]
        assert [(line["event"], line["id"], len(line["data"]["message"])) for line in lines] == [
            ("line", "1", 3),
            ("line", "2", 300),
            ("line", "3", 4000),
        ]
        await call(port, "POST", "/api/v1/jobs/settle", {"outcomes": [{"id": id, "token": claimed["token"]}]})
        assert await socket.named() == {"id": "3", "event": "end", "data": {"state": "succeeded"}}
        assert await socket.hear() == (8, (1000).to_bytes(2, "big"))
    async with websocket(port, f"/api/v1/jobs/{id}/logs/stream?after=2") as (_, socket):
        assert (await socket.named())["id"] == "3"


async def test_events_over_a_websocket(port: int) -> None:
    ids = await enqueue(port, 3)
    async with websocket(port, f"{EVENTS}?after=0") as (_, socket):
        found = [await socket.named() for _ in ids]
        assert [message["data"]["job"] for message in found] == ids
        socket.say(8, (1000).to_bytes(2, "big"))
        assert await socket.hear() == (8, (1000).to_bytes(2, "big"))
        assert await socket._reader.read() == b""


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (bytes((0x81, 0x05)) + b"plain", 1002),
        (bytes((0x81 | 0x40, 0x80)) + b"abcd", 1002),
        (bytes((0x89, 0xFE)) + b"\x01\x00" + b"abcd", 1002),
        (bytes((0x81, 0xFE)) + b"\xff\xff" + b"abcd", 1009),
        (bytes((0x81, 0xFF)) + b"\xff" * 8, 1009),
    ],
)
async def test_a_broken_frame_ends_the_socket(port: int, sent: bytes, code: int) -> None:
    async with websocket(port, EVENTS) as (_, socket):
        socket.writer.write(sent)
        while (heard := await socket.hear())[0] == 1:
            pass
        assert heard == (8, code.to_bytes(2, "big"))


async def test_what_is_no_websocket_is_refused(port: int) -> None:
    for head, status in (
        (UPGRADE, 422),
        (UPGRADE + "Sec-WebSocket-Key: short\r\n", 422),
        (UPGRADE.replace("13", "8") + KEY, 422),
        (UPGRADE + KEY + "Origin: http://evil.example\r\n", 421),
    ):
        async with websocket(port, EVENTS, head) as (answer, _):
            assert answer.startswith(f"HTTP/1.1 {status} "), (head, answer)
    async with websocket(port, "/api/v1/queues") as (answer, _):
        assert answer.startswith("HTTP/1.1 200 "), "where no upgrade is offered the request is answered as it stands"


async def test_a_server_that_ends_says_so_to_its_sockets(store_url: str) -> None:
    async with running(Settings(port=0, store=store_url)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {EVENTS} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{UPGRADE}{KEY}\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        socket = Socket(reader, writer)
        assert "id" in await socket.message()
    assert await socket.hear() == (8, (1001).to_bytes(2, "big"))
    writer.close()
