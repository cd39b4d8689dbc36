"""Tracked attempts in the store: who reaps them, and what their end is called."""

from __future__ import annotations

import pytest

from roost.domain.retry import RetryRule
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.domain.tracked import PREFIX
from roost.engine.calls import CancelJobs, Promote, Reap, TakeJob, UpdateJob
from tests.conformance.bench import Bench

pytestmark = pytest.mark.feature("tracked-work")
HOUR = 3_600_000


def take(bench: Bench, id: int, lease_ms: int | None = None) -> None:
    action = TakeJob(id=id, worker="mia", token=f"{PREFIX}{next(bench.tokens)}", lease_ms=lease_ms)
    assert bench.act(action).problem is None


def reap(bench: Bench, after_ms: int) -> int:
    bench.tick(after_ms)
    return bench.act(Reap(before=bench.now)).count


def test_without_a_lease_nobody_reaps_it(bench: Bench) -> None:
    (id,) = bench.enqueue()
    take(bench, id)
    assert reap(bench, 1000 * HOUR) == 0
    assert bench.act(UpdateJob(id=id, attempt=1, ending=Ending(kind="succeed", result="1"))).problem is None
    assert bench.state(id) is State.SUCCEEDED


def test_a_lease_is_renewed_by_updates_and_lost_without(bench: Bench) -> None:
    (id,) = bench.enqueue(retry=RetryRule(retries=0))
    take(bench, id, lease_ms=HOUR)
    bench.tick(HOUR - 10)
    assert bench.act(UpdateJob(id=id, attempt=1, lease_ms=HOUR)).problem is None
    assert reap(bench, HOUR - 10) == 0
    assert reap(bench, 11) == 1
    job = bench.job(id)
    assert (job.state, job.reason, job.attempts[0].outcome) == (State.FAILED, "lost", "lost")
    problem = bench.act(UpdateJob(id=id, attempt=1, ending=Ending(kind="succeed"))).problem
    assert problem is not None
    assert problem.code == "lease_lost"


@pytest.mark.feature("time-limits")
@pytest.mark.parametrize("lease_ms", [None, 2 * HOUR])
def test_a_time_limit_ends_it_and_is_called_so(bench: Bench, lease_ms: int | None) -> None:
    (id,) = bench.enqueue(timeout="1h", retry=RetryRule(retries=0))
    take(bench, id, lease_ms)
    assert reap(bench, HOUR - 10) == 0
    bench.act(UpdateJob(id=id, attempt=1, lease_ms=lease_ms))
    assert reap(bench, 20) == 1, "no update outlasts the limit"
    job = bench.job(id)
    assert (job.state, job.reason, job.attempts[0].outcome) == (State.FAILED, "time_limit", "timed_out")


@pytest.mark.feature("time-limits")
def test_a_deadline_ends_it_although_nobody_looks(bench: Bench) -> None:
    (id,) = bench.enqueue(deadline="24h")
    take(bench, id)
    bench.tick(24 * HOUR)
    bench.act(Promote())
    job = bench.job(id)
    assert (job.state, job.reason) == (State.CANCELLED, "duration_limit")


@pytest.mark.feature("cancel-move-clone")
def test_a_cancel_revokes_it(bench: Bench) -> None:
    (id,) = bench.enqueue()
    take(bench, id)
    bench.act(CancelJobs(id, "bo"))
    assert bench.state(id) is State.CANCELLED
    assert bench.job(id).attempts[0].outcome == "cancelled"
