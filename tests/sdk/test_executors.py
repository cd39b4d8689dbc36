"""Handlers in threads and in processes of their own: limits that kill, deaths that hurt nobody else."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

import roost
from roost.errors import ConfigurationError, InvalidRequest
from tests.sdk import isolated
from tests.sdk.harness import Bench


@pytest_asyncio.fixture
async def processes() -> AsyncIterator[Bench]:
    bench = Bench(app=isolated.app)
    yield bench
    await bench.close()


def gone(pid: int) -> bool:
    """Whether the process has ended; a zombie that nobody has collected yet has, too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def written(path: Path) -> str:
    async with asyncio.timeout(20):
        while not (path.exists() and path.read_text()):
            await asyncio.sleep(0.01)
    return path.read_text()


async def test_a_process_is_not_ours_and_is_used_again(processes: Bench) -> None:
    jobs = [await processes.enqueue(isolated.process_id) for _ in range(3)]
    await processes.drain(concurrency=1)
    pids = {bytes((await processes.job(job)).result or b"") for job in jobs}
    assert len(pids) == 1
    assert pids != {str(os.getpid()).encode()}
    assert gone(int(pids.pop()))


@pytest.mark.feature("quarantine")
@pytest.mark.parametrize(
    ("how", "message"),
    [("segfault", "killed by SIGSEGV"), ("exit", "exited with status 3"), ("kill", "killed by SIGKILL")],
)
async def test_a_handler_that_dies_fails_alone(processes: Bench, how: str, message: str) -> None:
    dying = await processes.enqueue(isolated.die, how)
    neighbours = [await processes.enqueue(isolated.process_id) for _ in range(2)]
    await processes.drain(concurrency=2)
    job = await processes.job(dying)
    assert (job.state, job.failures) == ("failed", 1)
    assert job.error is not None
    assert (job.error.type, message in job.error.message) == ("ProcessDied", True)
    assert [(await processes.job(one)).state for one in neighbours] == ["succeeded", "succeeded"]


async def test_a_call_that_holds_the_interpreter_lock_keeps_its_lease(processes: Bench) -> None:
    job = await processes.enqueue(isolated.hog, 3)
    async with processes.running(lease="1s"):
        ended = await processes.ended(job)
    assert (ended.state, ended.attempt, ended.failures) == ("succeeded", 1, 0)


@pytest.mark.feature("time-limits")
@pytest.mark.feature("time-limits")
async def test_a_time_limit_kills_the_process_and_what_it_started(processes: Bench, tmp_path: Path) -> None:
    job = await processes.enqueue(isolated.stubborn, str(tmp_path / "pids"))
    async with processes.running():
        ended = await processes.ended(job)
        assert (ended.state, ended.reason) == ("failed", "time_limit")
        assert ended.attempts[0].outcome == "timed_out"
        pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert [gone(pid) for pid in pids] == [True, True, True]


@pytest.mark.feature("cancel-move-clone")
async def test_a_cancel_reaches_the_process_and_lets_it_end_by_itself(processes: Bench) -> None:
    job = await processes.enqueue(isolated.until_cancelled)
    async with processes.running(lease="1s", grace=20.0):
        async with asyncio.timeout(20):
            while (await processes.job(job)).progress is None:
                await asyncio.sleep(0.01)
        await processes.client.jobs.cancel(job)
        ended = await processes.ended(job)
    assert (ended.state, ended.reason) == ("cancelled", "requested")
    assert [line.message for line in (await processes.client.jobs.logs(job)).lines] == ["noticed"]


@pytest.mark.feature("resume")
async def test_steps_recorded_from_a_process_survive_its_death(processes: Bench, tmp_path: Path) -> None:
    job = await processes.enqueue(isolated.steps, str(tmp_path / "notes"))
    async with processes.running():
        ended = await processes.ended(job)
    assert (bytes(ended.result or b""), ended.failures) == (b"[1,2]", 1)
    assert (tmp_path / "notes").read_text() == "1\n2\n"


async def test_an_async_handler_in_a_process_has_the_whole_context(processes: Bench, tmp_path: Path) -> None:
    job = await processes.enqueue(isolated.async_steps, str(tmp_path / "notes"))
    holding = await processes.enqueue(isolated.held)
    async with processes.running():
        ended = await processes.ended(job)
        assert (ended.error, bytes(ended.result or b"")) == (None, b"[1,2]")
        assert sorted((tmp_path / "notes").read_text().split()) == ["1", "2"]
        assert (await processes.until(holding, "waiting")).reason == "sleeping"
        processes.clock.advance(3601)
        await processes.until(holding, "held")
        hold = await processes.hold(holding)
        await processes.client.holds.approve(hold.id, hold.subject_hash, actor="ada")
        assert bytes((await processes.ended(holding)).result or b"") == b'"ada"'


