"""Servers as processes: they share a database, die, and end in order, and nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

import roost
from roost.errors import RoostError
from roost.wire.jobs import NewJob
from tests.e2e.stand import SECONDS, ended, eventually, working

pytestmark = pytest.mark.feature("shutdown")

GRACE = 10.0
NO_PATIENCE = roost.Patience(seconds=0.0)


@contextmanager
def server(store_url: str, folder: Path, name: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """``roost server`` and its URL; killed where the test has not ended it."""
    port_file, log = folder / f"{name}.url", folder / f"{name}.log"
    port_file.unlink(missing_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ROOST_")}
    words = ["server", "--store", store_url, "--port", "0", "--port-file", str(port_file), "--grace", f"{GRACE:g}s"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "roost.cli.main", *words], cwd=folder, env=kept, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + SECONDS
        while not port_file.exists():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        yield process, port_file.read_text().strip()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def test_sigterm_under_load_exits_in_time_and_loses_nothing(store_url: str, tmp_path: Path) -> None:
    acknowledged: list[int] = []
    ran: Counter[int] = Counter()
    stopping = asyncio.Event()
    with server(store_url, tmp_path, "first") as (process, url):
        app = roost.App(url, patience=NO_PATIENCE)

        @app.job(name="count", queue="load", retries=0)
        async def count(number: int) -> int:
            ran[number] += 1
            return number

        async def load(client: roost.AsyncClient, place: int) -> None:
            number = place
            while True:
                try:
                    acknowledged.append((await client.jobs.enqueue(count.new_job(number))).id)
                except RoostError:
                    # Not acknowledged: it may be there or not.
                    if stopping.is_set():
                        return
                    raise
                number += 8

        loaders = [asyncio.create_task(load(app.client, place)) for place in range(8)]
        worker = await app.worker(queues=["load"], grace=0.5, lease="2s")
        working_on = asyncio.create_task(worker.run())

        async def busy() -> bool:
            return len(acknowledged) > 200 and len(ran) > 50

        await eventually(busy, "there is load")
        stopping.set()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(process.wait, GRACE + 5)
        assert (code, time.monotonic() - began < GRACE) == (0, True), (tmp_path / "first.log").read_text()
        await asyncio.wait_for(asyncio.gather(*loaders), SECONDS)
        worker.stop()
        await asyncio.wait_for(working_on, SECONDS)
        await app.aclose()
    with server(store_url, tmp_path, "second") as (process, url):
        app = roost.App(url)

        @app.job(name="count", queue="load")
        async def count_again(number: int) -> int:
            return number

        assert len(set(acknowledged)) == len(acknowledged)
        async with working(app, "load"):

            async def taken() -> bool:
                return (await app.client.queues.get("load")).ready == 0

            await eventually(taken, "the rest is run")
        states = Counter([(await app.client.jobs.get(id)).state for id in acknowledged])
        # What the worker had in hand when the server ended keeps its lease for a while, in a server that is just back.
        assert set(states) <= {"succeeded", "running"}
        assert states[roost.State.RUNNING] <= 200
        await app.aclose()
        process.send_signal(signal.SIGTERM)
        assert process.wait(GRACE + 5) == 0


async def test_two_servers_on_one_database_share_work_while_one_is_killed(postgres_url: str, tmp_path: Path) -> None:
    jobs = 120
    effects: Counter[int] = Counter()
    by: Counter[str] = Counter()

    def program(url: str, name: str) -> roost.App:
        app = roost.App(url, patience=roost.Patience(seconds=2.0))

        @app.job(name="work", queue="work")
        async def work(number: int) -> int:
            await asyncio.sleep(0.02)
            effects[number] += 1
            by[name] += 1
            return number

        return app

    with server(postgres_url, tmp_path, "one") as (one, first), server(postgres_url, tmp_path, "two") as (_, second):
        left, right = program(first, "left"), program(second, "right")
        workers = [await app.worker(queues=["work"], concurrency=2, lease="2s", grace=0.5) for app in (left, right)]
        running = [asyncio.create_task(worker.run()) for worker in workers]
        new = [
            NewJob(kind="work", queue="work", input=msgspec.Raw(b'{"number":%d}' % number)) for number in range(jobs)
        ]
        ids = [each.id for each in await left.client.jobs.enqueue_many(new)]

        async def both() -> bool:
            return by["left"] >= 10 and by["right"] >= 10

        await eventually(both, "both servers' workers have work")
        assert sum(effects.values()) < jobs
        one.kill()
        for id in ids:
            job = await ended(right, id)
            assert (job.state, bytes(job.result or b"")) == ("succeeded", str(ids.index(id)).encode())
        # Only what the killed server's worker had in hand can have run twice.
        assert set(effects) == set(range(jobs))
        assert sum(effects.values()) <= jobs + 2 * 2 + 20
        for worker in workers:
            worker.stop()
        await asyncio.wait_for(asyncio.gather(*running), SECONDS)
        for app in (left, right):
            await app.aclose()
