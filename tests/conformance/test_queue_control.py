"""Queues cleared, destroyed and counted: nothing is left of what is gone, and counts stay exact however jobs leave."""

from __future__ import annotations

import random
from typing import Any

import pytest

from roost.domain.records import FairRule, HoldRule, LimitRule, QueueRules
from roost.domain.retry import RetryRule
from roost.domain.states import TERMINAL, State
from roost.engine.calls import (
    CancelJobs,
    CancelRunning,
    ClearQueue,
    CountEnded,
    DeleteJobs,
    ForgetQueue,
    Prune,
    PruneOld,
    PruneResults,
    ReopenJobs,
    SetQueuePaused,
    SetQueueRules,
)
from roost.wire.holds import ListHolds
from tests.conformance.bench import Bench


def counts(bench: Bench, name: str = "default") -> dict[str, int]:
    queue = bench.reader.queue(name, bench.now)
    return {state.value: n for state in State if (n := getattr(queue, state.value))}


@pytest.mark.feature("queue-control")
def test_a_clear_leaves_no_ghost(bench: Bench) -> None:
    held = bench.enqueue(hold=HoldRule())[0]
    keyed = bench.enqueue(unique="k", tags={"a": "b"})[0]
    later = bench.enqueue(delay="1h")[0]
    (running,) = bench.enqueue(priority=9)
    token, ids = bench.take()
    assert ids == [running]
    for state in ("waiting", "ready", "held"):
        assert bench.act(ClearQueue(name="default", state=state)).count == 1
    assert bench.reader.states([held, keyed, later, running]) == {running: State.RUNNING}
    assert bench.reader.holds(ListHolds()).holds == []
    assert bench.take(10)[1] == [], "no ghost is handed to a worker"
    (again,) = bench.enqueue(unique="k", text='{"another":"input"}')
    assert again not in (held, keyed, later, running)
    assert bench.settle(running, token).state is State.SUCCEEDED


@pytest.mark.feature("queue-control")
def test_a_clear_works_in_bounded_sets_and_spares_other_queues(bench: Bench) -> None:
    bench.enqueue(7)
    (other,) = bench.enqueue(queue="other")
    sizes = []
    while True:
        acted = bench.act(ClearQueue(name="default", state="ready", limit=3))
        sizes.append(acted.count)
        if not acted.more:
            break
    assert sizes == [3, 3, 1]
    assert bench.state(other) is State.READY


@pytest.mark.feature("queue-control")
def test_a_queue_is_forgotten_only_when_it_is_empty(bench: Bench) -> None:
    bench.act(SetQueueRules("q", QueueRules(timeout="1m")))
    bench.act(SetQueuePaused("q", True))
    (id,) = bench.enqueue(queue="q")
    assert bench.act(ForgetQueue(name="q")).more
    assert bench.reader.queue("q", bench.now).paused
    bench.act(DeleteJobs(id))
    assert not bench.act(ForgetQueue(name="q")).more
    assert [queue.name for queue in bench.reader.queues(bench.now)] == []
    assert bench.reader.queue_rules() == {}
    bench.enqueue(queue="q")
    assert bench.claim(1, "q").count == 1, "a queue of that name begins anew"


@pytest.mark.feature("queue-control", "limits")
def test_nothing_of_a_destroyed_queue_is_left_at_the_keys_its_jobs_waited_for(bench: Bench) -> None:
    """Else each look at a key that all of them share would take longer with every queue of the past."""
    one = [LimitRule(key="gpu", concurrency=1)]
    rules = QueueRules(fairness=FairRule(key="{kind}"))
    (holder,) = bench.enqueue(queue="keeper", limits=one)
    token, _ = bench.take(1, "keeper")
    for number in range(3):
        queue = f"session{number}"
        bench.act(SetQueueRules(queue, rules))
        bench.enqueue(2, queue=queue, limits=one, rules=rules)
        assert bench.take(5, queue)[1] == []
    waits = bench.enqueue(queue="keeper", limits=one)
    assert bench.take(1, "keeper")[1] == []
    for number in range(3):
        while bench.act(ClearQueue(name=f"session{number}", state="waiting")).more:
            pass
        assert not bench.act(ForgetQueue(name=f"session{number}")).more
    bench.act(PruneOld(before=0))
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        assert session.query("SELECT key, queue FROM limiter_queue", {}) == [("gpu", "keeper")]
        assert session.query("SELECT queue FROM fair_band", {}) == []
        assert session.query("SELECT name FROM queue", {}) == []
    bench.settle(holder, token)
    assert bench.take(1, "keeper")[1] == waits


