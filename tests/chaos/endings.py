"""Ends that are asked for, and pauses: ``python -m tests.chaos.endings --output bench/reliability/endings.json``.

SIGTERM of servers and workers under load, SIGSTOP of a worker beyond its lease, and two nodes of which one is killed.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from roost.domain.schedule import ScheduleRule
from roost.errors import LeaseLost
from roost.sdk._sync.client import Client
from roost.wire.attempts import Beat, Outcome, RecordStep
from roost.wire.contract import RECORD_STEP
from roost.wire.jobs import NewJob
from tests.chaos import checkers, kills
from tests.chaos.clients import json_of
from tests.chaos.journals import journal, new_job, ran, recorded, start_worker
from tests.chaos.programs import Server, client, until
from tests.chaos.report import Report, told
from tests.support.postgres import PostgresServer

GRACE = 5.0
LEASE_SECONDS = 1.0
JOBS = 80
SCHEDULES = 3


def terminate_servers(store: str, folder: Path, report: Report, *, times: int, seed: int) -> None:
    """SIGTERM under load: exit 0 within the grace, and what `kills` checks holds."""

    def end(server: Server) -> None:
        began = time.monotonic()
        code, took = server.stop(), time.monotonic() - began
        if code != 0 or took > GRACE + 1:
            report.violations.append(f"after SIGTERM the server ended with {code} in {took:.1f} s")

    kills.run(store, folder, times, seed, report, end=end, grace=f"{GRACE:g}s", abandons=False)


def terminate_workers(store: str, folder: Path, report: Report, *, times: int) -> None:
    """SIGTERM of a worker amid its jobs: exit 0 within the grace, nothing ran twice, no lease was lost."""
    with Server(store, folder) as server, client(server.url, patient=True) as asked:
        numbers = range(JOBS * times)
        ids = [one.id for one in asked.jobs.enqueue_many([new_job("report", number=number) for number in numbers])]
        words = ["--concurrency", "4", "--grace", f"{GRACE:g}s"]
        for turn in range(times):
            with start_worker(server.url, folder, f"ending-{turn}", *words) as worker:
                pid = worker.process.pid
                until("the worker is busy", lambda pid=pid: any(line["pid"] == pid for line in journal(folder)))  # type: ignore[misc]
                began = time.monotonic()
                code, took = worker.stop(), time.monotonic() - began
                if code != 0 or took > GRACE + 1:
                    report.violations.append(f"after SIGTERM the worker ended with {code} in {took:.1f} s")
        with start_worker(server.url, folder, "last", "--until-idle") as worker:
            assert worker.process.wait(60) == 0
        report.violations += checkers.steps_once(ran(folder), recorded(asked, ids), allowed=0)
        for id in ids:
            job = asked.jobs.get(id)
            outcomes = [attempt.outcome for attempt in job.attempts]
            if job.state != "succeeded" or set(outcomes) - {"succeeded", "released"}:
                report.violations.append(f"job {id} is {job.state} after {outcomes}")
        report.counts |= {"workers_ended": times, "jobs_of_ended_workers": len(ids)}


def pause_worker(store: str, folder: Path, report: Report) -> None:
    """A worker stopped for twice its lease comes back: another one's result stands."""
    with Server(store, folder) as server, client(server.url, patient=True) as asked:
        id = asked.jobs.enqueue(new_job("slow", number=1)).id
        words = ["--lease", f"{LEASE_SECONDS:g}s"]
        with start_worker(server.url, folder, "paused", *words) as paused:
            until("the handler has begun", lambda: journal(folder))
            paused.signal(signal.SIGSTOP)
            stopped = time.monotonic()
            with start_worker(server.url, folder, "other", *words) as other:
                until("another worker has finished", lambda: asked.jobs.get(id).state == "succeeded")
                until("twice the lease is over", lambda: time.monotonic() > stopped + 2 * LEASE_SECONDS)
                (folder / "go").touch()
                paused.signal(signal.SIGCONT)
                codes = [paused.stop(), other.stop()]
        job = asked.jobs.get(id)
        outcomes = [attempt.outcome for attempt in job.attempts]
        if codes != [0, 0]:
            report.violations.append(f"the workers ended with {codes}")
        if outcomes != ["lost", "succeeded"] or bytes(job.result or b"") != b"2":
            report.violations.append(f"job {id} is {job.state} after {outcomes} with the result {job.result!r}")
        report.counts |= {"workers_paused": 1, "late_calls_refused": _zombie(asked, report)}


def _zombie(asked: Client, report: Report) -> int:
    """Whoever lost a lease is refused in whatever it says, before and after somebody else has it; how many calls."""
    id = asked.jobs.enqueue(NewJob(kind="raw", queue="raw")).id
    stale = asked.jobs.claim("zombie", ["raw"], lease="1s").token
    refused = 0
    for finish in (False, True):
        if finish:
            fresh = asked.jobs.claim("other", ["raw"], lease="15s", wait="10s").token
        else:
            until("the lease is reaped", lambda: asked.jobs.get(id).state == "ready")
        refused += _refused(asked, id, stale, report)
    (settled,) = asked.jobs.settle([Outcome(id=id, token=fresh, result=json_of("fresh"))])
    if settled.error is not None:
        report.violations.append(f"the holder of the lease was refused: {settled.error.code}")
    refused += _refused(asked, id, stale, report)
    if bytes(asked.jobs.get(id).result or b"") != b'"fresh"':
        report.violations.append("the result is not the holder's")
    return refused


