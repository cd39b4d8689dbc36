"""The guard by itself, before a small application, with limits of tenths of seconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvloop

from roost.server.guard import Limits
from roost.server.listener import Listener, bind
from tests.server.raw import Reply, connect, exchange, request, timed

LIMITS = Limits(
    header_seconds=0.4,
    first_body_byte_seconds=0.3,
    body_grace_seconds=0.3,
    body_seconds=1.5,
    body_bytes_per_second=1000,
    reply_stall_seconds=0.4,
    idle_seconds=1.0,
    linger_seconds=0.2,
    body_bytes=100_000,
    bulk_bytes=400_000,
    connections_from_loopback=20,
)
LARGE = b"x" * 20_000_000


class Echo:
    """Answers how many bytes it got; ``/large`` with more than any socket holds, ``/wait`` never."""

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self.calls = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        size = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.left.set()
                return
            size += len(message["body"])
            more = message["more_body"]
        body = LARGE if scope["path"] == "/large" else b"%d" % size
        if scope["path"] == "/wait":
            await receive()
            self.left.set()
            return
        headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture(
    scope="module", params=[asyncio.DefaultEventLoopPolicy, uvloop.EventLoopPolicy], ids=["asyncio", "uvloop"]
)
def event_loop_policy(request: pytest.FixtureRequest) -> asyncio.AbstractEventLoopPolicy:
    """Transports differ between the loops; the server runs on uvloop where there is one."""
    policy: asyncio.AbstractEventLoopPolicy = request.param()
    return policy


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def port(echo: Echo) -> AsyncIterator[int]:
    bound = bind("127.0.0.1", 0)
    listener = Listener(echo, bound, LIMITS)
    await listener.start()
    yield bound.getsockname()[1]
    listener.close()
    listener.abort()
    await asyncio.wait_for(listener.finished(), 10)


def check(reply: Reply, status: int, code: str) -> None:
    assert reply.status == status
    problem = reply.problem()
    assert problem.code == code
    assert problem.help
    assert reply.headers["connection"] == "close"


async def test_ordinary_requests_pass_on_one_connection(port: int) -> None:
    wire = await connect(port)
    for size in (0, 10, 99_999):
        await wire.send(request("POST", "/", b"x" * size))
        assert (await wire.reply()).body == b"%d" % size
    await wire.close()


async def test_a_silent_connection_ends(port: int) -> None:
    wire = await connect(port)
    assert 0.3 < await timed(wire.ended()) < 5


@pytest.mark.parametrize("start", [b"G", b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-drip: "])
async def test_slow_headers_are_refused_however_they_drip(port: int, start: bytes) -> None:
    wire = await connect(port)
    await wire.send(start)
    reply = asyncio.ensure_future(wire.reply())
    while not reply.done():
        await wire.send(b"a" if b":" in start else b"")
        await asyncio.wait((reply,), timeout=0.05)
    check(reply.result(), 408, "request_timeout")
    assert await wire.ended() == b""


async def test_blank_lines_do_not_keep_a_connection(port: int) -> None:
    wire = await connect(port)
    await wire.send(request("GET", "/"))
    await wire.reply()
    ended = asyncio.ensure_future(wire.ended())
    while not ended.done():
        await wire.send(b"\r\n")
        await asyncio.wait((ended,), timeout=0.05)


async def test_a_kept_connection_ends_when_it_stays_idle(port: int) -> None:
    wire = await connect(port)
    await wire.send(request("GET", "/"))
    await wire.reply()
    assert 0.8 < await timed(wire.ended()) < 5


async def test_a_body_that_never_begins_is_refused(port: int, echo: Echo) -> None:
    wire = await connect(port)
    await wire.send(request("POST", "/", headers={"content-length": "10"}))
    check(await wire.reply(), 408, "request_timeout")
    await asyncio.wait_for(echo.left.wait(), 5)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_dripping_body_is_refused(port: int, echo: Echo, chunked: bool) -> None:
    wire = await connect(port)
    how = {"transfer-encoding": "chunked"} if chunked else {"content-length": "5000"}
    head = request("POST", "/", headers=how)
    await wire.send(head.replace(b"content-length: 0\r\n", b"") if chunked else head)
    reply = asyncio.ensure_future(wire.reply())
    while not reply.done():
        await wire.send(b"1\r\nx\r\n" if chunked else b"x")
        await asyncio.wait((reply,), timeout=0.05)
    check(reply.result(), 408, "request_timeout")
    await asyncio.wait_for(echo.left.wait(), 5)


async def test_a_body_in_pieces_passes_when_it_keeps_its_pace(port: int) -> None:
    wire = await connect(port)
    await wire.send(request("POST", "/", headers={"content-length": "8000"}))
    for _ in range(8):
        await wire.send(b"x" * 1000)
        await asyncio.sleep(0.1)
    assert (await wire.reply()).body == b"8000"
    await wire.close()


async def test_a_steady_body_still_has_a_last_moment(port: int) -> None:
    wire = await connect(port)
    await wire.send(request("POST", "/", headers={"content-length": "99999"}))
    reply = asyncio.ensure_future(wire.reply())
    while not reply.done():
        await wire.send(b"x" * 200)
        await asyncio.wait((reply,), timeout=0.05)
    check(reply.result(), 408, "request_timeout")


async def test_a_reader_that_takes_nothing_loses_its_reply(port: int) -> None:
    wire = await connect(port, receive_buffer=4096)
    await wire.send(request("GET", "/large"))
    await asyncio.sleep(1.2)
    assert len(await asyncio.wait_for(wire.ended(), 20)) < len(LARGE)


async def test_a_reader_that_keeps_reading_gets_all(port: int) -> None:
    wire = await connect(port)
    await wire.send(request("GET", "/large"))
    assert len((await wire.reply()).body) == len(LARGE)
    await wire.close()


@pytest.mark.parametrize(
    ("path", "limit"), [("/", 100_000), ("/api/v1/jobs/batch", 400_000), ("/api/v1/jobs/settle", 400_000)]
)
async def test_too_large_a_body_is_refused_before_it_is_read(port: int, echo: Echo, path: str, limit: int) -> None:
    assert (await exchange(port, request("POST", path, b"x" * limit))).body == b"%d" % limit
    wire = await connect(port)
    await wire.send(request("POST", path, headers={"content-length": str(limit + 1)}))
    check(await wire.reply(), 413, "too_large")
    assert echo.calls == 1


async def test_too_large_a_body_is_read_by_a_client_that_sends_it_all_first(port: int) -> None:
    wire = await connect(port)
    await wire.send(request("POST", "/", b"x" * 2_000_000))
    check(await wire.reply(), 413, "too_large")


async def test_a_streamed_body_ends_at_the_limit(port: int, echo: Echo) -> None:
    wire = await connect(port)
    head = request("POST", "/", headers={"transfer-encoding": "chunked"}).replace(b"content-length: 0\r\n", b"")
    await wire.send(head + b"".join(b"2710\r\n" + b"x" * 10_000 + b"\r\n" for _ in range(12)))
    check(await wire.reply(), 413, "too_large")
    await asyncio.wait_for(echo.left.wait(), 5)


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 40_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"a" * 400_000,
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"".join(b"x-%d: 1\r\n" % number for number in range(101)) + b"\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"".join(b"x-%d: 1\r\n" % number for number in range(10_000)) + b"\r\n",
    ],
    ids=["path", "one header", "endless header", "101 headers", "10,000 headers"],
)
async def test_large_heads_are_refused(port: int, echo: Echo, head: bytes) -> None:
    check(await exchange(port, head), 431, "headers_too_large")
    assert echo.calls == 0


MALFORMED = {
    "no http": b"hello\r\n\r\n",
    "http/2 prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "both lengths": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
    "negative length": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    "signed length": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +3\r\n\r\nabc",
    "huge length": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    "folding": b"GET / HTTP/1.1\r\nhost: a\r\nx: 1\r\n 2\r\n\r\n",
    "bare lf": b"GET / HTTP/1.1\nhost: a\n\n",
    "space before colon": b"GET / HTTP/1.1\r\nhost : a\r\n\r\n",
    "nul in header": b"GET / HTTP/1.1\r\nhost: a\x00b\r\n\r\n",
    "bad chunk": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "chunked twice": b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, chunked\r\n\r\nzz\r\n",
    "authority form": b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: a\r\n\r\n",
    "raw bytes in path": b"GET /\xff\xfe HTTP/1.1\r\nhost: a\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_http_is_refused_with_our_body(port: int, echo: Echo, data: bytes) -> None:
    reply = await exchange(port, data)
    assert reply.status in (400, 413)
    check(reply, reply.status, "invalid_request" if reply.status == 400 else "too_large")


async def test_a_refusal_is_never_taken_for_an_earlier_reply(port: int) -> None:
    wire = await connect(port)
    await wire.send(request("GET", "/wait") + b"nonsense\r\n\r\n")
    assert await wire.ended() == b""


async def test_an_upgrade_is_not_offered(port: int) -> None:
    wire = await connect(port)
    await wire.send(request("GET", "/", headers={"connection": "upgrade", "upgrade": "websocket"}) + b"\x81\x05hello")
    assert (await wire.reply()).status == 200
    assert await wire.ended() == b""


async def test_connections_of_one_address_are_counted(port: int) -> None:
    wires = [await connect(port) for _ in range(LIMITS.connections_from_loopback)]
    over = await connect(port)
    reply = await over.reply()
    check(reply, 503, "unavailable")
    assert reply.headers["retry-after"] == "1"
    await over.ended()
    for wire in wires:
        await wire.close()
    # the closing of those is seen by the server in its own time; until then one more is one too many
    async with asyncio.timeout(10):
        while (await exchange(port, request("GET", "/"))).status != 200:
            pass


async def test_a_client_that_leaves_is_noticed(port: int, echo: Echo) -> None:
    wire = await connect(port)
    await wire.send(request("GET", "/wait"))
    await wire.close()
    await asyncio.wait_for(echo.left.wait(), 5)
