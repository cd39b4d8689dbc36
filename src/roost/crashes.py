"""Does a job survive a death anywhere? It is run again and again, its worker dying at another place each time.

With pytest, the fixture ``crash_everywhere`` of `roost.pytest_plugin` has this.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec, TypeVar

from roost.domain.states import TERMINAL
from roost.sdk.attempt import Attempt
from roost.sdk.function import Enqueuer
from roost.sdk.ports import Append, Port, Question, Record, Spawn
from roost.sdk.signals import Stopped
from roost.sdk.worker import Worker
from roost.testing import MOST_ROUNDS, Harness
from roost.wire.attempts import Claimed
from roost.wire.jobs import Job, NewJob

P = ParamSpec("P")
R = TypeVar("R")

Meanwhile = Callable[[Harness], Awaitable[object] | object]
Manner = Literal["no death", "in flight", "after", "lease expired"]


class CrashEverywhere:
    """Runs a job to its end with a death at each place where it writes, and compares what comes out.

    A place is a step, a sleep, a wait, a child or a result's chunk of the job. At each of them its worker dies before
    the write (the work was in flight), dies right after it, and goes on although its lease has expired and somebody
    else has the job. Every run is in a store of its own, in memory, with a clock of its own.
    """

    def __init__(self, meanwhile: Meanwhile | None = None) -> None:
        """``meanwhile`` is called, again if need be, when the job waits for what time alone does not bring.

        Then it approves, answers, or sends a signal; it gets the `roost.testing.Harness` of the run.
        """
        self.meanwhile = meanwhile

    def with_meanwhile(self, meanwhile: Meanwhile) -> CrashEverywhere:
        """The same with somebody who approves, answers or sends signals."""
        return CrashEverywhere(meanwhile)

    async def __call__(self, job: Enqueuer[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The job's result, the same in all runs; raises `AssertionError` for a run that came out otherwise.

        The job needs a retry for its death: with ``retries=0`` it fails by it.
        """
        new_job = job.new_job(*args, **kwargs)
        plain = await self._run(job, new_job, _Death("no death", 0))
        if plain.state != "succeeded":
            raise AssertionError(f"without any death it {plain.what}")
        for place in range(1, plain.places + 1):
            for manner in ("in flight", "after", "lease expired"):
                death = _Death(manner, place)
                run = await self._run(job, new_job, death)
                if (run.state, run.result, run.jobs) != (plain.state, plain.result, plain.jobs):
                    raise AssertionError(
                        f"with a death at {death.where} ({manner}) it {run.what}; without it {plain.what}"
                    )
        return job.handler.decode_result(plain.result)

    async def _run(self, job: Enqueuer[..., Any], new_job: NewJob, death: _Death) -> _Run:
        with Harness() as harness, harness.bound(job.app):
            id = (await job.app.client.jobs.enqueue(new_job)).id
            death.expire = lambda: self._elsewhere(harness, id)

            def make(*args: Any, **kwargs: Any) -> Worker:
                return _DyingWorker(id, death, *args, **kwargs)

            with harness.working_with(make):
                ended = await self._to_end(harness, id)
            jobs = sorted((one.kind, bytes(one.input).decode()) for one in harness.jobs())
        return _Run(str(ended.state), bytes(ended.result or b"null"), jobs, death.places, _told(ended))

    async def _elsewhere(self, harness: Harness, id: int) -> None:
        """The lease runs out, and another worker does the job."""
        await asyncio.to_thread(harness.lose_leases)
        with harness.working_with(Worker):
            await self._to_end(harness, id)

    async def _to_end(self, harness: Harness, id: int) -> Job:
        client = harness.client
        helped = 0
        for _ in range(MOST_ROUNDS):
            await harness.drain()
            job = await client.jobs.get(id)
            if job.state in TERMINAL:
                return job
            if job.state == "running":
                await asyncio.to_thread(harness.lose_leases)
            elif self.meanwhile and _waits_for_somebody(job) and job.attempt != helped:
                # Before its time is over; who does not help an attempt lets it run out.
                helped = job.attempt
                await self._help(harness, job)
            elif not harness.skip_to_next():
                await self._help(harness, job)
        raise AssertionError(f"job {id} does not come to an end")

    async def _help(self, harness: Harness, job: Job) -> None:
        if self.meanwhile is None:
            where = f"{job.state} ({job.reason})" if job.reason else str(job.state)
            raise AssertionError(f"the job is {where}, and nobody helps it on: give with_meanwhile(…)")
        helped = self.meanwhile(harness)
        if isinstance(helped, Awaitable):
            await helped


