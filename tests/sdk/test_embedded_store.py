"""A store in this process: shared by threads, loops, applications and processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import roost
from roost.embedded import AsyncLocalTransport, Embedded
from roost.engine.opening import open_store
from roost.errors import NotFound, StoreError, StoreOwned, UniqueConflict
from roost.sdk._async.client import AsyncClient
from roost.service.ids import system_rng


def make(url: str) -> tuple[roost.App, roost.JobFunction[..., object, int]]:
    app = roost.App(url)

    @app.job(name="add", unique=roost.Unique("a"))
    async def add(a: int, b: int = 2) -> int:
        return a + b

    return app, add


@pytest.fixture
def url(sqlite_path: Path) -> str:
    return f"sqlite:///{sqlite_path}"


async def test_enqueued_run_and_answered(url: str) -> None:
    app, add = make(url)
    handle = await add.enqueue(1, b=4)
    assert await handle.status() is roost.State.READY
    await app.run_worker(until="idle")
    assert await handle.result(timeout=5) == 5
    assert handle.result_sync(timeout=5) == 5
    with pytest.raises(roost.errors.ResultTimeout):
        await (await add.enqueue(2)).result(timeout=0.05)
    await app.aclose()


async def test_a_duplicate_returns_the_same_job_and_another_input_is_a_conflict(url: str) -> None:
    app, add = make(url)
    first, again = await add.enqueue(1), add.enqueue_sync(1)
    assert (again, again.duplicate, first.duplicate) == (first, True, False)
    with pytest.raises(UniqueConflict):
        await add.enqueue(1, b=9)
    with pytest.raises(UniqueConflict) as refused:
        await add.enqueue_many([(5,), (1, 9), (6,)])
    assert refused.value.path.startswith("jobs[1]")
    assert len((await app.client.jobs.list()).jobs) == 3
    await app.aclose()


async def test_many_are_stored_in_order(url: str) -> None:
    app, add = make(url)
    handles = await add.enqueue_many((number,) for number in range(2500))
    ids = [handle.id for handle in handles]
    assert ids == sorted(ids)
    assert len(set(ids)) == 2500
    assert (await app.client.queues.get("default")).ready == 2500
    await app.aclose()


async def test_a_failed_job_is_told_with_its_error(url: str) -> None:
    app = roost.App(url)

    @app.job(retries=0)
    def fail() -> None:
        raise ValueError("not today")

    handle = await fail.enqueue()
    await app.run_worker(until="idle")
    with pytest.raises(roost.JobFailed, match=r"failed.*ValueError: not today"):
        await handle.result(timeout=5)
    with pytest.raises(NotFound):
        await app.client.jobs.get(handle.id + 1)
    await app.aclose()


def test_threads_and_event_loops_share_one_store(url: str) -> None:
    apps = [make(url) for _ in range(4)]

    def enqueue(number: int) -> int:
        add = apps[number % 4][1]
        if number % 2:
            return add.enqueue_sync(number).id

        async def on_a_loop_of_its_own() -> int:
            return (await add.enqueue(number)).id

        return asyncio.run(on_a_loop_of_its_own())

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(enqueue, range(64)))
    assert len(set(ids)) == 64
    stores = {app.connection.store for app, _ in apps}
    assert len(stores) == 1
    (store,) = stores
    for app, _ in apps[:3]:
        app.close()
    assert apps[3][1].enqueue_sync(64).id not in ids
    apps[3][0].close()
    with pytest.raises(StoreError, match="closed"):
        _ = store.runtime


async def test_a_store_in_memory_is_the_applications_own() -> None:
    one, add_one = make("sqlite://:memory:")
    other, _ = make("sqlite://:memory:")
    await add_one.enqueue(1)
    assert len(one.sync_client.jobs.list().jobs) == 1
    assert (await other.client.jobs.list()).jobs == []
    await one.aclose()
    await other.aclose()


async def test_a_claim_that_is_given_up_leaves_its_jobs_to_others(url: str) -> None:
    app, add = make(url)
    waiting = asyncio.create_task(app.client.jobs.claim("w1", ["default"], wait="30s"))
    await asyncio.sleep(0.1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    handle = await add.enqueue(1)
    claimed = await app.client.jobs.claim("w2", ["default"], wait="5s")
    assert [lease.id for lease in claimed.jobs] == [handle.id]
    await app.aclose()


async def test_closing_wakes_those_who_wait_and_refuses_the_rest(url: str) -> None:
    transport = AsyncLocalTransport.open(url)
    client = AsyncClient(transport)
    waiting = asyncio.create_task(client.jobs.claim("w1", ["default"], wait="30s"))
    await asyncio.sleep(0.1)
    await asyncio.to_thread(transport.embedded.close)
    assert (await asyncio.wait_for(waiting, 5)).jobs == []
    with pytest.raises(StoreError, match="closed"):
        await asyncio.wait_for(client.server.info(), 5)


def test_a_worker_in_another_process_hears_of_new_jobs_within_a_moment(url: str, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(WORKER.format(url=url))
    worker = subprocess.Popen([sys.executable, "other.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "working\n"
        app, add = make(url)
        assert [add.enqueue_sync(number).result_sync(timeout=10) for number in range(3)] == [2, 3, 4]
        app.close()
    finally:
        worker.terminate()
        worker.communicate(timeout=20)


WORKER = """
import asyncio, roost
app = roost.App("{url}")
@app.job(name="add")
async def add(a: int, b: int = 2) -> int:
    return a + b
