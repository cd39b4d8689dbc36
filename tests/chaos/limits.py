"""Limits under contention: ``python -m tests.chaos.limits --output bench/reliability/limits_postgresql.json``.

Producers and workers call two servers on one PostgreSQL database; jobs count against several keys with concurrencies,
rates and costs, and their queues have limits of their own. Attempts succeed, fail, are snoozed, given back and
abandoned; jobs are cancelled; servers are killed. Then everything is drained, and what the servers stamped on the
attempts is counted again by a checker that knows nothing of how the limits are kept.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from roost.domain.records import QueueRules
from roost.domain.retry import RetryRule
from roost.domain.states import TERMINAL
from roost.errors import RoostError
from roost.wire import contract
from roost.wire.attempts import ClaimJobs, Outcome, SettleJobs
from roost.wire.jobs import CancelJob, EnqueueJobs, Limit, NewJob
from tests.chaos.kills import drained
from tests.chaos.programs import Server, client, until
from tests.chaos.report import Report, told
from tests.support.postgres import PostgresServer

BACKLOG = 3000
DRAIN_SECONDS = 180.0
LEASE = "4s"
RETRY = RetryRule(retries=2, backoff="fixed", base="50ms", cap="50ms")


@dataclass(frozen=True)
class Rule:
    """A limit of the campaign, in the terms of its definition."""

    key: str
    concurrency: int | None = None
    rate: tuple[int, int] | None = None
    """(count, period in ms)"""
    burst: int | None = None
    dearest: int = 1
    share: float = 0.1
    """How many of the jobs count against it."""

    def wire(self, cost: int) -> Limit:
        rate = None if self.rate is None else f"{self.rate[0]}/{self.rate[1]}ms"
        return Limit(key=self.key, concurrency=self.concurrency, rate=rate, burst=self.burst, cost=cost)


RULES = [
    Rule("one", concurrency=1, share=0.03),
    Rule("three", concurrency=3, share=0.08),
    Rule("costly", concurrency=10, dearest=4, share=0.1),
    *(Rule(f"tenant:{number}", concurrency=4, share=0.05) for number in range(6)),
    Rule("slow", rate=(20, 1000), burst=5, share=0.005),
    Rule("steady", rate=(120, 1000), burst=30, concurrency=25, share=0.06),
    Rule("spent", rate=(400, 1000), burst=40, dearest=5, share=0.08),
]
OWN = {
    "narrow": Rule("queue:narrow", concurrency=12),
    "timed": Rule("queue:timed", rate=(300, 1000), burst=60),
    "open": Rule("queue:open"),
}


@dataclass
class Story:
    """What the campaign's clients know together."""

    claims: int = 0
    ended: int = 0
    limits: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    """By job: (key, cost)."""
    queue_of: dict[int, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)
    enough: threading.Event = field(default_factory=threading.Event)


class Client(threading.Thread):
    """One program of the campaign; asks the other server where one does not answer."""

    def __init__(self, name: str, urls: list[str], story: Story, seed: str, backlog: int) -> None:
        super().__init__(name=name, daemon=True)
        self.backlog = backlog
        self.rng = random.Random(f"{seed}/{name}")
        self.story = story
        self._clients = [client(url) for url in urls]
        self._turn = self.rng.randrange(len(urls))

    def run(self) -> None:
        try:
            while not self.story.over.is_set():
                self.turn()
        except BaseException as error:
            self.story.failures.append(f"{self.name}: {error!r}")
        finally:
            for each in self._clients:
                each.close()

    def turn(self) -> None:
        """One piece of work."""
        raise AssertionError("each client has its own turn")

    def call(self, operation: Any, request: Any, *, repeat: bool = True) -> Any:
        """The answer, from whichever server gives one; None where none does and it is not to be repeated."""
        id = f"{self.rng.getrandbits(128):032x}" if operation.lane in ("enqueue", "claim") else None
        while True:
            try:
                return self._clients[self._turn].call(operation, request, id)
            except RoostError as error:
                if error.status not in (0, 429, 500, 502, 503, 504):
                    raise
                self._turn = (self._turn + 1) % len(self._clients)
                if not repeat or self.story.over.wait(0.05):
                    return None


