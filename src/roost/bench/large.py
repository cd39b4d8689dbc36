"""Long measures, taken only when asked for: a large backlog with a long history, and many schedules."""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime

import msgspec

from roost.bench.app import NOOP
from roost.bench.load import Connection, Pool
from roost.bench.machine import cpu_seconds
from roost.bench.stand import Stand
from roost.bench.traffic import UNARY_CONNECTIONS, fill, life_of
from roost.wire import contract

_CLAIMS = 200
_CLAIM = 64
_PAGES = 50
_FIRES_PER_SECOND = 100
_ENOUGH_RUNS = 500


def backlog(stand: Stand) -> dict[str, float]:
    """Milliseconds of a claim and of a list's first page with many jobs waiting and more retained, and without."""
    queue = stand.queue()
    fill(stand, queue, _CLAIM * _CLAIMS)
    empty_page = stand.run(_pages(stand))
    empty = stand.run(_claims(stand, queue))
    if stand.sizes.retained:
        life_of(stand, stand.sizes.retained)
    full_queue = stand.queue()
    fill(stand, full_queue, stand.sizes.backlog)
    full_page = stand.run(_pages(stand))
    full = stand.run(_claims(stand, full_queue))
    stand.notes["backlog.slowdown"] = f"{stand.sizes.backlog:,} waiting, {stand.sizes.retained:,} retained"
    before, after = statistics.median(empty), statistics.median(full)
    return {
        "backlog.empty_ms": before * 1000,
        "backlog.full_ms": after * 1000,
        "backlog.slowdown": after / before,
        "backlog.empty_p99": statistics.quantiles(empty, n=100)[98] * 1000,
        "backlog.full_p99": statistics.quantiles(full, n=100)[98] * 1000,
        "backlog.empty_list": statistics.median(empty_page) * 1000,
        "backlog.full_list": statistics.median(full_page) * 1000,
    }


async def _pages(stand: Stand) -> list[float]:
    request = stand.requests.of(contract.LIST_JOBS, b"", "/jobs?limit=50")
    taken = []
    async with Pool(stand.requests, 1) as pool:
        for _ in range(_PAGES):
            began = time.perf_counter()
            await pool.connections[0].call(request)
            taken.append(time.perf_counter() - began)
    return taken


async def _claims(stand: Stand, queue: str) -> list[float]:
    body = f'{{"worker":"bench","queues":["{queue}"],"limit":{_CLAIM},"lease":"60s"}}'.encode()
    requests = stand.requests.named(contract.CLAIM, body)
    taken = []
    async with Pool(stand.requests, 1) as pool:
        for _ in range(_CLAIMS):
            began = time.perf_counter()
            await pool.connections[0].call(next(requests))
            taken.append(time.perf_counter() - began)
    return taken


def schedules(stand: Stand) -> dict[str, float]:
    """How late fires are and what they cost, with many schedules of which a hundred fire each second."""
    count, queue = stand.sizes.schedules, stand.queue()
    stand.run(_put(stand, queue, count))
    before = stand.client.queues.get(queue).ready
    cpu, began = cpu_seconds(stand.pid), time.monotonic()
    window_began = time.time_ns() / 1e6
    time.sleep(max(10.0, stand.sizes.seconds))
    seconds, used = time.monotonic() - began, cpu_seconds(stand.pid) - cpu
    after = stand.client.queues.get(queue).ready
    late: list[float] = []
    for index in range(0, count, max(1, count // _ENOUGH_RUNS)):
        runs = stand.client.schedules.runs(f"{queue}-{index}", limit=20).runs
        late += [_ms(run.fired_at) - _ms(run.fire_at) for run in runs if _ms(run.fire_at) >= window_began]
    fired = after - before
    if len(late) < 2:
        raise TimeoutError("no schedule that was looked at fired in the window")
    stand.notes["schedules.late_p99"] = f"{len(late)} fires of {count:,} schedules looked at"
    return {
        "schedules.fired": fired / seconds,
        "schedules.late_p99": statistics.quantiles(late, n=100)[98],
        "schedules.cpu": used / seconds * 100,
    }


async def _put(stand: Stand, queue: str, count: int) -> None:
    """Spread over the period, so that as many fire in each second as in any other."""
    period_ms = count * 1000 // _FIRES_PER_SECOND
    numbers = iter(range(count))
    start = time.time_ns() // 1_000_000

    async def work(connection: Connection) -> None:
        for number in numbers:
            anchor = datetime.fromtimestamp((start + number * period_ms // count) / 1000, UTC).isoformat()
            body = {
                "rule": {"every": f"{period_ms}ms", "starts_at": anchor, "overlap": "allow"},
                "job": {"kind": NOOP, "queue": queue, "input": {"payload": "x"}},
            }
            path = f"/schedules/{queue}-{number}"
            await connection.call(stand.requests.of(contract.PUT_SCHEDULE, msgspec.json.encode(body), path))

    async with Pool(stand.requests, UNARY_CONNECTIONS) as pool:
        await asyncio.gather(*(work(connection) for connection in pool.connections))


def _ms(text: str) -> float:
    return datetime.fromisoformat(text).timestamp() * 1000
