"""A store against a dictionary: random lives of jobs, and the rules of `roost.domain` say what must come out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from roost.domain.records import Flag, JobFacts, JobOptions
from roost.domain.retry import RetryRule
from roost.domain.settle import Ending, decide
from roost.domain.states import TERMINAL, State
from roost.engine.calls import CancelJobs, Reap, ReopenJobs
from roost.engine.opening import open_store
from tests.conformance.bench import LEASE, Bench, row
from tests.support.feed import Replay

RETRY = RetryRule(retries=2, backoff="fixed", base="10s", jitter=0)


@dataclass
class Known:
    """What the model knows of a job."""

    id: int
    priority: int
    state: State
    run_at: int | None = None
    attempt: int = 0
    failures: int = 0
    deaths: int = 0
    flags: int = 0
    token: str | None = None
    lease_until: int = 0
    result: str | None = None
    ended: list[tuple[str, str]] = field(default_factory=list)
    """(token, outcome) of attempts that ended otherwise than in a plain success."""

    def facts(self) -> JobFacts:
        return JobFacts(
            id=self.id,
            queue="default",
            kind="mail",
            state=self.state,
            reason=None,
            attempt=self.attempt,
            failures=self.failures,
            deaths=self.deaths,
            flags=self.flags,
            created_at=0,
            deadline_at=None,
            started_at=None,
            token=self.token,
            worker=None,
            options=JobOptions(retry=RETRY),
        )


class Lives(RuleBasedStateMachine):
    """Producers, workers that live, die and come back late, an operator and the clock."""

    bench: Bench
    leases = Bundle("leases")

    @initialize()
    def start(self) -> None:
        self.jobs: dict[int, Known] = {}
        self.keys: dict[str, int] = {}

    @rule(count=st.integers(1, 4), priority=st.integers(0, 9), delay=st.sampled_from([None, "20s"]))
    def enqueue(self, count: int, priority: int, delay: str | None) -> None:
        now = self.bench.now + 1
        rows = [row(now=now, priority=priority, delay=delay, retry=RETRY) for _ in range(count)]
        answers = self.bench.enqueue_rows(rows)
        assert isinstance(answers, list)
        for answer in answers:
            state = State.WAITING if delay else State.READY
            assert answer.id not in self.jobs
            self.jobs[answer.id] = Known(answer.id, priority, state, now + 20_000 if delay else None)

    @rule(key=st.sampled_from("ab"), text=st.sampled_from(["1", "2"]))
    def enqueue_unique(self, key: str, text: str) -> None:
        now = self.bench.now + 1
        answers = self.bench.enqueue_rows([row(text=text, now=now, unique=key, retry=RETRY)])
        assert isinstance(answers, list)
        (answer,) = answers
        holder = self.keys.get(key)
        if holder is not None and self.jobs[holder].state not in TERMINAL:
            assert (answer.id, answer.duplicate) == (holder, True)
            assert (answer.problem is not None) == (self.texts[holder] != text)
        else:
            assert not answer.duplicate
            assert answer.id not in self.jobs
            self.jobs[answer.id] = Known(answer.id, 5, State.READY)
            self.keys[key] = answer.id
            self.texts[answer.id] = text

    @property
    def texts(self) -> dict[int, str]:
        return self.__dict__.setdefault("_texts", {})

    @rule(target=leases, limit=st.integers(1, 4))
    def claim(self, limit: int) -> object:
        token, ids = self.bench.take(limit)
        ready = sorted(
            (job for job in self.jobs.values() if job.state is State.READY), key=lambda j: (-j.priority, j.id)
        )
        assert ids == [job.id for job in ready[:limit]], "priority first, then the order they came in"
        for id in ids:
            job = self.jobs[id]
            job.state, job.token, job.attempt = State.RUNNING, token, job.attempt + 1
            job.lease_until = self.bench.now + LEASE
        return multiple(*((id, token) for id in ids))

    @rule(
        lease=leases,
        kind=st.sampled_from(["succeed", "succeed", "fail", "snooze", "release", "cancel"]),
        fatal=st.booleans(),
        result=st.sampled_from([None, '{"sent":1}']),
    )
    def settle(self, lease: tuple[int, str], kind: str, fatal: bool, result: str | None) -> None:
        id, token = lease
        if kind != "succeed":
            result = None
        ending = Ending(
            kind=kind, fatal=fatal and kind == "fail", after_ms=5000 if kind == "snooze" else None, result=result
        )  # type: ignore[arg-type]
        (answer,) = self.bench.settle_many([(id, token, ending)])
        job = self.jobs[id]
        if job.state is State.RUNNING and job.token == token:
            assert answer.problem is None
            self._end(job, ending, token)
            assert answer.state is job.state
        elif self._repeats(job, token, kind):
            assert answer.problem is None
            assert answer.state is job.state
        else:
            assert answer.problem is not None
            assert answer.problem.code == "lease_lost"

    def _repeats(self, job: Known, token: str, kind: str) -> bool:
        """Whether this token's attempt ended by this very word of its worker, or by a cancel in between."""
        outcomes = dict(job.ended)
        if token in outcomes:
            words = {"succeed": "succeeded", "fail": "failed", "snooze": "snoozed", "release": "released"}
            return outcomes[token] == words.get(kind) or (outcomes[token] == "cancelled" and kind != "fail")
        return job.token == token and job.state is State.SUCCEEDED and kind == "succeed"

    def _end(self, job: Known, ending: Ending, token: str) -> None:
        plain = ending.kind == "succeed" and not job.flags
        verdict = decide(job.facts(), ending, self.bench.now, 0.5)
        job.state, job.failures, job.deaths, job.flags = verdict.state, verdict.failures, verdict.deaths, verdict.flags
        job.run_at = verdict.run_at or job.run_at
        if verdict.state is State.SUCCEEDED and ending.result is not None:
            job.result = ending.result
        if not plain:
            job.ended.append((token, verdict.outcome))
        if ending.kind == "lost":
            job.token = None

    @rule(lease=leases)
    def beat(self, lease: tuple[int, str]) -> None:
        id, token = lease
        answer = self.bench.beat(id, token)
        job = self.jobs[id]
        holds = job.state is State.RUNNING and job.token == token
        assert (answer.problem is None) == holds
        if holds:
            job.lease_until = self.bench.now + LEASE
            assert answer.cancel == bool(job.flags & Flag.CANCEL_REQUESTED)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if not self.jobs:
            return
        job = self.jobs[data.draw(st.sampled_from(sorted(self.jobs)))]
        acted = self.bench.act(CancelJobs(job.id))
        if job.state is State.RUNNING:
            job.flags |= Flag.CANCEL_REQUESTED
        elif job.state in TERMINAL and job.state is not State.CANCELLED:
            assert acted.problem is not None
        else:
            job.state = State.CANCELLED

    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        ended = [id for id, job in sorted(self.jobs.items()) if job.state in TERMINAL]
        if not ended:
            return
        job = self.jobs[data.draw(st.sampled_from(ended))]
        acted = self.bench.act(ReopenJobs(job.id))
        key = next((key for key, holder in self.keys.items() if holder == job.id), None)
        if key is None and job.id in self.texts:
            # Its key has gone to another job: refused while that one lives, else taken back.
            key = next(
                k for k in "ab" if acted.problem is None or self.jobs[self.keys.get(k, job.id)].state not in TERMINAL
            )
            if acted.problem is not None:
                assert acted.problem.code == "unique_conflict"
                return
            key = (self.bench.job(job.id).unique_key) or ""
            self.keys[key] = job.id
        assert acted.problem is None
        if job.token and job.state is State.SUCCEEDED:
            job.ended.append((job.token, "succeeded"))
        job.state, job.failures, job.deaths, job.token, job.run_at, job.result = State.READY, 0, 0, None, None, None

    @rule(ms=st.sampled_from([1, 5_000, 21_000]))
    def time_passes(self, ms: int) -> None:
        self.bench.expire(ms)
        for job in self.jobs.values():
            if job.state is State.WAITING and job.run_at is not None and job.run_at <= self.bench.now:
                job.state = State.READY

    @rule(dead=st.booleans())
    def reap(self, dead: bool) -> None:
        """``dead``: the workers were silent for longer than their leases."""
        self.bench.tick(LEASE + 1 if dead else 1)
        self.bench.act(Reap(self.bench.now))
        for job in self.jobs.values():
            if job.state is State.RUNNING and job.lease_until <= self.bench.now:
                self._end(job, Ending(kind="lost"), job.token or "")

    @invariant()
    def the_store_agrees(self) -> None:
        jobs = getattr(self, "jobs", None)
        if not jobs:
            return
        assert self.bench.reader.states(sorted(jobs)) == {id: job.state for id, job in jobs.items()}

    def teardown(self) -> None:
        replay: Replay = self.bench.__dict__.setdefault("replay", Replay())
        replay.read(self.bench.reader)
        replay.check(self.bench.reader)
        for job in getattr(self, "jobs", {}).values():
            told = self.bench.job(job.id)
            assert (told.attempt, told.failures) == (job.attempt, job.failures)
            assert (bytes(told.result).decode() if told.result is not None else None) == job.result
            assert len(told.attempts) == told.attempt, "every attempt is told of"