class Producer(Client):
    """Keeps a backlog of jobs with limits drawn by chance; cancels a few."""

    def turn(self) -> None:
        story = self.story
        if story.enough.is_set() or len(story.limits) - story.ended > self.backlog:
            story.over.wait(0.02)
            return
        drawn = [self._draw() for _ in range(200)]
        answer = self.call(contract.ENQUEUE_MANY, EnqueueJobs(jobs=[job for job, _ in drawn]))
        if answer is None:
            return
        with story.lock:
            for stored, (job, limits) in zip(answer.jobs, drawn, strict=True):
                story.limits[stored.id] = limits
                story.queue_of[stored.id] = job.queue
        for stored in self.rng.sample(answer.jobs, 2):
            self._cancel(stored.id)

    def _draw(self) -> tuple[NewJob, list[tuple[str, int]]]:
        chosen = [rule for rule in RULES if self.rng.random() < rule.share]
        limits = [(rule, self.rng.randint(1, rule.dearest)) for rule in chosen]
        job = NewJob(
            kind="noop",
            queue=self.rng.choices(list(OWN), [3, 3, 4])[0],
            priority=self.rng.randrange(10),
            retry=RETRY,
            limits=[rule.wire(cost) for rule, cost in limits] or None,
        )
        return job, [(rule.key, cost) for rule, cost in limits]

    def _cancel(self, id: int) -> None:
        try:
            summary = self.call(contract.CANCEL_JOB, CancelJob(id=id))
        except RoostError as error:
            if error.code != "conflict":
                raise
            return
        if summary is not None and summary.state in TERMINAL:
            with self.story.lock:
                self.story.ended += 1


class Worker(Client):
    """Claims in batches from all queues, strictly or by weight, and ends what it got in every way there is."""

    calm = False

    def turn(self) -> None:
        weights = {"narrow": 2, "timed": 1, "open": 3} if self.rng.random() < 0.5 else None
        queues = self.rng.sample(list(OWN), len(OWN))
        limit = self.rng.randint(1, 60)
        request = ClaimJobs(worker=self.name, queues=queues, weights=weights, limit=limit, wait="1s", lease=LEASE)
        claimed = self.call(contract.CLAIM, request)
        if claimed is None or not claimed.jobs:
            return
        with self.story.lock:
            self.story.claims += len(claimed.jobs)
        self.story.over.wait(self.rng.random() * 0.03)
        outcomes = [outcome for lease in claimed.jobs if (outcome := self._outcome(lease.id, claimed.token))]
        if not outcomes:
            return
        answer = self.call(contract.SETTLE, SettleJobs(outcomes=outcomes))
        if answer is not None:
            with self.story.lock:
                self.story.ended += sum(result.state in TERMINAL for result in answer.results if result.state)

    def _outcome(self, id: int, token: str) -> Outcome | None:
        chance = self.rng.random()
        if self.calm or chance < 0.9:
            return Outcome(id=id, token=token)
        if chance < 0.94:
            return Outcome(id=id, token=token, outcome="fail")
        if chance < 0.96:
            return Outcome(id=id, token=token, outcome="snooze", after="80ms")
        if chance < 0.98:
            return Outcome(id=id, token=token, outcome="release")
        if chance < 0.998:
            return Outcome(id=id, token=token, outcome="cancel")
        # Abandoned: it holds its slots until its lease is reaped.
        return None


def run(
    store: str,
    folder: Path,
    claims: int,
    seed: int,
    report: Report,
    *,
    kills: int = 0,
    workers: int = 8,
    backlog: int = BACKLOG,
) -> None:
    """``claims`` claims through two servers on ``store``, of about ``backlog`` jobs; the report gets what was found."""
    story = Story()
    rng = random.Random(f"{seed}/nemesis")
    with Server(store, folder, "first", grace="3s") as first, Server(store, folder, "second", grace="3s") as second:
        urls = [first.url, second.url]
        with client(first.url, patient=True) as asked:
            for queue, rule in OWN.items():
                rate = None if rule.rate is None else f"{rule.rate[0]}/{rule.rate[1]}ms"
                asked.queues.edit(queue, QueueRules(concurrency=rule.concurrency, rate=rate, burst=rule.burst))
            staff = [Worker(f"worker-{number}", urls, story, str(seed), backlog) for number in range(workers)]
            producers = [Producer(f"producer-{number}", urls, story, str(seed), backlog) for number in range(2)]
            clients: list[Client] = [*staff, *producers]
            for each in clients:
                each.start()
            deaths = sorted(rng.randrange(claims) for _ in range(kills))
            began = time.monotonic()
            while story.claims < claims and not story.failures:
                time.sleep(0.02)
                if deaths and story.claims >= deaths[0]:
                    deaths.pop(0)
                    victim = rng.choice([first, second])
                    victim.kill()
                    victim.start()
            seconds = time.monotonic() - began
            story.enough.set()
            for worker in staff:
                worker.calm = True
            try:
                until("the backlog is drained", lambda: story.failures or drained(asked), DRAIN_SECONDS)
            except Exception as error:
                report.violations.append(f"jobs are forgotten: {error}")
            story.over.set()
            for each in clients:
                each.join(60)
    report.violations += [f"a client failed: {failure}" for failure in story.failures]
    check(store, story, report)
    report.counts |= {"claims": story.claims, "claims_per_second": round(story.claims / seconds), "server_kills": kills}


