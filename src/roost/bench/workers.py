"""Measures with real workers: draining a queue, and how soon a job starts on an idle server."""

from __future__ import annotations

import json
import statistics
import time

from roost.bench.app import STARTED
from roost.bench.machine import cpu_seconds, written_bytes
from roost.bench.stand import Stand, wait_until
from roost.bench.traffic import fill
from roost.wire.jobs import NewJob

_PAUSE = 0.02
"""Between two jobs of a latency measure: the server is idle again."""
_SETTLING_SECONDS = 1.0
"""After a worker came and before an idle server is watched: its start is not idleness."""
DRAIN_SECONDS = 600.0


def drain(stand: Stand) -> dict[str, float]:
    """Jobs a second, by one worker process on a queue that holds them all."""
    return {"drain.rate": _drain(stand, 1, "drain.rate")}


def drain2(stand: Stand) -> dict[str, float]:
    """The same by two."""
    return {"drain2.rate": _drain(stand, 2, "drain2.rate")}


def _drain(stand: Stand, workers: int, figure: str) -> float:
    queue, jobs = stand.queue(), stand.sizes.jobs
    queues = stand.client.queues
    queues.pause(queue)
    fill(stand, queue, jobs)
    with stand.worker(queue, workers), stand.watched(figure, lambda: jobs):
        last = stand.client.jobs.enqueue(NewJob(kind=STARTED, queue=queue, priority=0)).id
        began = time.perf_counter()
        queues.resume(queue)
        # The last job is waited for, not polled for: counting jobs would be work for the server.
        deadline = began + DRAIN_SECONDS
        while stand.client.jobs.wait(last, "30s").finished_at is None and time.perf_counter() < deadline:
            pass
        wait_until(lambda: queues.get(queue).succeeded == jobs + 1, DRAIN_SECONDS, [])
        return jobs / (time.perf_counter() - began)


def latency(stand: Stand) -> dict[str, float]:
    """Milliseconds from just before an enqueue until its handler starts, in a worker of an idle server."""
    queue = stand.queue()
    with stand.worker(queue):
        time.sleep(_SETTLING_SECONDS)
        sent: dict[int, int] = {}
        for _ in range(stand.sizes.samples):
            now = time.monotonic_ns()
            sent[stand.client.jobs.enqueue(NewJob(kind=STARTED, queue=queue)).id] = now
            time.sleep(_PAUSE)
        taken = []
        for id, began in sent.items():
            result = stand.client.jobs.wait(id, "10s").result
            taken.append((json.loads(bytes(result or b"0")) - began) / 1e6)
    cuts = statistics.quantiles(taken, n=100)
    return {"latency.p50": cuts[49], "latency.p99": cuts[98]}


def idle(stand: Stand) -> dict[str, float]:
    """CPU and disk writes of a server that has a connected worker and nothing to do."""
    pid = stand.pid
    with stand.worker(stand.queue()):
        time.sleep(_SETTLING_SECONDS)
        cpu, written, began = cpu_seconds(pid), written_bytes(pid), time.monotonic()
        time.sleep(stand.sizes.seconds)
        seconds = time.monotonic() - began
        used = cpu_seconds(pid) - cpu
        return {"idle.cpu": used / seconds * 100, "idle.written": (written_bytes(pid) - written) / seconds / 1024}
