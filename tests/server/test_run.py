"""Starting and ending a server: a real process, real signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from roost.errors import ConfigurationError, StoreOwned
from roost.server import run
from roost.server.run import EXIT_FORCED, EXIT_STORE_FAILED, Stop, serve
from roost.server.settings import Settings
from roost.service.runtime import Runtime
from roost.wire.attempts import Claimed
from roost.wire.codec import decode
from tests.server.raw import Wire, call, connect, request

API = "/api/v1"
PROGRAM = """
import sys
from roost.server.run import run
from roost.server.settings import Settings
sys.exit(run(Settings(port=0, store=sys.argv[1], port_file=sys.argv[2], grace=sys.argv[3], writer=sys.argv[4])))
"""
CLAIM = b'{"worker":"w","queues":["default"],"wait":"50s"}'


@contextlib.asynccontextmanager
async def program(
    store: str, folder: Path, grace: str = "10s", writer: str = "thread"
) -> AsyncIterator[tuple[Any, int]]:
    """A server's process and its port; killed when the test leaves it running."""
    place = folder / "port"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROGRAM, store, str(place), grace, writer)
    try:
        async with asyncio.timeout(60):
            while not place.exists():
                assert process.returncode is None, "the server ended by itself"
                await asyncio.sleep(0.02)
        yield process, int(place.read_text().rpartition(":")[2])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def waiting_claim(port: int) -> Wire:
    """A claim that the server has begun to wait with: a call after it on the same loop was answered."""
    wire = await connect(port)
    await wire.send(request("POST", f"{API}/jobs/claim", CLAIM))
    await call(port, "GET", f"{API}/queues")
    return wire


@pytest.mark.parametrize("writer", ["thread", "process"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains(store_url: str, tmp_path: Path, number: signal.Signals, writer: str) -> None:
    async with program(store_url, tmp_path, writer=writer) as (process, port):
        wire = await waiting_claim(port)
        idle = await connect(port)
        await idle.send(request("GET", f"{API}/health/live"))
        assert (await idle.reply()).status == 200
        half = await connect(port)
        body = b'{"kind":"k"}'
        await half.send(
            request(
                "POST", f"{API}/jobs", headers={"content-length": str(len(body)), "content-type": "application/json"}
            )
        )
        await call(port, "GET", f"{API}/queues")
        started = time.monotonic()
        process.send_signal(number)
        reply = await wire.reply()
        assert (reply.status, decode(reply.body, Claimed).jobs) == (200, [])
        assert await idle.ended() == b""
        await half.send(body)
        assert (await half.reply()).status == 201
        assert await asyncio.wait_for(process.wait(), 20) == 0
        assert time.monotonic() - started < 20


async def test_nothing_acknowledged_is_lost_by_a_drain_under_load(store_url: str, tmp_path: Path) -> None:
    acknowledged: list[int] = []

    async def client(port: int) -> None:
        wire = await connect(port)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await wire.send(request("POST", f"{API}/jobs", b'{"kind":"k"}'))
                reply = await wire.reply()
                if reply.status != 201:
                    return
                acknowledged.append(reply.json()["id"])  # type: ignore[index]

    async with program(store_url, tmp_path) as (process, port):
        clients = [asyncio.ensure_future(client(port)) for _ in range(8)]
        while len(acknowledged) < 200:
            await asyncio.sleep(0.01)
        process.terminate()
        await asyncio.gather(*clients)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    (tmp_path / "port").unlink()
    async with program(store_url, tmp_path) as (_, port):
        for job in acknowledged[-50:]:
            assert (await call(port, "GET", f"{API}/jobs/{job}")).status == 200
        assert len(set(acknowledged)) == len(acknowledged)


async def test_a_second_signal_ends_at_once(sqlite_path: Path, tmp_path: Path) -> None:
    async with program(f"sqlite:///{sqlite_path}", tmp_path, grace="60s") as (process, port):
        half = await connect(port)
        await half.send(request("POST", f"{API}/jobs", headers={"content-length": "12"}) + b"{")
        await call(port, "GET", f"{API}/health/live")
        process.terminate()
        # the listening socket closes when the first signal is heard
        async with asyncio.timeout(10):
            while True:
                try:
                    await (await connect(port)).close()
                except ConnectionError:
                    break
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 5) == EXIT_FORCED


async def test_grace_ends_a_drain_that_does_not_end(sqlite_path: Path, tmp_path: Path) -> None:
    async with program(f"sqlite:///{sqlite_path}", tmp_path, grace="500ms") as (process, port):
        half = await connect(port)
        await half.send(request("POST", f"{API}/jobs", headers={"content-length": "12"}) + b"{")
        await call(port, "GET", f"{API}/health/live")
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 5) == EXIT_FORCED


async def test_a_failed_store_ends_the_process_with_70(sqlite_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Runtime] = []

    class Watched(Runtime):
        def __init__(self, *args: Any, **fields: Any) -> None:
            super().__init__(*args, **fields)
            made.append(self)

    monkeypatch.setattr(run, "Runtime", Watched)
    settings = Settings(port=0, store=f"sqlite:///{sqlite_path}")
    assert await serve(settings, ready=lambda _: made[0].fatal.set()) == EXIT_STORE_FAILED
    await made[0].stop()


async def test_a_store_has_one_server(sqlite_path: Path, tmp_path: Path) -> None:
    async with program(f"sqlite:///{sqlite_path}", tmp_path) as (_, port):
        with pytest.raises(StoreOwned) as caught:
            await serve(Settings(port=0, store=f"sqlite:///{sqlite_path}"))
        assert f"http://127.0.0.1:{port}" in str(caught.value)


async def test_a_taken_port_is_told(sqlite_path: Path, tmp_path: Path) -> None:
    async with program(f"sqlite:///{sqlite_path}", tmp_path) as (_, port):
        with pytest.raises(ConfigurationError, match="--port 0"):
            await serve(Settings(port=port, store=f"sqlite:///{tmp_path / 'other.db'}"))


async def test_others_are_kept_out_before_anything_is_opened(tmp_path: Path) -> None:
    store = tmp_path / "never.db"
    with pytest.raises(ConfigurationError, match="insecure"):
        await serve(Settings(host="::", port=0, store=f"sqlite:///{store}"))
    assert not store.exists()


async def test_a_server_that_cannot_say_where_it_is_does_not_stay(sqlite_path: Path, tmp_path: Path) -> None:
    settings = Settings(port=0, store=f"sqlite:///{sqlite_path}", port_file=str(tmp_path / "nowhere" / "port"))
    with pytest.raises(ConfigurationError, match="cannot write"):
        await serve(settings)
    stop = Stop()
    assert await serve(Settings(port=0, store=f"sqlite:///{sqlite_path}"), ready=lambda _: stop.begin(), stop=stop) == 0
