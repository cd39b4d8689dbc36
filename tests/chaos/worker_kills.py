"""Workers killed in the middle: ``python -m tests.chaos.worker_kills --kills 50 --output …/worker_kills.json``.

Two workers run jobs of three steps each; one of them dies by ``kill -9`` at a random moment or at a named point, and is
started again. In the end every job has succeeded with the bytes of an undisturbed run, and no recorded step ran again.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import threading
import time
from pathlib import Path

from roost.sdk._sync.client import Client
from tests.chaos import checkers
from tests.chaos.jobs import POINTS, STEPS
from tests.chaos.journals import journal, new_job, ran, recorded, results, start_worker
from tests.chaos.kills import drained
from tests.chaos.programs import Program, Server, client, until
from tests.chaos.report import Report, told
from tests.support.postgres import PostgresServer
from tests.support.processes import tail

CONCURRENCY = 4
LEASE = "1s"
BACKLOG = 24
DRAIN_SECONDS = 60.0


class Crew:
    """Two workers, one of which is always about to die."""

    def __init__(self, url: str, folder: Path, rng: random.Random) -> None:
        self._url, self._folder, self._rng = url, folder, rng
        self._numbers = itertools.count(1)
        self._names = [f"crew-{number}" for number in (1, 2)]
        self.workers = [self._start(name) for name in self._names]
        self.at_points = 0

    def _start(self, name: str) -> Program:
        words = ["--concurrency", str(CONCURRENCY), "--lease", LEASE, "--grace", "5s"]
        return start_worker(self._url, self._folder, name, *words)

    def busy(self, index: int) -> bool:
        """Whether this worker runs something, as its journal tells."""
        pid = self.workers[index].process.pid
        return any(line["pid"] == pid for line in journal(self._folder))

    def kill(self) -> None:
        """Kill one at a random moment, or let whoever comes first die at a named point; start it again."""
        if self._rng.random() < 0.5:
            index = self._rng.randrange(2)
            until("the worker has begun", lambda: self.busy(index))
            # When it dies is what is left to chance.
            time.sleep(self._rng.uniform(0, 0.3))
            self.workers[index].kill()
        else:
            (self._folder / self._rng.choice(POINTS)).touch()
            index = until("a worker dies at the point", self._dead, explain=self._logs)[0]
            self.at_points += 1
        assert self.workers[index].process.wait() == -9
        self.workers[index] = self._start(self._names[index])

    def _logs(self) -> str:
        return "\n".join(f"--- {worker.log.name}\n{tail(worker.log)}" for worker in self.workers)

    def _dead(self) -> list[int]:
        return [index for index, worker in enumerate(self.workers) if not worker.alive]

    def end(self) -> None:
        for worker in self.workers:
            worker.__exit__()


class Feeder(threading.Thread):
    """Keeps a small backlog of jobs, so that there is always something to be killed in."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.ids: dict[int, int] = {}
        """Number to job."""
        self._client = client(url, patient=True)

    def run(self) -> None:
        numbers = itertools.count()
        with self._client as asked:
            while not self.over.wait(0.05):
                ready = len(asked.jobs.list(state=["ready"], limit=BACKLOG).jobs)
                fresh = list(itertools.islice(numbers, BACKLOG - ready))
                if fresh:
                    made = asked.jobs.enqueue_many([new_job("report", number=number) for number in fresh])
                    self.ids.update(zip(fresh, [one.id for one in made], strict=True))


def run(store: str, folder: Path, kills: int, seed: int, report: Report) -> None:
    """Kill workers ``kills`` times, let the rest finish, and compare with a run nobody disturbed."""
    disturbed, undisturbed = folder / "disturbed", folder / "undisturbed"
    disturbed.mkdir()
    undisturbed.mkdir()
    with Server(store, folder) as server, client(server.url, patient=True) as asked:
        feeder = Feeder(server.url)
        feeder.start()
        crew = Crew(server.url, disturbed, random.Random(f"{seed}/crew"))
        try:
            for _ in range(kills):
                crew.kill()
            feeder.over.set()
            feeder.join()
            until("every job has ended", lambda: drained(asked), DRAIN_SECONDS)
        finally:
            feeder.over.set()
            crew.end()
        report.counts |= {"kills": kills, "at_named_points": crew.at_points, "jobs": len(feeder.ids)}
        report.violations += _compare(asked, server.url, feeder.ids, disturbed, undisturbed, kills, report)
        report.violations += once(server.url, undisturbed, report)


def _compare(
    asked: Client, url: str, ids: dict[int, int], disturbed: Path, undisturbed: Path, kills: int, report: Report
) -> list[str]:
    steps, done = recorded(asked, ids.values()), ran(disturbed)
    violations = checkers.steps_once(done, steps, allowed=kills * CONCURRENCY)
    if len(steps) != len(STEPS) * len(ids):
        violations.append(f"{len(steps)} steps are recorded of {len(ids)} jobs")
    fresh = [new_job("report", "undisturbed", number=number) for number in ids]
    calm = [one.id for start in range(0, len(fresh), 1000) for one in asked.jobs.enqueue_many(fresh[start:][:1000])]
    with start_worker(url, undisturbed, "calm", "--queues", "undisturbed", "--until-idle") as worker:
        assert worker.process.wait(DRAIN_SECONDS) == 0
    violations += checkers.same_results(results(asked, ids.values()), results(asked, calm))
    violations += checkers.steps_once(ran(undisturbed), recorded(asked, calm), allowed=0)
    lost = sum(attempt.outcome == "lost" for id in ids.values() for attempt in asked.jobs.get(id).attempts)
    report.counts |= {"steps_recorded": len(steps), "steps_ran": len(done), "attempts_lost": lost}
    return violations


def once(url: str, folder: Path, report: Report) -> list[str]:
    """100 enqueues from each of 4 clients at once with one unique key: one job, and its effect once."""
    ids: set[int] = set()
    together = threading.Barrier(4)

    def enqueue() -> None:
        with client(url, patient=True) as asked:
            together.wait()
            for _ in range(100):
                ids.add(asked.jobs.enqueue(new_job("effect", "effects", unique="order-7", order=7)).id)

    threads = [threading.Thread(target=enqueue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with start_worker(url, folder, "effects", "--queues", "effects", "--until-idle") as worker:
        assert worker.process.wait(DRAIN_SECONDS) == 0
    effects = [line for line in journal(folder) if line["step"] == "effect"]
    report.counts |= {"enqueues_with_one_key": 400, "jobs_with_one_key": len(ids), "effects": len(effects)}
    return [] if len(ids) == len(effects) == 1 else [f"one key made the jobs {ids} and {len(effects)} effects"]


def campaign(engine: str, kills: int, seed: int, output: Path | None) -> int:
    """The campaign on one engine; the exit code."""
    report = Report(f"worker kills on {engine}", seed, kills=kills, engine=engine, lease=LEASE)
    with tempfile.TemporaryDirectory(prefix="roost-kills-") as folder:
        if engine == "sqlite":
            run(f"sqlite:///{folder}/roost.db", Path(folder), kills, seed, report)
        else:
            with PostgresServer(durable=True) as server:
                run(server.create_database(), Path(folder), kills, seed, report)
    return report.finish(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    return campaign(words.engine, words.kills, words.seed, words.output)


if __name__ == "__main__":
    sys.exit(told(main))