async def test_what_a_process_prints_is_logged_within_bounds(processes: Bench) -> None:
    job, flood = await processes.enqueue(isolated.prints), await processes.enqueue(isolated.floods)
    async with processes.running():
        assert (await processes.ended(job)).state == "succeeded"
        lines = (await processes.client.jobs.logs(job)).lines
        assert sorted(line.message for line in lines) == ["to stderr", "to stdout", "unfinished"]
        assert bytes((await processes.ended(flood)).result or b"") == b'"through"'


async def test_an_unserialisable_result_is_fatal_and_says_why(processes: Bench) -> None:
    job = await processes.enqueue(isolated.unserialisable)
    await processes.drain()
    ended = await processes.job(job)
    assert (ended.state, ended.reason) == ("failed", "fatal")
    assert ended.error is not None
    assert "no JSON form" in ended.error.message


@pytest.mark.feature("shutdown")
async def test_shutdown_kills_processes_and_releases_their_jobs(processes: Bench, tmp_path: Path) -> None:
    job = await processes.enqueue(isolated.blocks, str(tmp_path / "pid"))
    async with processes.running(grace=0.1):
        pid = int(await written(tmp_path / "pid"))
    ended = await processes.job(job)
    assert (ended.state, ended.failures, ended.attempts[-1].outcome) == ("ready", 0, "released")
    assert gone(pid)


async def test_a_lost_worker_takes_its_processes_along(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from tests.sdk import isolated\n"
        "from tests.sdk.harness import Bench\n"
        "async def main():\n"
        "    bench = Bench(app=isolated.app)\n"
        "    await bench.enqueue(isolated.blocks, sys.argv[1])\n"
        "    await bench.drain()\n"
        "asyncio.run(main())\n"
    )

    worker = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tmp_path / "pid"))
    try:
        child = int(await written(tmp_path / "pid"))
        assert not gone(child)
    finally:
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
    async with asyncio.timeout(10):
        while not gone(child):
            await asyncio.sleep(0.01)


def test_a_nested_function_cannot_be_isolated() -> None:
    app = roost.App("sqlite://:memory:")

    @app.job(isolate="process")
    def nested() -> None: ...

    client = roost.AsyncClient.connect("http://127.0.0.1:1")
    with pytest.raises(ConfigurationError, match="not at the top of a module"):
        roost.Worker(app.registry, client, queues=["default"])


