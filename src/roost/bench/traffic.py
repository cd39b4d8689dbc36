"""Measures of the server under load: one by one, many at once, in bulk, and through a job's whole life."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import msgspec

from roost.bench.app import NOOP
from roost.bench.load import Connection, Pool, refusal
from roost.bench.stand import PAYLOAD, Stand
from roost.errors import StoreError
from roost.wire import contract

BULK = 1000
BULK_CONNECTIONS = 4
CLAIM = 256
CLAIM_CONNECTIONS = 2
UNARY_CONNECTIONS = 32
MOST_BACKLOG = 8 * BULK
"""In the full life, enqueuers wait for the others beyond this: a steady state has no growing queue."""


class _Taken(msgspec.Struct):
    id: int


class _Claimed(msgspec.Struct):
    token: str
    jobs: list[_Taken]


def job(queue: str) -> str:
    """A no-op job as JSON."""
    return f'{{"kind":"{NOOP}","queue":"{queue}","input":{PAYLOAD}}}'


def many(queue: str, count: int) -> bytes:
    """The body that enqueues ``count`` of them."""
    return f'{{"jobs":[{",".join([job(queue)] * count)}]}}'.encode()


def bulk(stand: Stand) -> dict[str, float]:
    """Jobs a second, enqueued a thousand to a request."""
    began = time.perf_counter()
    with stand.watched("bulk.rate", lambda: stand.sizes.jobs):
        fill(stand, stand.queue(), stand.sizes.jobs)
    return {"bulk.rate": stand.sizes.jobs / (time.perf_counter() - began)}


def fill(stand: Stand, queue: str, jobs: int) -> None:
    """Enqueue ``jobs`` no-op jobs, as fast as they go."""
    stand.run(_fill(stand, queue, jobs))
    stand.jobs_done += jobs


async def _fill(stand: Stand, queue: str, jobs: int) -> None:
    whole = stand.requests.named(contract.ENQUEUE_MANY, many(queue, BULK))
    left = jobs

    async def send(connection: Connection) -> None:
        nonlocal left
        while left > 0:
            size = min(BULK, left)
            left -= size
            request = next(whole) if size == BULK else stand.requests.of(contract.ENQUEUE_MANY, many(queue, size))
            _check(await connection.call(request), b'"id"', size)

    await _each(stand, BULK_CONNECTIONS, send)


def settle(stand: Stand) -> dict[str, float]:
    """Jobs a second, claimed and settled 256 at a time from a queue that holds them all."""
    queue = stand.queue()
    fill(stand, queue, stand.sizes.jobs)
    began = time.perf_counter()
    with stand.watched("settle.rate", lambda: stand.sizes.jobs):
        stand.run(_work_off(stand, queue, stand.sizes.jobs))
    return {"settle.rate": stand.sizes.jobs / (time.perf_counter() - began)}


async def _work_off(stand: Stand, queue: str, jobs: int) -> None:
    done = 0
    claims = stand.requests.named(contract.CLAIM, _claim(queue, "0s"))

    async def work(connection: Connection) -> None:
        nonlocal done
        while settled := await _claim_and_settle(stand, connection, next(claims)):
            done += settled

    await _each(stand, CLAIM_CONNECTIONS, work)
    if done != jobs:
        raise StoreError(f"{done} of {jobs} jobs were settled")


def life(stand: Stand) -> dict[str, float]:
    """Jobs a second through enqueue, claim and settle, all at the same time and in balance."""
    with stand.watched("life.rate", lambda: stand.sizes.jobs):
        seconds = life_of(stand, stand.sizes.jobs)
    return {"life.rate": stand.sizes.jobs / seconds}


def life_of(stand: Stand, jobs: int) -> float:
    """Take ``jobs`` through their whole life; how many seconds that took."""
    seconds = stand.run(_life(stand, stand.queue(), jobs))
    stand.jobs_done += jobs
    return seconds


async def _life(stand: Stand, queue: str, jobs: int) -> float:
    enqueued = done = 0
    room, finished = asyncio.Event(), asyncio.Event()
    claims = stand.requests.named(contract.CLAIM, _claim(queue, "10s"))
    enqueues = stand.requests.named(contract.ENQUEUE_MANY, many(queue, BULK))
    total = -(-jobs // BULK) * BULK

    async def enqueue(connection: Connection) -> None:
        nonlocal enqueued
        while enqueued < total:
            if enqueued - done >= MOST_BACKLOG:
                room.clear()
                await room.wait()
                continue
            enqueued += BULK
            await connection.call(next(enqueues))

    async def work(connection: Connection) -> None:
        nonlocal done
        while done < total:
            settled = await _claim_and_settle(stand, connection, next(claims))
            done += settled  # not in one line with the await: the other worker's count would be lost
            room.set()
        finished.set()

    async with Pool(stand.requests, 2 + CLAIM_CONNECTIONS) as pool:
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(enqueue(connection)) for connection in pool.connections[:2]]
            tasks += [group.create_task(work(connection)) for connection in pool.connections[2:]]
            await finished.wait()
            seconds = time.perf_counter() - began
            for task in tasks:
                task.cancel()
    return seconds * jobs / total


async def _claim_and_settle(stand: Stand, connection: Connection, claim: bytes) -> int:
    claimed = msgspec.json.decode(await connection.call(claim), type=_Claimed)
    if not claimed.jobs:
        return 0
    tail = f',"token":"{claimed.token}"}}'
    outcomes = ",".join([f'{{"id":{taken.id}{tail}' for taken in claimed.jobs])
    reply = await connection.call(stand.requests.of(contract.SETTLE, f'{{"outcomes":[{outcomes}]}}'.encode()))
    _check(reply, b'"succeeded"', len(claimed.jobs))
    return len(claimed.jobs)


def _claim(queue: str, wait: str) -> bytes:
    return f'{{"worker":"bench","queues":["{queue}"],"limit":{CLAIM},"lease":"60s","wait":"{wait}"}}'.encode()


def unary(stand: Stand) -> dict[str, float]:
    """Requests a second and their latency: one job each, 32 connections."""
    before = stand.jobs_done
    with stand.watched("unary.rate", lambda: stand.jobs_done - before):
        taken, seconds = stand.run(_unary(stand, UNARY_CONNECTIONS))
    cuts = statistics.quantiles(taken, n=100)
    return {"unary.rate": len(taken) / seconds, "unary.p50": cuts[49] * 1000, "unary.p99": cuts[98] * 1000}


def single(stand: Stand) -> dict[str, float]:
    """Requests a second: one job each, the next when the last is answered."""
    taken, seconds = stand.run(_unary(stand, 1))
    return {"single.rate": len(taken) / seconds}


async def _unary(stand: Stand, connections: int) -> tuple[list[float], float]:
    taken: list[float] = []
    requests = stand.requests.named(contract.ENQUEUE, job(stand.queue()).encode())
    loop = asyncio.get_running_loop()
    async with Pool(stand.requests, connections) as pool:
        began = time.perf_counter()
        end = began + stand.sizes.seconds
        ended = [loop.create_future() for _ in pool.connections]
        for connection, future in zip(pool.connections, ended, strict=True):
            _pump(connection, requests.__next__, end, taken, future)
        await asyncio.gather(*ended)
        seconds = time.perf_counter() - began
    stand.jobs_done += len(taken)
    return taken, seconds


def _pump(
    connection: Connection,
    request: Callable[[], bytes],
    end: float,
    taken: list[float],
    ended: asyncio.Future[None],
) -> None:
    """Send one request after the other until ``end``, without a task: the generator shares the cores."""
    clock = time.perf_counter
    sent = clock()

    def on_reply(status: int, body: bytes) -> None:
        nonlocal sent
        now = clock()
        if status >= 300:
            on_lost(refusal(status, body))
            return
        taken.append(now - sent)
        if now >= end:
            ended.set_result(None)
            return
        sent = now
        connection.send(request(), on_reply, on_lost)

    def on_lost(error: Exception) -> None:
        if not ended.done():
            ended.set_exception(error)

    connection.send(request(), on_reply, on_lost)


async def _each(stand: Stand, count: int, work: Callable[[Connection], Awaitable[None]]) -> None:
    async with Pool(stand.requests, count) as pool:
        await asyncio.gather(*(work(connection) for connection in pool.connections))


def _check(body: bytes, mark: bytes, count: int) -> None:
    if body.count(mark) != count:
        raise StoreError(f"{body.count(mark)} of {count} answers have {mark.decode()}: {body[:200].decode()}")
