"""Measures without a server: an app with its store in this process, and the engine with nothing around it."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import suppress

import msgspec

from roost.bench.app import NOOP
from roost.bench.stand import PAYLOAD, NotMeasured, Stand
from roost.domain.records import JobRow, Shape
from roost.domain.settle import Ending
from roost.engine.batch import Batch, ClaimAnswer, ClaimWork, EnqueueWork, SettleRow
from roost.engine.opening import open_store
from roost.engine.protocol import Engine
from roost.errors import StoreError
from roost.sdk.app import App
from roost.sdk.function import Enqueuer

_PAUSE = 0.02
_TEXT = PAYLOAD[12:-2]
_DONE = Ending(kind="succeed")
_SMALL_TRANSACTIONS = 200
"""Each costs a sync of its own; more of them measure the same disk for longer."""


def _store(stand: Stand, name: str) -> str:
    """A SQLite file of its own (the server has the other), or the same database."""
    if not stand.store:
        raise NotMeasured("needs a store of its own (no --url)")
    return f"sqlite:///{stand.folder / name}.db" if stand.engine == "sqlite" else stand.store


def embedded(stand: Stand) -> dict[str, float]:
    """Enqueues a second, one at a time, from sync code and on an event loop."""
    queue, seconds = stand.queue(), stand.sizes.seconds / 2
    app = App(_store(stand, queue))

    @app.job(name=NOOP, queue=queue)
    async def noop(payload: str) -> None: ...

    try:
        rate = _sync_rate(noop, seconds)
    finally:
        app.close()
    return {"embedded.sync": rate, "embedded.async": asyncio.run(_async_rate(app, noop, seconds))}


def _sync_rate(job: Enqueuer[[str], None], seconds: float) -> float:
    job.enqueue_sync(_TEXT)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        job.enqueue_sync(_TEXT)
        count += 1
    return count / (time.perf_counter() - began)


async def _async_rate(app: App, job: Enqueuer[[str], None], seconds: float) -> float:
    try:
        await job.enqueue(_TEXT)
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            await job.enqueue(_TEXT)
            count += 1
        return count / (time.perf_counter() - began)
    finally:
        await app.aclose()


def embedded_latency(stand: Stand) -> dict[str, float]:
    """Milliseconds from just before an enqueue until its handler starts, in a worker of the same process."""
    queue = stand.queue()
    taken = asyncio.run(_latency(App(_store(stand, queue)), queue, stand.sizes.samples))
    cuts = statistics.quantiles(taken, n=100)
    return {"embedded.p50": cuts[49] * 1000, "embedded.p99": cuts[98] * 1000}


async def _latency(app: App, queue: str, samples: int) -> list[float]:
    began, taken = 0.0, []
    started = asyncio.Event()

    @app.job(name="bench.embedded", queue=queue)
    async def start() -> None:
        taken.append(time.perf_counter() - began)
        started.set()

    worker = asyncio.ensure_future(app.run_worker(queues=[queue]))
    try:
        for sample in range(samples + 1):
            await asyncio.sleep(_PAUSE)
            started.clear()
            began = time.perf_counter()
            await start.enqueue()
            await _unless_ended(worker, started)
            if sample == 0:
                taken.clear()
    finally:
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker
        await app.aclose()
    return taken


async def _unless_ended(worker: asyncio.Future[None], event: asyncio.Event) -> None:
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait((worker, waiting), return_when=asyncio.FIRST_COMPLETED, timeout=10)
    if not waiting.done():
        waiting.cancel()
        if worker.done():
            worker.result()
        raise StoreError("the embedded worker did not start a job within 10 s")


def engine(stand: Stand) -> dict[str, float]:
    """Jobs a second of the engine's own transactions: what no server around it can pass."""
    queue = stand.queue()
    store = open_store(_store(stand, queue), "server", rng=lambda: 0.5)
    found = {}
    try:
        writer = store.engine()
        try:
            for size in (1, 64, 1000):
                jobs = max(size, min(stand.sizes.jobs, size * _SMALL_TRANSACTIONS) // size * size)
                began = time.perf_counter()
                for _ in range(jobs // size):
                    writer.apply(Batch(_now(), enqueues=[EnqueueWork([_row(queue)] * size)]))
                found[f"engine.enqueue_{size}"] = jobs / (time.perf_counter() - began)
            for size in (64, 1000):
                jobs = max(size, min(stand.sizes.jobs // 2, size * _SMALL_TRANSACTIONS) // size * size)
                began = time.perf_counter()
                _claim_and_settle(writer, queue, size, jobs)
                found[f"engine.work_{size}"] = jobs / (time.perf_counter() - began)
        finally:
            writer.close()
    finally:
        store.close()
    return found


def _claim_and_settle(writer: Engine, queue: str, size: int, jobs: int) -> None:
    """Each transaction settles what the one before claimed, as a busy server's do."""
    held: list[SettleRow] = []
    for number in range(jobs // size + 1):
        token = f"{number:032x}"
        claims = [ClaimWork([queue], size, token, "bench", 60_000)] if number < jobs // size else []
        applied = writer.apply(Batch(_now(), settles=[held], claims=claims))
        if len(applied.settled[0]) != len(held) or any(row.problem for row in applied.settled[0]):
            raise StoreError("a settle was refused")
        held = []
        for claimed in applied.claimed:
            assert isinstance(claimed, ClaimAnswer)  # noqa: S101 - only an operation id could be refused
            ids = [job["id"] for job in msgspec.json.decode(claimed.jobs)]
            held = [SettleRow(id, token, _DONE) for id in ids]
            if len(held) != size:
                raise StoreError(f"{len(held)} of {size} jobs were claimed")


def _now() -> int:
    return time.time_ns() // 1_000_000


def _row(queue: str) -> JobRow:
    return JobRow(Shape(queue, NOOP), PAYLOAD)