@dataclass(frozen=True)
class _Run:
    state: str
    result: bytes
    jobs: list[tuple[str, str]]
    """Kind and input of all jobs there are at the end, children included."""
    places: int
    told: str

    @property
    def what(self) -> str:
        return f"{self.told}, with the jobs {self.jobs}"


class _Death:
    """Where a worker dies, and how; it counts the places where it could."""

    def __init__(self, manner: Manner, place: int) -> None:
        self.manner = manner
        self.place = place
        self.places = 0
        self.where = ""
        self.expire: Callable[[], Awaitable[None]]

    async def at(self, worker: _DyingWorker, attempt: Attempt, port: Port, question: Question) -> bytes:
        """The answer to ``question``, unless it comes to that."""
        self.places += 1
        if self.places != self.place or self.manner == "no death":
            return await port.ask(question)
        self.where = f"place {self.place}: {_named(question)}"
        if self.manner == "lease expired":
            async with worker.alone(attempt):
                await self.expire()
            return await port.ask(question)
        if self.manner == "after":
            await port.ask(question)
        attempt.why, attempt.interrupted = "lost", True
        raise Stopped("the worker died here")


class _DyingPort:
    """`roost.sdk.ports.Port` of the job that is tried."""

    def __init__(self, port: Port, worker: _DyingWorker, attempt: Attempt, death: _Death) -> None:
        self._port = port
        self._worker = worker
        self._attempt = attempt
        self._death = death

    async def ask(self, question: Question) -> bytes:
        if isinstance(question, Record | Spawn | Append):
            return await self._death.at(self._worker, self._attempt, self._port, question)
        return await self._port.ask(question)


class _DyingWorker(Worker):
    """A worker that dies under one job, and lives on for the others: only that job's attempt vanishes."""

    def __init__(self, job_id: int, death: _Death, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._job_id = job_id
        self._death = death
        self._claiming = asyncio.Lock()

    @asynccontextmanager
    async def alone(self, attempt: Attempt) -> AsyncIterator[None]:
        """Only ``attempt`` runs here, and nothing more is claimed: no other lease is lost with its."""
        async with self._claiming:
            while self._lanes.backlog or any(one is not attempt for one in self._lanes.attempts()):
                await asyncio.sleep(0)
            await self._settler.drain()
            yield

    async def _claim(self, limit: int) -> tuple[Claimed | None, float]:
        async with self._claiming:
            return await super()._claim(limit)

    def _port(self, attempt: Attempt) -> Port:
        port = super()._port(attempt)
        return _DyingPort(port, self, attempt, self._death) if attempt.id == self._job_id else port


def _waits_for_somebody(job: Job) -> bool:
    return job.state == "held" or job.reason == "event"


def _named(question: Question) -> str:
    if isinstance(question, Record):
        return f"step {question.name!r}"
    return "the start of children" if isinstance(question, Spawn) else "a chunk of the result"


def _told(job: Job) -> str:
    told = f"{job.state} ({job.reason})" if job.reason else str(job.state)
    if job.error is not None:
        told += f" by {job.error.type}: {job.error.message}"
    return f"{told} with {bytes(job.result or b'null').decode()}"
