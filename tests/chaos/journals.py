"""What a run of `tests.chaos.jobs` left: the journal of what really ran, the recorded steps, the results."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from roost.domain.retry import RetryRule
from roost.sdk._sync.client import Client
from roost.wire.contract import STEPS
from roost.wire.jobs import JobRef, NewJob, Unique
from tests.chaos.checkers import Ran
from tests.chaos.clients import json_of
from tests.chaos.jobs import FOLDER
from tests.chaos.programs import Program

APP = "tests.chaos.jobs:app"
RETRY = RetryRule(retries=1000, backoff="fixed", base="10ms", cap="10ms")


def start_worker(url: str, folder: Path, name: str, *words: str) -> Program:
    """A real worker of `tests.chaos.jobs` whose journal is in ``folder``."""
    arguments = ["worker", APP, "--url", url, "--name", name, "--log-level", "warning", *words]
    return Program(arguments, folder / f"{name}.log", {FOLDER: str(folder)})


def new_job(kind: str, queue: str = "default", unique: str | None = None, **input: Any) -> NewJob:
    """A job of ``kind`` that is tried until it succeeds."""
    rule = None if unique is None else Unique(key=unique, within="1h")
    return NewJob(kind=kind, input=json_of(input), queue=queue, retry=RETRY, unique=rule)


def journal(folder: Path) -> list[dict[str, Any]]:
    """Every line of the journal, in order."""
    file = folder / "journal"
    return [json.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []


def ran(folder: Path) -> list[Ran]:
    """The step functions that really ran."""
    return [Ran(line["job"], line["step"], line["attempt"]) for line in journal(folder)]


def recorded(client: Client, ids: Iterable[int]) -> dict[tuple[int, str], int]:
    """(job, step) to the attempt that recorded it, as the API tells."""
    return {(id, step.name): step.attempt for id in ids for step in client.call(STEPS, JobRef(id=id)).steps}


def results(client: Client, ids: Iterable[int]) -> dict[int, bytes | None]:
    """The input's number to the result's bytes; None where the job did not succeed."""
    found: dict[int, bytes | None] = {}
    for id in ids:
        job = client.jobs.get(id)
        number = json.loads(bytes(job.input))["number"]
        found[number] = bytes(job.result) if job.state == "succeeded" and job.result is not None else None
    return found