@pytest.mark.feature("time-limits")
async def test_a_thread_over_its_limit_is_given_up_and_its_late_result_is_dropped(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    go_on, finished = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    @bench.app.job(timeout="100ms", retries=0, name="slow")
    def slow() -> str:
        threads.append(threading.current_thread())
        go_on.wait()
        finished.set()
        return "late"

    @bench.app.job
    def quick() -> str:
        threads.append(threading.current_thread())
        return "quick"

    first = await bench.enqueue(slow)
    caplog.set_level(logging.WARNING, "roost.worker")
    async with bench.running(concurrency=1):
        ended = await bench.ended(first)
        second = await bench.enqueue(quick)
        assert (await bench.ended(second)).state == "succeeded"
        go_on.set()
        assert await asyncio.to_thread(finished.wait, 10)
        await asyncio.to_thread(threads[0].join, 10)
    assert (ended.state, ended.reason, ended.attempts[0].outcome) == ("failed", "time_limit", "timed_out")
    assert (await bench.job(first)).result is None
    assert ended.error is not None
    assert "over its time limit of 100ms; nothing can stop it, it may run on" in ended.error.message
    assert threads[0] is not threads[1]
    messages = [record.getMessage() for record in caplog.records]
    assert any("isolate='process'" in message for message in messages)
    assert any("ended at last, its result is dropped" in message for message in messages)


async def test_sync_handlers_run_beside_each_other_and_no_more_than_allowed(bench: Bench) -> None:
    meet = threading.Barrier(3, timeout=20)
    lock = threading.Lock()
    inside = most = 0

    @bench.app.job
    def together() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        meet.wait()
        with lock:
            inside -= 1

    jobs = [await bench.enqueue(together) for _ in range(9)]
    await bench.drain(concurrency=3)
    assert {(await bench.job(job)).state for job in jobs} == {"succeeded"}
    assert most == 3


async def killed(processes: Bench, job: int) -> str:
    """The message of a job whose process died."""
    ended = await processes.job(job)
    assert ended.error is not None
    assert (ended.state, ended.error.type) == ("failed", "ProcessDied")
    return ended.error.message


@pytest.mark.feature("quarantine")
async def test_a_handler_over_its_memory_limit_is_killed_and_its_neighbours_are_not(processes: Bench) -> None:
    hungry = await processes.enqueue(isolated.eats, 1000)
    modest = await processes.enqueue(isolated.eats, 40)
    neighbours = [await processes.enqueue(isolated.process_id) for _ in range(2)]
    await processes.drain(concurrency=2)
    message = await killed(processes, hungry)
    found = re.fullmatch(r"killed by SIGKILL over its memory limit of 120 MB, peak memory (\d+) MB", message)
    assert found, message
    assert 120 <= int(found[1]) < 400
    assert [(await processes.job(job)).state for job in (modest, *neighbours)] == ["succeeded"] * 3


async def test_what_a_handler_starts_counts_against_its_memory_limit(processes: Bench, tmp_path: Path) -> None:
    hungry = await processes.enqueue(isolated.eats, 200, str(tmp_path / "pid"))
    await processes.drain()
    assert "over its memory limit" in await killed(processes, hungry)
    async with asyncio.timeout(20):
        while not gone(int((tmp_path / "pid").read_text())):
            await asyncio.sleep(0.01)


async def test_the_memory_of_a_death_is_told(processes: Bench) -> None:
    dying = await processes.enqueue(isolated.takes_and_dies, 400)
    await processes.drain()
    message = await killed(processes, dying)
    found = re.fullmatch(r"killed by SIGSEGV, peak memory (\d+) MB", message)
    assert found, message
    assert 400 <= int(found[1]) < 600


@pytest.mark.feature("quarantine")
async def test_a_poison_job_is_held_after_three_deaths_and_runs_again_when_a_person_says_so(
    processes: Bench, tmp_path: Path
) -> None:
    tries = tmp_path / "tries"
    job = await processes.enqueue(isolated.poison, str(tries))
    async with processes.running():
        held = await processes.until(job, "held")
        neighbour = await processes.enqueue(isolated.process_id)
        assert (await processes.ended(neighbour)).state == "succeeded"
        assert (held.reason, held.failures, tries.read_text().split()) == ("quarantine", 3, ["tried"] * 3)
        hold = await processes.hold(job)
        assert hold.title == "3 workers died under it"
        shown = msgspec.json.decode(hold.subject)
        assert (shown["deaths"], shown["last"]["type"]) == (3, "ProcessDied")
        assert shown["last"]["message"].startswith("killed by SIGSEGV, peak memory")
        await processes.client.holds.approve(hold.id, hold.subject_hash, actor="ada")
        ended = await processes.ended(job)
    assert (ended.state, bytes(ended.result or b"")) == ("succeeded", b'"cured"')


def test_a_memory_limit_needs_a_process_and_is_a_size() -> None:
    app = roost.App("sqlite://:memory:")
    with pytest.raises(ConfigurationError, match="needs a process of its own"):
        app.job(memory="256MB")(isolated.hog_interpreter)
    for size in ("much", "1MB", -1, True):
        with pytest.raises(InvalidRequest, match="no memory limit"):
            app.job(isolate="process", memory=size)


@pytest.mark.feature("shutdown")
async def test_a_killed_worker_leaves_nothing_of_its_handlers_behind(tmp_path: Path) -> None:
    """Also what the handlers started themselves, which the death of their process alone does not reach."""
    program = tmp_path / "program.py"
    program.write_text(ORPHANS)
    notes = [tmp_path / f"pids-{number}" for number in range(3)]
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "src")])
    worker = await asyncio.create_subprocess_exec(
        sys.executable, str(program), *map(str, notes), env={**os.environ, "PYTHONPATH": paths}
    )
    try:
        pids = [int(pid) for path in notes for pid in (await written(path)).split()]
    finally:
        worker.kill()
        await worker.wait()
    assert len(pids) == 6
    async with asyncio.timeout(20):
        while not all(gone(pid) for pid in pids):
            await asyncio.sleep(0.01)


ORPHANS = """
import asyncio, sys
from tests.sdk import isolated
from tests.sdk.harness import Bench

async def main():
    bench = Bench(app=isolated.app)
    for path in sys.argv[1:]:
        await bench.enqueue(isolated.leaves_a_child, path)
    await bench.drain(concurrency=3)

asyncio.run(main())
"""
