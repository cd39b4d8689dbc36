"""Jobs of several limits: they start though there is never room at all of their keys by chance."""

from __future__ import annotations

import random

import pytest

from roost.domain import limits
from roost.domain.limits import numbers
from roost.domain.placing import Place
from roost.domain.records import LimitRule
from roost.domain.states import State
from roost.engine.calls import CancelJobs, DeleteJobs, HoldJobs, MoveJobs, SetLimit
from tests.conformance.bench import Bench

pytestmark = [pytest.mark.feature("limits"), pytest.mark.feature("fairness")]

LEFT = [LimitRule(key="left", concurrency=2)]
RIGHT = [LimitRule(key="right", concurrency=2)]
BOTH = [*LEFT, *RIGHT]


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 2)


class Traffic:
    """More jobs of each single key than there is ever room for; one of those that run ends at a time."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.chance = random.Random(3)
        bench.enqueue(4, limits=LEFT)
        bench.enqueue(4, limits=RIGHT)
        token, ids = bench.take(20)
        self.running = [(id, token) for id in ids]

    def step(self, *queues: str) -> list[int]:
        """One job ends, two come; who starts."""
        self.bench.enqueue(1, limits=LEFT)
        self.bench.enqueue(1, limits=RIGHT)
        id, token = self.running.pop(self.chance.randrange(len(self.running)))
        self.bench.settle(id, token)
        token, ids = self.bench.take(3, *queues)
        self.running += [(id, token) for id in ids]
        return ids

    def until_it_insists(self, id: int) -> None:
        """Until ``id`` has lost so many turns that it keeps what it needs from others."""
        for _ in range(40):
            assert id not in self.step()
            with self.bench.reader._session() as session:  # type: ignore[attr-defined]
                turns = session.query("SELECT turn FROM job_limit WHERE job_id = :id", {"id": id})
            if all(turn == 1 for (turn,) in turns):
                assert self.bench.state(id) is State.READY
                return
        raise AssertionError("it lost turn after turn")


def test_a_job_of_two_keys_starts_under_endless_load_of_each(bench: Bench) -> None:
    traffic = Traffic(bench)
    (both,) = bench.enqueue(1, limits=BOTH)
    for _ in range(40):
        if both in traffic.step():
            break
    else:
        raise AssertionError("it is starved")
    assert bench.state(both) is State.RUNNING


@pytest.mark.parametrize("way", ["cancel", "delete", "hold", "move", "expire"])
def test_who_insists_and_leaves_keeps_nothing_from_others(bench: Bench, way: str) -> None:
    bench.fed = way != "delete"
    traffic = Traffic(bench)
    (both,) = bench.enqueue(1, limits=BOTH, ttl="1h")
    traffic.until_it_insists(both)
    if way == "expire":
        bench.expire(3_700_000)
    else:
        action = {
            "cancel": CancelJobs(both),
            "delete": DeleteJobs(both),
            "hold": HoldJobs(both, "wait"),
            "move": MoveJobs(both, Place(queue="elsewhere")),
        }[way]
        assert bench.act(action).problem is None  # type: ignore[arg-type]
    ended = traffic.running
    traffic.running = []
    for id, token in ended:
        bench.settle(id, token)
    assert len(bench.take(20)[1]) == 4, "all there is room for"


def test_a_raised_limit_lets_it_start_at_once(bench: Bench) -> None:
    traffic = Traffic(bench)
    (both,) = bench.enqueue(1, limits=BOTH)
    traffic.until_it_insists(both)
    effects = [bench.act(SetLimit(key, numbers(4, None, None, ""))).effects for key in ("left", "right")]
    assert any("default" in each.ready for each in effects), "workers that wait are told"
    assert both in bench.take(1)[1]


def test_a_plain_job_behind_many_that_insist_is_found(bench: Bench) -> None:
    pairs = [
        [LimitRule(key=f"left{number}", concurrency=1), LimitRule(key=f"right{number}", concurrency=1)]
        for number in range(6)
    ]
    for pair in pairs:
        bench.enqueue(1, limits=pair)
    assert len(bench.take(20)[1]) == 6
    waiting = [bench.enqueue(1, limits=pair)[0] for pair in pairs]
    assert bench.take(20)[1] == []
    driver = bench.engine._driver  # type: ignore[attr-defined]
    driver.transaction(lambda transaction: transaction.query("UPDATE job_limit SET lost = 99 RETURNING 1", {}))
    driver.transaction(lambda t: t.query("UPDATE job_limit SET parked = NULL WHERE parked IS NOT NULL RETURNING 1", {}))
    driver.transaction(
        lambda t: t.query("UPDATE job SET state = 'ready', reason = NULL WHERE state = 'waiting' RETURNING 1", {})
    )
    bench.fed = False
    plain = bench.enqueue(2)
    assert bench.take(1)[1] == plain[:1]
    assert bench.reader.states(waiting) == dict.fromkeys(waiting, State.READY)
    assert bench.take(5)[1] == plain[1:]
