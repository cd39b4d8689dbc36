"""Ten times the clients that a server can serve: ``python -m tests.chaos.overload --seconds 120 --output FILE``.

First 32 clients enqueue as fast as they are answered while workers claim, beat and settle: the server's peak. Then ten
times as many, none of which heeds a refusal: each asks again at once. What the workers send must not be refused, what
is refused must say when to come back, and the useful work must stay close to the peak.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from roost.bench.load import Connection, Pool, Requests
from roost.wire import contract
from tests.chaos.programs import Server
from tests.chaos.report import Report, told
from tests.support.postgres import PostgresServer

CLIENTS = 32
TIMES = 10
BATCH = 100
"""Jobs of one request: what 320 clients ask for at once is more than a server lets wait."""
CLAIM = 250
WORKERS = 4
MOST_GROWTH = 256 * 1024 * 1024
GOODPUT = 0.9


class _Taken(msgspec.Struct):
    id: int


class _Claimed(msgspec.Struct):
    token: str
    jobs: list[_Taken]


class Phase:
    """What was answered in one stretch of time."""

    def __init__(self) -> None:
        self.statuses: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
        self.accepted = 0
        self.settled = 0
        self.without_advice = 0
        """Refusals that do not say when to come back."""
        self.slowest: dict[str, float] = collections.defaultdict(float)
        self.open = True
        self._began = time.perf_counter()
        self.seconds = 0.0

    def end(self) -> None:
        self.open = False
        self.seconds = time.perf_counter() - self._began

    @property
    def goodput(self) -> float:
        """Jobs accepted and jobs settled, a second."""
        return (self.accepted + self.settled) / self.seconds


async def _ask(phase: Phase, connection: Connection, name: str, request: bytes) -> tuple[int, bytes]:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[int, bytes]] = loop.create_future()
    began = time.perf_counter()
    connection.send(
        request, lambda status, body: future.set_result((status, body)), lambda error: future.set_exception(error)
    )
    status, body = await future
    phase.statuses[name][status] += 1
    phase.slowest[name] = max(phase.slowest[name], time.perf_counter() - began)
    if status in (429, 503) and b'"retry_after":' not in body:
        phase.without_advice += 1
    return status, body


async def _produce(phase: Phase, connection: Connection, requests: Requests) -> None:
    jobs = ",".join(['{"kind":"work","input":{"n":1}}'] * BATCH)
    body = f'{{"jobs":[{jobs}]}}'.encode()
    sent = requests.named(contract.ENQUEUE_MANY, body)
    while phase.open:
        status, _ = await _ask(phase, connection, "enqueue", next(sent))
        if status == 201:
            phase.accepted += BATCH
        else:
            # At once, whatever it was told; only the loop's other clients come in between.
            await asyncio.sleep(0)


async def _work(phase: Phase, connection: Connection, requests: Requests, worker: int) -> None:
    claim = f'{{"worker":"w{worker}","queues":["default"],"limit":{CLAIM},"lease":"15s","wait":"1s"}}'.encode()
    claims = requests.named(contract.CLAIM, claim)
    while phase.open:
        status, body = await _ask(phase, connection, "claim", next(claims))
        if status != 200:
            await asyncio.sleep(0.05)
            continue
        claimed = msgspec.json.decode(body, type=_Claimed)
        if not claimed.jobs:
            continue
        beats = [{"id": job.id, "token": claimed.token} for job in claimed.jobs[:1]]
        beat = msgspec.json.encode({"worker": f"w{worker}", "beats": beats})
        await _ask(phase, connection, "heartbeat", requests.of(contract.HEARTBEAT, beat))
        outcomes = [{"id": job.id, "token": claimed.token} for job in claimed.jobs]
        settle = requests.of(contract.SETTLE, msgspec.json.encode({"outcomes": outcomes}))
        status, body = await _ask(phase, connection, "settle", settle)
        phase.settled += body.count(b'"succeeded"')


async def _phase(requests: Requests, clients: int, seconds: float, pid: int) -> tuple[Phase, int]:
    """What happened, and the most memory the server had meanwhile."""
    most = 0
    async with Pool(requests, clients + WORKERS) as pool:
        phase = Phase()
        tasks = [asyncio.create_task(_work(phase, pool.connections[n], requests, n)) for n in range(WORKERS)]
        tasks += [asyncio.create_task(_produce(phase, each, requests)) for each in pool.connections[WORKERS:]]
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            await asyncio.sleep(0.25)
            most = max(most, _memory(pid))
        phase.end()
        await asyncio.gather(*tasks)
    return phase, most


def _memory(pid: int) -> int:
    """Resident bytes of the process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def run(store: str, folder: Path, seconds: float, report: Report) -> None:
    """One server on ``store``, its peak and then too many clients; the report gets what was found."""
    with Server(store, folder) as server:
        assert server.program is not None
        pid = server.program.process.pid
        requests = Requests(server.url)
        calm, before = asyncio.run(_phase(requests, CLIENTS, max(2.0, seconds / 4), pid))
        rush, most = asyncio.run(_phase(requests, CLIENTS * TIMES, seconds, pid))
        alive = server.program.alive
    check(calm, rush, report)
    if not alive:
        report.violations.append("the server ended")
    if most > before + MOST_GROWTH:
        report.violations.append(f"memory grew from {before:,} to {most:,} bytes")
    report.counts |= {
        "peak_per_s": round(calm.goodput),
        "overload_per_s": round(rush.goodput),
        "ratio": round(rush.goodput / calm.goodput, 2),
        "accepted": rush.accepted,
        "settled": rush.settled,
        "requests_refused": sum(n for name in rush.statuses for s, n in rush.statuses[name].items() if s in (429, 503)),
        "memory_before_mb": round(before / 1e6),
        "memory_most_mb": round(most / 1e6),
        "slowest_settle_s": round(rush.slowest["settle"], 2),
        "slowest_heartbeat_s": round(rush.slowest["heartbeat"], 2),
    }


def check(calm: Phase, rush: Phase, report: Report) -> None:
    """Put every broken promise but the goodput's into the report: how fast it is depends on the machine."""
    for name, statuses in rush.statuses.items():
        for status, count in statuses.items():
            never = name in ("heartbeat", "settle") and status != 200
            if never or status not in (200, 201, 429, 503):
                report.violations.append(f"{count} {name} calls were answered {status}")
    if rush.without_advice:
        report.violations.append(f"{rush.without_advice} refusals do not say when to come back")
    if not rush.settled or not rush.accepted:
        report.violations.append("nothing useful was done")


def campaign(engine: str, seconds: float, output: Path | None) -> int:
    """The campaign on one engine; the exit code."""
    report = Report(f"overload on {engine}", 0, engine=engine, seconds=seconds, clients=CLIENTS * TIMES, batch=BATCH)
    with tempfile.TemporaryDirectory(prefix="roost-overload-") as folder:
        if engine == "sqlite":
            run(f"sqlite:///{folder}/roost.db", Path(folder), seconds, report)
        else:
            with PostgresServer(durable=True) as server:
                run(server.create_database(), Path(folder), seconds, report)
    if report.counts["ratio"] < GOODPUT:
        report.violations.append(f"the goodput fell to {report.counts['ratio']:.0%} of the peak")
    return report.finish(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    return campaign(words.engine, words.seconds, words.output)


if __name__ == "__main__":
    sys.exit(told(main))
