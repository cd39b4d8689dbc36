"""A bulk cancel under load: ``python -m tests.chaos.bulk --engine sqlite --jobs 100000 --output …/bulk_sqlite.json``.

A real server, workers that claim and settle the same jobs, clients that make other calls, and a server that is killed
and started again in between. In the end no job was touched twice, what was not cancelled had been done, and the other
calls went on.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from roost.engine.opening import open_store
from roost.errors import OutcomeUnknown, ResultTimeout, RoostError, Unavailable
from roost.sdk._sync.client import Client
from roost.wire.attempts import Outcome
from roost.wire.bulk import Bulk
from roost.wire.jobs import NewJob
from tests.chaos.programs import Server, client, until
from tests.chaos.report import Report, told
from tests.support.postgres import PostgresServer

QUEUE, OTHER = "bulk", "other"
END_SECONDS = 600.0
CLAIMED = 20


class Worker(threading.Thread):
    """Claims a few jobs, works a moment, settles them; what it was told stays its own."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.settled: set[int] = set()
        self.ended: Exception | None = None
        self._url, self._number = url, number

    def run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self.ended = error

    def _work(self) -> None:
        with client(self._url, patient=True) as asked:
            while not self.over.wait(0.02):
                try:
                    got = asked.jobs.claim(f"worker-{self._number}", [QUEUE], limit=CLAIMED, lease="2s")
                    outcomes = [Outcome(id=lease.id, token=got.token, outcome="succeed") for lease in got.jobs]
                    for answer in asked.jobs.settle(outcomes) if outcomes else ():
                        if answer.error is None and answer.state == "succeeded":
                            self.settled.add(answer.id)
                except (Unavailable, OutcomeUnknown, ResultTimeout):
                    # The server is away; what was claimed comes back when its lease is over.
                    continue


class Other(threading.Thread):
    """Calls that have nothing to do with it, and how long each took."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.seconds: list[float] = []
        self.failed = 0
        self._url = url

    def run(self) -> None:
        with client(self._url) as asked:
            while not self.over.wait(0.005):
                began = time.perf_counter()
                try:
                    id = asked.jobs.enqueue(NewJob(kind="other", queue=OTHER)).id
                    asked.jobs.get(id)
                except RoostError:
                    self.failed += 1
                    continue
                self.seconds.append((time.perf_counter() - began) / 2)

    def p99_ms(self, since: int = 0, to: int | None = None) -> float:
        """The 99th percentile of some of its calls, in milliseconds."""
        taken = sorted(self.seconds[since:to])
        return round(taken[min(len(taken) - 1, int(len(taken) * 0.99))] * 1000, 1) if taken else 0.0


def run(store: str, folder: Path, jobs: int, kills: int, seed: int, report: Report, workers: int = 2) -> None:
    """Cancel ``jobs`` in bulk while workers run and the server dies ``kills`` times."""
    rng = random.Random(f"{seed}/bulk")
    with Server(store, folder) as server, client(server.url, patient=True) as asked:
        for start in range(0, jobs, 1000):
            asked.jobs.enqueue_many([NewJob(kind="plain", queue=QUEUE) for _ in range(min(1000, jobs - start))])
        other = Other(server.url)
        other.start()
        until("some calls were made", lambda: len(other.seconds) >= min(300, jobs), 60)
        calm = len(other.seconds)
        crew = [Worker(server.url, number) for number in range(workers)]
        for worker in crew:
            worker.start()
        until("the workers work", lambda: all(worker.settled or worker.ended for worker in crew), 60)
        began = time.monotonic()
        started = asked.bulk.create("cancel", f"queue:{QUEUE}", actor="chaos").bulk
        assert started is not None
        told = _to_the_end(server, asked, started.id, jobs, kills, rng)
        seconds = time.monotonic() - began
        busy = len(other.seconds)
        for thread in (other, *crew):
            thread.over.set()
        for thread in (other, *crew):
            thread.join()
        server.stop()
    settled = set().union(*(worker.settled for worker in crew))
    report.counts |= {
        "jobs": jobs,
        "kills": kills,
        "cancelled_or_asked": told.done,
        "skipped": told.skipped,
        "succeeded_by_workers_meanwhile": len(settled),
        "seconds": round(seconds, 1),
        "other_calls": busy - calm,
        "other_calls_p99_ms": other.p99_ms(calm, busy),
        "other_calls_p99_ms_before": other.p99_ms(0, calm),
    }
    report.violations += _check(store, told, settled, jobs)
    report.violations += [f"a worker ended: {worker.ended}" for worker in crew if worker.ended is not None]


def _to_the_end(server: Server, asked: Client, id: int, jobs: int, kills: int, rng: random.Random) -> Bulk:
    """Wait for the operation's end; on the way the server is killed at moments chance chooses."""
    moments = sorted(rng.uniform(0.05, 0.9) * jobs for _ in range(kills))
    deadline = time.monotonic() + END_SECONDS
    while True:
        found = asked.bulk.get(id)
        if found.ended_at is not None:
            return found
        if moments and found.done + found.skipped + found.failed >= moments[0]:
            moments.pop(0)
            server.kill()
            server.start()
        if time.monotonic() > deadline:
            raise AssertionError(f"the operation did not end: {found}")
        time.sleep(0.01)


