"""Servers killed under load: ``python -m tests.chaos.kills --kills 50 --output bench/reliability/server_kills.json``.

Producers and workers go on calling while the server dies by ``kill -9`` every 0 to 500 ms and is started again. Then
everything is drained, and what the clients were told is compared with what the API tells.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from roost.domain.states import TERMINAL, State
from roost.sdk._sync.client import Client
from roost.wire.contract import STEPS
from roost.wire.jobs import JobRef
from tests.chaos import checkers
from tests.chaos.clients import Caller, Producer, Worker
from tests.chaos.history import History
from tests.chaos.programs import Server, client, until
from tests.chaos.report import Report, told
from tests.support.postgres import PostgresServer

LONGEST_LIFE = 0.5
DRAIN_SECONDS = 120.0
PAUSE = 0.05


def run(
    store: str,
    folder: Path,
    kills: int,
    seed: int,
    report: Report,
    *,
    end: Callable[[Server], object] = Server.kill,
    grace: str = "10s",
    abandons: bool = True,
) -> None:
    """End the server of ``store`` ``kills`` times under load, drain, and check; the report gets what was found.

    ``abandons``: some leases are left to run out, which takes a server's whole grace after its start.
    """
    rng = random.Random(f"{seed}/nemesis")
    history = History(folder / "history.jsonl")
    with Server(store, folder, grace=grace) as server:
        keys: dict[str, int] = {}
        workers = [Worker(f"worker-{number}", server.url, history, str(seed)) for number in range(3)]
        producers = [Producer(f"producer-{number}", server.url, history, str(seed), keys, PAUSE) for number in range(4)]
        for worker in workers:
            worker.abandons = abandons
        callers: list[Caller] = [*producers, *workers]
        for caller in callers:
            caller.start()
        starts = []
        for _ in range(kills):
            # Not waiting for anything: when the server dies is what is left to chance.
            time.sleep(rng.uniform(0, LONGEST_LIFE))
            end(server)
            starts.append(server.start())
        for producer in producers:
            producer.end()
        for worker in workers:
            worker.calm = True
        with client(server.url, patient=True) as asked:
            until("the backlog is drained", lambda: drained(asked), DRAIN_SECONDS)
            for worker in workers:
                worker.end()
            jobs = found(asked)
    check(history, jobs, report)
    starts.sort()
    report.counts |= {"server_ends": kills, "restart_p50_s": round(starts[len(starts) // 2], 2)}
    report.counts |= {"restart_max_s": round(starts[-1], 2)}
    history.close()


def check(history: History, jobs: dict[int, checkers.Found], report: Report) -> None:
    """Put every violation and the counts into the report."""
    entries = history.entries()
    for checker in (checkers.enqueues, checkers.unique_keys, checkers.fencing, checkers.recorded_steps):
        report.violations += [f"{checker.__name__}: {violation}" for violation in checker(entries, jobs)]
    for job in jobs.values():
        report.violations += checkers.event_path(job)
    known = [entry for entry in entries if entry.outcome == "ok"]
    report.counts |= {
        "jobs": len(jobs),
        "calls": len(entries),
        "acknowledged_enqueues": sum(entry.call.startswith("enqueue") for entry in known),
        "acknowledged_steps": sum(entry.call == "step" for entry in known),
        "unknown_outcomes": sum(entry.outcome == "info" for entry in entries),
        "stale_outcomes_tried": sum(entry.call == "settle" and entry.asked["stale"] for entry in known),
    }


def drained(client: Client) -> bool:
    """Whether every job has ended."""
    return not client.jobs.list(state=[state for state in State if state not in TERMINAL], limit=1).jobs


def found(client: Client) -> dict[int, checkers.Found]:
    """Every job there is, as the API tells of it."""
    jobs: dict[int, checkers.Found] = {}
    cursor: str | None = None
    while True:
        page = client.jobs.list(limit=500, cursor=cursor)
        for summary in page.jobs:
            assert summary.id not in jobs
            jobs[summary.id] = _found(client, summary.id)
        cursor = page.cursor
        if cursor is None:
            return jobs


def _found(client: Client, id: int) -> checkers.Found:
    job = client.jobs.get(id)
    events = client.jobs.events(id)
    steps = client.call(STEPS, JobRef(id=id)).steps if any(event.type == "step" for event in events) else []
    return checkers.Found(
        id=id,
        state=job.state,
        input=_value(job.input),
        result=_value(job.result),
        attempt=job.attempt,
        events=[(event.number, event.type, _value(event.data) or {}) for event in events],
        steps={step.name: bytes(step.output).decode() for step in steps},
    )


def _value(json: msgspec.Raw | None) -> Any:
    return None if json is None else msgspec.json.decode(json)


def campaign(engine: str, kills: int, seed: int, output: Path | None) -> int:
    """The campaign on one engine; the exit code."""
    report = Report(f"server kills on {engine}", seed, kills=kills, engine=engine)
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
