"""Handlers and workers that die, are killed or interrupted, through a server and embedded, on both engines."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

import roost
from roost.sdk.connection import Connection
from tests.e2e import programs
from tests.e2e.stand import SECONDS, Stand, ended, eventually, http_server, open_hold, until, working

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def isolated(stand: Stand) -> AsyncIterator[roost.App]:
    """The importable program, on the stand."""
    with programs.app.connected_to(Connection(lambda: stand.url)):
        yield programs.app
        await programs.app.aclose()


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody has collected yet has, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.feature("quarantine")
@pytest.mark.feature("batches")
async def test_poison_is_held_with_its_signal_and_blocks_neither_batch_nor_neighbours(
    isolated: roost.App, queue: str, tmp_path: Path
) -> None:
    cure = tmp_path / "cured"
    poison = programs.poison.options(queue=queue)
    async with isolated.batch("pages") as batch:
        handles = await batch.add_many([poison.call(number, str(cure)) for number in range(4)])
    async with working(isolated, queue, concurrency=2):
        finished = await batch.wait(timeout=SECONDS)
        assert (finished.succeeded, finished.quarantined) == (3, 1)
        held = await until(isolated, handles[2].id, "held")
        assert (held.reason, held.failures, [one.outcome for one in held.attempts]) == (
            "quarantine",
            3,
            ["failed"] * 3,
        )
        hold = await open_hold(isolated, handles[2].id)
        shown = msgspec.json.decode(hold.subject)
        assert shown["last"]["message"].startswith("killed by SIGSEGV, peak memory ")
        # Approved without a cure it dies once more, and is held at once.
        await isolated.client.holds.approve(hold.id, hold.subject_hash, actor="ana")

        async def held_again() -> bool:
            holds = (await isolated.client.holds.list(job=handles[2].id)).holds
            return [one.id for one in holds] not in ([], [hold.id])

        await eventually(held_again, "it is held again")
        again = await open_hold(isolated, handles[2].id)
        assert again.title == "4 workers died under it"
        cure.touch()
        await isolated.client.holds.approve(again.id, again.subject_hash, actor="ana")
        assert await handles[2].result(timeout=SECONDS) == 2


@pytest.mark.feature("cancel-move-clone")
@pytest.mark.feature("time-limits")
@pytest.mark.parametrize("by", ["cancel", "time limit"])
async def test_a_deaf_process_is_killed(isolated: roost.App, queue: str, tmp_path: Path, by: str) -> None:
    path = tmp_path / "pid"
    job = programs.deaf if by == "cancel" else programs.deaf_in_time
    handle = await job.options(queue=queue).enqueue(str(path))
    async with working(isolated, queue, lease="1s"):

        async def runs() -> bool:
            return path.exists() and bool(path.read_text())

        await eventually(runs, "it runs")
        if by == "cancel":
            await handle.cancel()
        job_ended = await ended(isolated, handle.id)
    expected = ("cancelled", "requested") if by == "cancel" else ("failed", "time_limit")
    assert (job_ended.state, job_ended.reason) == expected
    assert gone(int(path.read_text()))


@pytest.mark.feature("resume")
@pytest.mark.feature("shutdown")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_an_interrupted_job_is_no_failure_and_goes_on_where_it_was(
    store_url: str, tmp_path: Path, number: signal.Signals
) -> None:
    notes = tmp_path / "notes"
    with http_server(store_url) as url, programs.app.connected_to(Connection(lambda: url)):
        app = programs.app
        retries = roost.RetryRule(retries=1 if number is signal.SIGKILL else 0)
        handle = await programs.two_steps.options(queue="steps", retry=retries).enqueue(str(notes))
        words = ["worker", "tests.e2e.programs:app", "--url", url, "-q", "steps", "--grace", "100ms", "--lease", "1s"]
        worker = subprocess.Popen([sys.executable, "-m", "roost.cli.main", *words], cwd=ROOT, env={**os.environ})
        try:

            async def in_the_second() -> bool:
                return notes.exists() and notes.read_text().split() == ["one", "two"]

            await eventually(in_the_second, "the second step runs")
            worker.send_signal(number)
            code = await asyncio.to_thread(worker.wait, SECONDS)
        finally:
            if worker.poll() is None:
                worker.kill()
                worker.wait()
        assert code == (-number if number is signal.SIGKILL else 0)
        if number is not signal.SIGKILL:
            job = await until(app, handle.id, "ready")
            assert (job.failures, job.attempts[0].outcome) == (0, "released")
        async with working(app, "steps"):
            assert await handle.result(timeout=SECONDS) == ["one", "two"]
        assert notes.read_text().split() == ["one", "two", "two"]
        await app.aclose()