@pytest.mark.feature("queue-control")
def test_all_that_runs_is_asked_to_stop(bench: Bench) -> None:
    ids = bench.enqueue(3)
    token, taken = bench.take(2)
    assert bench.act(CancelRunning(name="default", actor="ana")).count == 2
    assert [bench.job(id).cancel_requested for id in ids] == [True, True, False]
    assert [bench.settle(id, token).state for id in taken] == [State.CANCELLED, State.CANCELLED]


@pytest.mark.feature("queue-control", "retention")
def test_counts_are_exact_however_jobs_end_and_leave(bench: Bench) -> None:
    chance = random.Random(7)
    alive: list[int] = []
    for _ in range(60):
        do = chance.randrange(7)
        if do <= 1 or not alive:
            alive += bench.enqueue(chance.randint(1, 3), retry=RetryRule(retries=0))
        elif do == 2:
            token, ids = bench.take(2)
            for id in ids:
                bench.settle(id, token, chance.choice(["succeed", "fail"]))
        elif do == 3:
            bench.act(CancelJobs(chance.choice(alive)))
        elif do == 4:
            bench.act(ReopenJobs(chance.choice(alive)))
        elif do == 5:
            bench.act(DeleteJobs(chance.choice(alive)))
        else:
            until = bench.now - chance.choice([0, 5, 20])
            for state in TERMINAL:
                bench.act(CountEnded(queue="default", state=state, until=until))
            if chance.random() < 0.2:
                bench.act(Prune(queue="default", state=State.SUCCEEDED, before=bench.now - 10, limit=2))
        found = bench.reader.states(alive)
        expected: dict[str, int] = {}
        for state in found.values():
            expected[state.value] = expected.get(state.value, 0) + 1
        assert counts(bench) == expected
        alive = list(found) or alive


@pytest.mark.feature("queue-control")
def test_counts_of_history_read_what_ended_lately(bench: Bench, explain: Any) -> None:
    bench.enqueue(20)
    token, ids = bench.take(20)
    for id in ids:
        bench.settle(id, token)
    bench.act(CountEnded(queue="default", state=State.SUCCEEDED, until=bench.now))
    assert counts(bench) == {"succeeded": 20}
    assert bench.reader.uncounted(bench.now, 1) == []
    token, ids = bench.take(20) if bench.enqueue(3) else ("", [])
    for id in ids:
        bench.settle(id, token)
    assert bench.reader.uncounted(bench.now, 3) == [("default", "succeeded")]
    assert bench.reader.uncounted(bench.now, 4) == []
    assert counts(bench) == {"succeeded": 23}
    plan = explain("count_roll", {"queue": "default", "state": "succeeded", "until": bench.now})
    assert "job_finished" in plan


@pytest.mark.feature("retention")
def test_results_leave_before_their_jobs(bench: Bench) -> None:
    ids = bench.enqueue(5)
    token, _ = bench.take(5)
    for id in ids:
        bench.settle(id, token, result='{"big":1}', chunks=["1"], summary="Done.")
    after, seen, before = 0, 0, bench.now
    while True:
        acted = bench.act(PruneResults(queue="default", state=State.SUCCEEDED, after=after, before=before, limit=2))
        seen += acted.count
        after = int(acted.reply)
        if not acted.more:
            break
    kept = [id for id in ids if bench.job(id).result is not None]
    assert seen == 5 - len(kept)
    assert kept == ids[4:], "the last one ended too lately"
    first = bench.job(ids[0])
    assert (first.state, first.chunks, first.summary) == (State.SUCCEEDED, 0, "Done.")