def _check(store: str, told: Bulk, settled: set[int], jobs: int) -> list[str]:
    """What the store says, without any server in between."""
    violations = []
    opened = open_store(store, "server", rng=random.random)
    try:
        with opened.reader._session() as session:  # type: ignore[attr-defined]
            touched: dict[int, int] = dict(
                session.query(
                    "SELECT e.job_id, count(*) FROM event e JOIN job j ON j.id = e.job_id "
                    "WHERE j.queue = :queue AND e.type IN ('cancelled', 'cancel_requested') GROUP BY e.job_id",
                    {"queue": QUEUE},
                )
            )
            states: dict[str, Any] = dict(
                session.query("SELECT state, count(*) FROM job WHERE queue = :queue GROUP BY state", {"queue": QUEUE})
            )
            succeeded = {
                id
                for (id,) in session.query(
                    "SELECT id FROM job WHERE queue = :queue AND state = 'succeeded'", {"queue": QUEUE}
                )
            }
    finally:
        opened.close()
    twice = [id for id, times in touched.items() if times > 1]
    if twice:
        violations.append(f"touched twice: {twice[:10]}")
    if len(touched) != told.done:
        violations.append(f"{told.done} are told done, {len(touched)} were touched")
    if sum(states.values()) != jobs:
        violations.append(f"{jobs} jobs went in, {states} are there")
    if states.get("ready") or states.get("waiting"):
        violations.append(f"the operation passed over jobs: {states}")
    if settled - succeeded:
        violations.append(f"successes that were acknowledged are gone: {sorted(settled - succeeded)[:10]}")
    if not settled:
        violations.append("no worker did anything meanwhile")
    if told.state != "done" or told.failed:
        violations.append(f"it ended as {told.state} with {told.failed} failures")
    return violations


def campaign(engine: str, jobs: int, kills: int, seed: int, output: Path | None) -> int:
    """The campaign on one engine; the exit code."""
    report = Report(f"bulk cancel on {engine}", seed, jobs=jobs, kills=kills, engine=engine)
    with tempfile.TemporaryDirectory(prefix="roost-bulk-") as folder:
        if engine == "sqlite":
            run(f"sqlite:///{folder}/roost.db", Path(folder), jobs, kills, seed, report)
        else:
            with PostgresServer(durable=True) as server:
                run(server.create_database(), Path(folder), jobs, kills, seed, report)
    return report.finish(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    return campaign(words.engine, words.jobs, words.kills, words.seed, words.output)


if __name__ == "__main__":
    sys.exit(told(main))
