"""Random lives under random limits, on every engine: none is exceeded, and nobody is forgotten."""

from __future__ import annotations

import random
from typing import Any

import pytest

from roost.domain.records import LimitRule
from roost.domain.retry import RetryRule
from roost.domain.settle import Ending
from roost.domain.states import TERMINAL
from roost.engine.calls import CancelJobs, DeleteJobs, Promote, SetQueuePaused
from tests.conformance.bench import Bench

pytestmark = pytest.mark.feature("limits")


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_no_limit_is_exceeded_and_nobody_is_forgotten(bench: Bench, seed: int) -> None:
    """Random lives under random limits; then everything that can start is started until nothing is left."""
    rng = random.Random(seed)
    caps = {"a": 1, "b": 2, "c": 5}
    live: dict[int, str] = {}
    costs: dict[int, dict[str, int]] = {}
    known: list[int] = []

    def enqueue() -> None:
        for _ in range(rng.randrange(1, 6)):
            keys = rng.sample("abc", rng.randrange(0, 3))
            cost = {key: rng.randrange(1, caps[key] + 1) for key in keys}
            wanted = [LimitRule(key=key, concurrency=caps[key], cost=cost[key]) for key in keys]
            if rng.random() < 0.3:
                wanted.append(LimitRule(key="rated", rate="20/s", burst=3))
            how: dict[str, Any] = {"queue": rng.choice("xyz"), "priority": rng.randrange(10)}
            if rng.random() < 0.2:
                how["ttl"] = "3s"
            if rng.random() < 0.2:
                how["delay"] = "1s"
            (id,) = bench.enqueue(1, limits=wanted or None, retry=RetryRule(retries=1, base="100ms"), **how)
            costs[id] = cost
            known.append(id)

    def claim() -> None:
        token, ids = bench.take(rng.randrange(1, 5), *rng.sample("xyz", rng.randrange(1, 4)))
        live.update(dict.fromkeys(ids, token))
        for key, cap in caps.items():
            assert sum(costs[id].get(key, 0) for id in live) <= cap

    def settle() -> None:
        for id in rng.sample(sorted(live), min(len(live), rng.randrange(1, 4))):
            kind = rng.choice(["succeed", "fail", "snooze", "release", "cancel"])
            bench.settle(id, live.pop(id), kind, **({"after_ms": 500} if kind == "snooze" else {}))

    def meddle() -> None:
        id = rng.choice(known) if known else 0
        choice = rng.randrange(4)
        if choice == 0:
            bench.act(CancelJobs(id))
        elif choice == 1 and id not in live:
            bench.act(DeleteJobs(id))
        elif choice == 2:
            bench.act(SetQueuePaused(rng.choice("xyz"), rng.random() < 0.5))
        else:
            bench.expire(rng.randrange(2000))

    for _ in range(150):
        rng.choice([enqueue, claim, claim, settle, meddle])()
    for queue in "xyz":
        bench.act(SetQueuePaused(queue, False))
    for id, token in live.items():
        bench.settle(id, token)
    live.clear()
    for _ in range(400):
        token, ids = bench.take(50, "x", "y", "z")
        bench.settle_many([(id, token, Ending(kind="succeed")) for id in ids])
        if ids:
            continue
        due = bench.reader.due().job_at
        if due is None:
            break
        bench.now = max(bench.now, due)
        bench.act(Promote())
    left = {id: state for id, state in bench.reader.states(known).items() if state not in TERMINAL}
    assert not left, {id: bench.job(id) for id in left}
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        assert session.query("SELECT count(*) FROM slot", {}) == [(0,)]
        assert session.query("SELECT count(*) FROM job_limit", {}) == [(0,)]
        assert session.query("SELECT count(*) FROM limiter WHERE used <> 0", {}) == [(0,)]
