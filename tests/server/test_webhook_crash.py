"""A server that is killed while it sends: every event comes, under the id it had before."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import roost
from roost.wire.contract import ENQUEUE_MANY
from roost.wire.jobs import EnqueueJobs, NewJob
from tests.support.receiver import Answer, Message, receiving

pytestmark = pytest.mark.feature("webhooks-out")

JOBS = 300
KILLS = 2


@asynccontextmanager
async def server(store: str, folder: Path) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    """The URL of a server process; killed in the end."""
    port_file = folder / "url"
    port_file.unlink(missing_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
    words = ["server", "--store", store, "--port", "0", "--port-file", str(port_file), "--webhook-allow", "127.0.0.0/8"]
    words += ["--webhook-timeout", "500ms"]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "roost.cli.main", *words], env=kept, stdout=log, stderr=log)
    try:
        for _ in range(2000):
            if port_file.exists():
                break
            assert process.poll() is None, (folder / "server.log").read_text()
            await asyncio.sleep(0.01)
        yield port_file.read_text().strip(), process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


async def test_killed_while_it_sends(store_url: str, tmp_path: Path) -> None:
    kill = asyncio.Event()
    seen: set[str] = set()
    quota = JOBS // (KILLS + 1)

    def answer(message: Message) -> Answer:
        seen.add(message.id)
        if len(seen) >= quota:
            kill.set()
            return None  # whatever was being sent when it died was not answered
        return "204 OK"

    async with receiving(answer) as receiver:
        ids: list[int] = []
        for number in range(KILLS + 1):
            async with server(store_url, tmp_path) as (url, process), roost.AsyncClient.connect(url) as client:
                if number == 0:
                    await client.webhooks.put("main", receiver.url, events=["created"])
                new = [NewJob(kind="work") for _ in range(JOBS // (KILLS + 1))]
                ids += [job.id for job in (await client.call(ENQUEUE_MANY, EnqueueJobs(jobs=new))).jobs]
                if number == KILLS:
                    quota = 10**9
                    await receiver.until(lambda messages, ids=ids: _accepted(messages) >= set(ids), seconds=90)
                    webhook = await client.webhooks.get("main")
                else:
                    async with asyncio.timeout(60):
                        await kill.wait()
                    process.send_signal(signal.SIGKILL)
                    process.wait()
                    kill.clear()
                    quota = len(seen) + JOBS // (2 * (KILLS + 1))
    messages = {message.id: message for message in receiver.messages}
    told = [message.event["job"]["id"] for message in messages.values()]
    assert sorted(told) == sorted(ids), "each event has one id, and each id one event"
    for message in receiver.messages:
        assert message.body == messages[message.id].body
    assert len(receiver.messages) > len(messages), "no kill hit a delivery: this run showed nothing"
    assert webhook.failed == 0


def _accepted(messages: list[Message]) -> set[int]:
    return {message.event["job"]["id"] for message in messages}
