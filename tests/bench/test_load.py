"""The load client against a server that misbehaves in chosen ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from roost.bench.load import Pool, Requests
from roost.errors import NotFound, Unavailable
from roost.wire.contract import ENQUEUE

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[tuple[Requests, list[bytes]]]:
    """A server that gives these answers, one to each request, and the requests' heads it got."""
    heads: list[bytes] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            head = await reader.readuntil(b"\r\n\r\n")
            heads.append(head)
            await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            await left.pop(0)(writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield Requests(f"http://127.0.0.1:{port}"), heads


def reply(status: str, body: bytes, head: bytes = b"") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 " + status.encode() + b"\r\n" + head)
        writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    return answer


async def in_pieces(writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nwhole":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 5\r\n\r\nwh")
    await writer.drain()
    writer.close()


async def test_answers_are_put_together_and_connections_kept() -> None:
    async with serving(in_pieces, reply("200 OK", b"")) as (requests, heads), Pool(requests, 1) as pool:
        request = requests.of(ENQUEUE, b"{}")
        assert await pool.connections[0].call(request) == b"whole"
        assert await pool.connections[0].call(request) == b""
        assert [head.split(b"\r\n")[0] for head in heads] == [b"POST /api/v1/jobs HTTP/1.1"] * 2


async def test_a_full_server_is_asked_again() -> None:
    full = reply("429 Too Many Requests", b'{"error":{"code":"overloaded","message":"full","retry_after":0.01}}')
    async with serving(full, reply("201 Created", b"done")) as (requests, heads), Pool(requests, 1) as pool:
        assert await pool.connections[0].call(requests.of(ENQUEUE, b"{}")) == b"done"
        assert len(heads) == 2


async def test_a_refusal_is_raised_as_its_error() -> None:
    refused = reply("404 Not Found", b'{"error":{"code":"not_found","message":"no such job"}}')
    async with serving(refused) as (requests, _), Pool(requests, 1) as pool:
        with pytest.raises(NotFound, match="no such job"):
            await pool.connections[0].call(requests.of(ENQUEUE, b"{}"))


async def test_a_lost_answer_is_an_error() -> None:
    async with serving(hang_up) as (requests, _), Pool(requests, 1) as pool:
        with pytest.raises(Unavailable):
            await pool.connections[0].call(requests.of(ENQUEUE, b"{}"))


def test_named_requests_differ_in_their_operation_id_alone() -> None:
    named = Requests("http://127.0.0.1:1").named(ENQUEUE, b'{"kind":"a"}')
    first, second = next(named).split(b"\r\n"), next(named).split(b"\r\n")
    changed = [(a, b) for a, b in zip(first, second, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0][0].startswith(b"operation-id: ")