async def main():
    worker = await app.worker()
    print("working", flush=True)
    await worker.run()
asyncio.run(main())
"""


def test_a_forked_child_opens_the_store_for_itself(url: str) -> None:
    app, add = make(url)
    before = add.enqueue_sync(1)
    child = os.fork()
    if child == 0:
        # Whatever happens, the child must not go on with the test run.
        try:
            ok = add.enqueue_sync(2).id != before.id and add.enqueue_sync(1).duplicate
            os._exit(0 if ok else 1)
        except BaseException:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert add.enqueue_sync(2).duplicate
    assert not add.enqueue_sync(3).duplicate
    app.close()


def test_a_forked_child_cannot_use_its_parents_memory() -> None:
    app, add = make("sqlite://:memory:")
    add.enqueue_sync(1)
    child = os.fork()
    if child == 0:
        try:
            add.enqueue_sync(2)
        except StoreError:
            os._exit(0)
        except BaseException:
            os._exit(2)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    app.close()


def test_a_file_that_a_server_owns_is_refused_with_the_servers_url(url: str) -> None:
    store = open_store(url, "server", rng=system_rng)
    threads = set(threading.enumerate())
    try:
        store.publish_url("http://127.0.0.1:7667")
        with pytest.raises(StoreOwned, match=r"http://127\.0\.0\.1:7667"):
            Embedded.open(url)
    finally:
        store.close()
    assert not [thread for thread in set(threading.enumerate()) - threads if thread.name == "roost-embedded"]
    Embedded.open(url).release()


async def test_schedules_are_stored_once_and_only_written_when_they_changed(url: str) -> None:
    apps: list[roost.App] = []

    def declare(every: str) -> roost.App:
        app = roost.App(url)
        apps.append(app)

        @app.schedule(every=every, name="tick", overlap="allow")
        async def tick() -> None: ...

        return app

    first = declare("10m")
    assert await first.sync_schedules() == ["tick"]
    stored = await first.client.schedules.get("tick")
    assert await declare("10m").sync_schedules() == []
    assert await first.client.schedules.get("tick") == stored
    assert await declare("20m").sync_schedules() == ["tick"]
    assert (await first.client.schedules.get("tick")).rule.every == "20m"
    for app in apps:
        await app.aclose()