# --- the checker ------------------------------------------------------------------------------------------------------


def check(store: str, story: Story, report: Report) -> None:
    """Count everything again from the attempts as they are stored."""
    with psycopg.connect(store) as connection:
        attempts = connection.execute("SELECT job_id, started_at, ended_at, outcome FROM attempt").fetchall()
        left = [
            f"{count} rows of {what} are left"
            for what, query in {
                "slot": "SELECT count(*) FROM slot",
                "job_limit": "SELECT count(*) FROM job_limit",
                "limiter with something taken": "SELECT count(*) FROM limiter WHERE used <> 0",
            }.items()
            if (count := connection.execute(query).fetchone()[0])  # type: ignore[index]
        ]
    report.violations += left
    uses: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for job, started, ended, _ in attempts:
        wants = dict(story.limits.get(job, ()))
        queue = story.queue_of.get(job)
        if queue is not None:
            wants[f"queue:{queue}"] = 1
        for key, cost in wants.items():
            uses[key].append((started, ended, cost))
    fullest: dict[str, int] = {}
    for rule in [*RULES, *OWN.values()]:
        found = uses.get(rule.key, [])
        if rule.concurrency is not None:
            fullest[rule.key] = most = most_at_once(found)
            if most > rule.concurrency:
                report.violations.append(f"{rule.key}: {most} at once, over {rule.concurrency}")
        if rule.rate is not None:
            excess = most_over_rate(found, *rule.rate)
            if excess > (rule.burst or 0):
                report.violations.append(f"{rule.key}: a window has {excess:.2f} more than its rate, over {rule.burst}")
    outcomes = Counter(outcome for *_, outcome in attempts)
    report.counts |= {
        "jobs": len(story.limits),
        "attempts_checked": len(attempts),
        "uses_checked": sum(map(len, uses.values())),
        "keys": len(uses),
        "keys_filled": sum(fullest.get(rule.key) == rule.concurrency for rule in RULES if rule.concurrency),
        "outcomes": dict(sorted(outcomes.items())),
    }


def most_at_once(uses: list[tuple[int, int, int]]) -> int:
    """The highest sum of costs at any moment; who ends in a millisecond makes room in it."""
    moments = sorted(
        moment for started, ended, cost in uses if ended > started for moment in ((started, 1, cost), (ended, 0, -cost))
    )
    most = now = 0
    for _, _, change in moments:
        now += change
        most = max(most, now)
    return most


def most_over_rate(uses: list[tuple[int, int, int]], count: int, period_ms: int) -> float:
    """The most that starts in any window beyond the rate times its length: it must not be over the burst.

    For the window from start i to start j that is sum(i..j) - rate * (t_j - t_i): a difference of two numbers, one for
    each end, of which the smallest so far is kept.
    """
    total, worst = 0, 0
    lowest: int | None = None
    for started, _, cost in sorted(uses):
        before = total * period_ms - count * started
        lowest = before if lowest is None else min(lowest, before)
        total += cost
        worst = max(worst, total * period_ms - count * started - lowest)
    return worst / period_ms


def campaign(claims: int, seed: int, kills: int, output: Path | None) -> int:
    """The campaign on a database server of its own; the exit code."""
    report = Report("limits on postgresql", seed, claims=claims, servers=2, workers=8, kills=kills)
    with tempfile.TemporaryDirectory(prefix="roost-limits-") as folder, PostgresServer(durable=True) as server:
        run(server.create_database(), Path(folder), claims, seed, report, kills=kills)
    return report.finish(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--claims", type=int, default=200_000)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    return campaign(words.claims, words.seed, words.kills, words.output)


if __name__ == "__main__":
    sys.exit(told(main))