def _refused(asked: Client, id: int, token: str, report: Report) -> int:
    (settled,) = asked.jobs.settle([Outcome(id=id, token=token, result=json_of("stale"))])
    (beaten,) = asked.jobs.heartbeat("zombie", [Beat(id=id, token=token)]).beats
    answers = {"settle": settled.error, "heartbeat": beaten.error}
    report.violations += [
        f"a late {call} was answered {answer}"
        for call, answer in answers.items()
        if answer is None or answer.code != "lease_lost"
    ]
    step = RecordStep(id=id, token=token, name="late", input_hash="hash", output=json_of(1))
    try:
        asked.call(RECORD_STEP, step)
        report.violations.append("a late step was accepted")
    except LeaseLost:
        pass
    return 3


def two_nodes(store: str, folder: Path, report: Report, *, fires: int) -> None:
    """Two servers share the work and the schedules; one dies with its worker, the other does the rest."""
    with Server(store, folder, "one") as one, Server(store, folder, "two") as two:
        with client(one.url, patient=True) as asked:
            rule = ScheduleRule(every="1s", overlap="allow")
            for number in range(SCHEDULES):
                asked.schedules.put(f"tick-{number}", rule, NewJob(kind="tick", queue="ticks"))
            made = asked.jobs.enqueue_many([new_job("report", number=number) for number in range(4 * JOBS)])
        words = ["--concurrency", "2", "--lease", f"{LEASE_SECONDS:g}s"]
        with (
            start_worker(one.url, folder, "of-one", *words) as first,
            start_worker(two.url, folder, "of-two", *words) as second,
            client(two.url, patient=True) as asked,
        ):
            both = {first.process.pid, second.process.pid}
            until("both nodes' workers have run something", lambda: both <= {line["pid"] for line in journal(folder)})
            one.kill()
            first.kill()
            ids = [job.id for job in made]
            until("the other node has done the rest", lambda: _all_succeeded(asked))
            report.violations += checkers.steps_once(ran(folder), recorded(asked, ids), allowed=2)
            until("the schedules have fired", lambda: len(asked.schedules.runs("tick-0").runs) >= fires)
            instants = _fires(asked, report)
            assert second.stop() == 0
    report.counts |= {"nodes_killed": 1, "jobs_of_two_nodes": len(ids), "fires": instants}


def _all_succeeded(asked: Client) -> bool:
    return not asked.jobs.list(kind=["report"], state=["waiting", "ready", "running"], limit=1).jobs


def _fires(asked: Client, report: Report) -> int:
    count = 0
    for number in range(SCHEDULES):
        runs = asked.schedules.runs(f"tick-{number}", limit=500).runs
        instants = [round(datetime.fromisoformat(run.fire_at).timestamp() * 1000) for run in runs]
        report.violations += checkers.fires(instants, 1000, [run.job for run in runs])
        jobs = asked.jobs.list(schedule=f"tick-{number}", limit=500).jobs
        # One more may have been made since.
        if not {run.job for run in runs} <= {job.id for job in jobs} or len(jobs) > len(runs) + 1:
            report.violations.append(f"tick-{number}: {len(runs)} runs, {len(jobs)} jobs")
        count += len(runs)
    return count


def run(stores: list[str], folder: Path, seed: int, times: int, report: Report, *, fires: int = 10) -> None:
    """All of it, each part on a store of its own; the fourth, where it is given, is one that nodes can share."""
    parts = [folder / name for name in ("servers", "workers", "pause", "nodes")]
    for part in parts:
        part.mkdir()
    terminate_servers(stores[0], parts[0], report, times=times, seed=seed)
    terminate_workers(stores[1], parts[1], report, times=times)
    pause_worker(stores[2], parts[2], report)
    for store in stores[3:]:
        two_nodes(store, parts[3], report, fires=fires)


def campaign(engine: str, times: int, seed: int, output: Path | None) -> int:
    """The campaign on one engine; the exit code."""
    report = Report(f"ends and pauses on {engine}", seed, times=times, engine=engine)
    with tempfile.TemporaryDirectory(prefix="roost-endings-") as folder:
        if engine == "sqlite":
            run([f"sqlite:///{folder}/{number}.db" for number in range(3)], Path(folder), seed, times, report)
        else:
            with PostgresServer(durable=True) as server:
                run([server.create_database() for _ in range(4)], Path(folder), seed, times, report)
    return report.finish(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    return campaign(words.engine, words.times, words.seed, words.output)


if __name__ == "__main__":
    sys.exit(told(main))
