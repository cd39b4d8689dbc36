"""Expiry and deadline over a job's whole life: counted from its time, met by its start, counted anew when reopened."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from roost.domain.placing import Place
from roost.domain.retry import RetryRule
from roost.domain.states import State
from roost.engine.batch import EnqueuedRow
from roost.engine.calls import MoveJobs, Reap, ReopenJobs, RunJobs
from tests.conformance.bench import LEASE, Bench, row
from tests.conformance.test_steering import approve

MINUTE, HOUR = 60_000, 3_600_000


def moment(text: str | None) -> int:
    assert text is not None
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def later(bench: Bench, ms: int) -> datetime:
    return datetime.fromtimestamp((bench.now + ms) / 1000, UTC)


@pytest.mark.feature("delay-expiry")
@pytest.mark.parametrize(
    "ending",
    [
        {"kind": "fail", "after_ms": HOUR},
        {"kind": "snooze", "after_ms": HOUR},
        {"kind": "sleep", "after_ms": HOUR},
        {"kind": "hold"},
    ],
    ids=lambda ending: ending["kind"],
)
def test_what_has_started_in_time_does_not_expire_while_it_waits_to_go_on(bench: Bench, ending: dict[str, Any]) -> None:
    (id,) = bench.enqueue(ttl="1m", retry=RetryRule(retries=3))
    token, _ = bench.take()
    hold = {"hold": bench.hold()} if ending["kind"] == "hold" else {}
    bench.settle(id, token, **ending, **hold)
    bench.expire(30 * MINUTE)
    assert bench.job(id).state in (State.WAITING, State.HELD)
    assert bench.job(id).expires_at is None
    if hold:
        approve(bench, id)
    bench.expire(2 * HOUR)
    assert bench.take()[1] == [id]


@pytest.mark.feature("delay-expiry")
def test_neither_does_a_job_whose_worker_died(bench: Bench) -> None:
    (id,) = bench.enqueue(ttl="1m")
    bench.take()
    bench.tick(LEASE + 1)
    assert bench.act(Reap(bench.now)).count == 1
    bench.expire(2 * MINUTE)
    assert bench.take()[1] == [id]


@pytest.mark.feature("delay-expiry")
def test_a_job_that_was_given_back_unstarted_still_expires(bench: Bench) -> None:
    (id,) = bench.enqueue(ttl="1m")
    token, _ = bench.take()
    bench.settle(id, token, "release")
    bench.expire(2 * MINUTE)
    assert (bench.job(id).state, bench.job(id).reason) == (State.EXPIRED, "not_started_in_time")


@pytest.mark.feature("delay-expiry")
def test_another_time_to_start_brings_another_expiry(bench: Bench) -> None:
    (moved, soon, fixed) = (
        *bench.enqueue(2, delay="10m", ttl="5m"),
        *bench.enqueue(delay="10m", expires_at=later(bench, 15 * MINUTE)),
    )
    far = bench.now + HOUR
    assert bench.act(MoveJobs(moved, Place(run_at=far))).problem is None
    assert moment(bench.job(moved).expires_at) == far + 5 * MINUTE
    assert bench.act(RunJobs(soon)).problem is None
    assert moment(bench.job(soon).expires_at) == bench.now + 5 * MINUTE
    before = bench.job(fixed)
    refused = bench.act(MoveJobs(fixed, Place(run_at=far))).problem
    assert refused is not None
    assert (refused.code, refused.path) == ("invalid_request", "run_at")
    assert bench.job(fixed) == before
    assert bench.act(MoveJobs(fixed, Place(run_at=bench.now + 12 * MINUTE))).problem is None
    assert bench.job(fixed).expires_at == before.expires_at
    bench.expire(6 * MINUTE)
    assert bench.job(soon).state is State.EXPIRED
    bench.expire(14 * MINUTE)
    assert bench.job(fixed).state is State.EXPIRED
    bench.expire(41 * MINUTE)
    assert bench.take()[1] == [moved]


@pytest.mark.feature("unique")
@pytest.mark.feature("delay-expiry")
def test_a_rescheduled_job_does_not_expire_before_it_starts(bench: Bench) -> None:
    bench.enqueue(unique="a", delay="10m", ttl="5m")
    bench.enqueue(unique="b", delay="10m", expires_at=later(bench, 15 * MINUTE))

    def again(key: str, **wishes: Any) -> EnqueuedRow:
        answers = bench.enqueue_rows([row(now=bench.now + 1, unique=key, on_conflict="reschedule", **wishes)])
        assert isinstance(answers, list)
        return answers[0]

    first = again("a", delay="1h")
    assert first.problem is None
    assert moment(bench.job(first.id).expires_at) - moment(bench.job(first.id).run_at) == 5 * MINUTE
    second = again("b", delay="1h")
    assert second.problem is not None
    assert second.problem.code == "invalid_request"
    assert again("b", delay="1h", ttl="1m").problem is None
    assert moment(bench.job(second.id).expires_at) - moment(bench.job(second.id).run_at) == MINUTE


@pytest.mark.feature("failed-jobs")
@pytest.mark.feature("time-limits")
def test_a_reopened_job_has_as_long_again(bench: Bench) -> None:
    (limited, plain) = (*bench.enqueue(ttl="1m", deadline="2m"), *bench.enqueue(ttl="1m"))
    bench.expire(90_000)
    assert bench.job(limited).state is State.EXPIRED
    for id in (limited, plain):
        assert bench.act(ReopenJobs(id)).problem is None
    assert moment(bench.job(limited).expires_at) == bench.now - 1 + MINUTE
    assert moment(bench.job(limited).deadline_at) == bench.now - 1 + 2 * MINUTE
    token, ids = bench.take(2)
    assert ids == [limited, plain]
    bench.expire(3 * MINUTE)
    assert bench.beat(limited, token).cancel
    assert not bench.beat(plain, token).cancel