@contextmanager
def _fresh(url: str) -> Iterator[Bench]:
    store = open_store(url, "embedded", rng=random.Random(7).random)
    engine = store.engine()
    try:
        yield Bench(store, engine)
    finally:
        engine.close()
        store.close()


def _run(bench: Bench, examples: int, phases: tuple[Phase, ...] = tuple(Phase)) -> None:
    """All examples in one store: ids go on, so no example meets another's jobs but through an emptied queue."""

    class OnThisStore(Lives):
        def __init__(self) -> None:
            super().__init__()
            self.bench = bench
            _empty(bench)

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        OnThisStore,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


def _empty(bench: Bench) -> None:
    from roost.engine.calls import DeleteJobs
    from roost.wire.jobs import ListJobs

    bench.tick(10_000_000)
    bench.act(Reap(bench.now, 100_000))
    while page := bench.reader.jobs(ListJobs(limit=500)).jobs:
        for job in page:
            bench.act(CancelJobs(job.id))
            bench.act(DeleteJobs(job.id))


def test_lives_in_memory() -> None:
    with _fresh("sqlite://:memory:") as bench:
        _run(bench, 200)


def test_lives_on_postgresql(postgres_store: str) -> None:
    with _fresh(postgres_store) as bench:
        _run(bench, 25)


def test_the_model_can_fail() -> None:
    """A store that reaps what it should not is caught: the model is not blind."""
    with _fresh("sqlite://:memory:") as bench:
        statements = bench.engine._driver._transaction._statements  # type: ignore[attr-defined]
        sound = dict(statements)
        try:
            statements["reap_candidates"] = sound["reap_candidates"].replace("lease_until <= :before", ":before > 0")
            with pytest.raises(AssertionError):
                _run(bench, 3000, (Phase.generate,))
        finally:
            statements.update(sound)
