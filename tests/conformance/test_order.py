"""The order of claims on every engine: priorities, ageing, fair turns, edits of both, weighted claims."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from roost.domain.limits import Numbers
from roost.domain.records import FairRule, LimitRule, QueueRules
from roost.engine.batch import Batch, ClaimAnswer, ClaimWork
from roost.engine.calls import Promote, RankJobs, ReopenJobs, SetLimit, SetQueueRules
from roost.engine.work import ordering
from roost.engine.work.texts import unpack
from tests.conformance.bench import START, Bench

AGEING = QueueRules(ageing="1m")
FAIR = QueueRules(fairness=FairRule(key="{tags.tenant}", weights={"big": 3}))


def edit(bench: Bench, rules: QueueRules) -> None:
    bench.act(SetQueueRules("default", rules))


def enqueue(bench: Bench, tenant: str, count: int = 1, **wishes: Any) -> list[int]:
    return bench.enqueue(count, tags={"tenant": tenant}, rules=FAIR, **wishes)


def rank(bench: Bench) -> int:
    """Rank anew what an edit left to be ranked, as the service does; how many sets it took."""
    sets = 0
    while found := bench.reader.rankings():
        for queue, seen in found:
            bench.act(RankJobs(queue, seen, bench.reader.to_rank(queue, seen, ordering.SET)))
            sets += 1
    return sets


def drain(bench: Bench, step: int = 1) -> list[int]:
    order: list[int] = []
    while True:
        token, ids = bench.take(step)
        if not ids:
            return order
        order += ids
        for id in ids:
            bench.settle(id, token)


@pytest.mark.feature("priority")
def test_priority_then_the_order_they_came_in(bench: Bench) -> None:
    ids = {priority: bench.enqueue(3, priority=priority) for priority in (5, 0, 9, 5, 1)}
    more = bench.enqueue(2, priority=5)
    expected = [*ids[9], *sorted([*ids[5], *more])]
    first = [id for id in drain(bench, 7) if id not in ids[0] + ids[1]]
    assert first[:3] == ids[9]
    assert first[3:] == sorted(first[3:])
    assert set(expected) <= set(first)


@pytest.mark.feature("priority")
def test_a_job_that_waited_nine_periods_goes_before_the_most_urgent(bench: Bench) -> None:
    edit(bench, AGEING)
    (low,) = bench.enqueue(1, priority=0, rules=AGEING)
    bench.tick(8 * 60_000)
    (urgent,) = bench.enqueue(1, priority=9, rules=AGEING)
    bench.tick(2 * 60_000)
    (late,) = bench.enqueue(1, priority=9, rules=AGEING)
    assert drain(bench) == [urgent, low, late]


@pytest.mark.feature("priority")
def test_low_is_not_starved_under_endless_high_load(bench: Bench) -> None:
    edit(bench, AGEING)
    (low,) = bench.enqueue(1, priority=0, rules=AGEING)
    started: list[int] = []
    while started != [low]:
        bench.enqueue(2, priority=9, rules=AGEING)
        bench.tick(60_000)
        _, started = bench.take(1)
        assert bench.now < START + 30 * 60_000
    assert bench.now >= START + 9 * 60_000


@pytest.mark.feature("priority")
def test_an_edited_order_ranks_what_is_stored_anew(bench: Bench) -> None:
    (low,) = bench.enqueue(1, priority=2)
    bench.tick(600_000)
    (high,) = bench.enqueue(1, priority=8)
    edit(bench, AGEING)
    assert bench.take(1)[1] == [low]
    (low,) = bench.enqueue(1, priority=2, rules=AGEING)
    edit(bench, QueueRules())
    (other,) = bench.enqueue(1, priority=5)
    assert drain(bench) == [high, other, low]


@pytest.mark.feature("priority")
def test_rules_somebody_still_had_at_hand_do_no_harm(bench: Bench) -> None:
    """Another node admits by rules of seconds ago: the transaction ranks by those of now."""
    edit(bench, AGEING)
    edit(bench, QueueRules())
    (stale,) = bench.enqueue(1, priority=9, rules=AGEING)
    (fresh,) = bench.enqueue(1, priority=8)
    assert drain(bench) == [stale, fresh]


@pytest.mark.feature("fairness")
def test_tenants_take_turns_by_weight(bench: Bench) -> None:
    edit(bench, FAIR)
    big = enqueue(bench, "big", 60)
    small = enqueue(bench, "small", 20)
    late = enqueue(bench, "late", 20)
    whose = {**dict.fromkeys(big, "big"), **dict.fromkeys(small, "small"), **dict.fromkeys(late, "late")}
    order = drain(bench)
    assert sorted(order) == sorted(whose)
    for served in range(1, 100):
        got = Counter(whose[id] for id in order[:served])
        assert abs(got["small"] - got["late"]) <= 2
        assert abs(got["big"] / 3 - got["small"]) <= 1 / 3 + 1 + 1e-4
    assert [id for id in order if whose[id] == "big"] == big, "in order within a key"


@pytest.mark.feature("fairness")
def test_a_newcomer_does_not_wait_behind_a_backlog(bench: Bench) -> None:
    edit(bench, FAIR)
    enqueue(bench, "old", 500)
    for _ in range(50):
        bench.take(2)
    (new,) = enqueue(bench, "new")
    assert new in bench.take(2)[1]


@pytest.mark.feature("fairness")
def test_priority_goes_before_fairness(bench: Bench) -> None:
    edit(bench, FAIR)
    enqueue(bench, "a", 5)
    (urgent,) = enqueue(bench, "a", priority=9)
    enqueue(bench, "b", 5)
    assert bench.take(1)[1] == [urgent]


@pytest.mark.feature("fairness")
def test_jobs_that_are_not_ready_take_nobodys_turn(bench: Bench) -> None:
    edit(bench, FAIR)
    tomorrow = enqueue(bench, "a", 100, delay="1d")
    now = enqueue(bench, "a", 2)
    other = enqueue(bench, "b", 2)
    assert drain(bench) == [now[0], other[0], now[1], other[1]]
    bench.tick(86_400_000)
    bench.act(Promote())
    again = enqueue(bench, "b", 3)
    order = drain(bench)
    assert set(order[:6]) >= set(again), "a hundred jobs that came due at once keep nobody waiting"
    assert [id for id in order if id in tomorrow] == tomorrow


@pytest.mark.feature("fairness")
def test_fairness_can_begin_and_end_with_jobs_stored(bench: Bench) -> None:
    first = bench.enqueue(4, tags={"tenant": "a"})
    second = bench.enqueue(2, tags={"tenant": "b"})
    edit(bench, FAIR)
    assert bench.take(4)[1] == [first[0], second[0], first[1], second[1]]
    edit(bench, QueueRules())
    third = bench.enqueue(1, priority=6)
    assert drain(bench) == [*third, *first[2:]]


@pytest.mark.feature("fairness")
def test_reopened_jobs_take_their_turns(bench: Bench) -> None:
    edit(bench, FAIR)
    (old,) = enqueue(bench, "a")
    token, _ = bench.take()
    bench.settle(old, token, "fail", fatal=True)
    queue = enqueue(bench, "a", 3)
    bench.act(ReopenJobs(old))
    assert drain(bench) == [*queue, old]


@pytest.mark.feature("fairness")
def test_fair_turns_and_limits_together(bench: Bench) -> None:
    edit(bench, FAIR)
    rule = [LimitRule(key="a", concurrency=1)]
    mine = enqueue(bench, "a", 3, limits=rule)
    others = enqueue(bench, "b", 3)
    _, got = bench.take(10)
    assert got == [mine[0], *others]
    bench.act(SetLimit("a", Numbers(3, None, None, None)))
    assert bench.take(10)[1] == mine[1:]


def claim(bench: Bench, queues: list[str], shares: list[int]) -> Counter[str]:
    work = ClaimWork(queues, sum(shares), next(bench.tokens), "worker", 15_000, shares=shares)
    answer = bench.engine.apply(Batch(bench.tick(), claims=[work])).claimed[0]
    assert isinstance(answer, ClaimAnswer)
    leases = unpack(answer.jobs)
    assert len({lease["id"] for lease in leases}) == len(leases) == answer.count
    return Counter(lease["queue"] for lease in leases)


@pytest.mark.feature("claim")
def test_a_weighted_claim_takes_each_queues_share_and_gives_what_is_missing_to_the_others(bench: Bench) -> None:
    for queue, count in (("a", 20), ("b", 20), ("c", 1)):
        bench.enqueue(count, queue=queue)
    assert claim(bench, ["a", "b", "c"], [3, 2, 2]) == {"a": 4, "b": 2, "c": 1}
    assert claim(bench, ["b", "a", "c"], [1, 0, 0]) == {"b": 1}
    assert claim(bench, ["c", "b", "a"], [4, 0, 0]) == {"b": 4}
    assert claim(bench, ["a", "b"], [30, 30]) == {"a": 16, "b": 13}
    assert claim(bench, ["a", "b"], [3, 3]) == {}


@pytest.mark.feature("claim")
def test_a_weighted_claim_of_limited_and_plain_jobs_starts_each_once(bench: Bench) -> None:
    bench.enqueue(3, queue="a")
    bench.enqueue(4, queue="a", limits=[LimitRule(key="k", concurrency=2)])
    bench.enqueue(3, queue="b")
    assert claim(bench, ["a", "b"], [2, 10]) == {"a": 5, "b": 3}


@pytest.mark.feature("claim")
def test_a_strict_claim_empties_the_first_queue_first(bench: Bench) -> None:
    for queue in "ba":
        bench.enqueue(3, queue=queue)
    assert [bench.job(id).queue for id in bench.take(5, "a", "b")[1]] == ["a", "a", "a", "b", "b"]


# --- long lines -------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "SET", 5)


def tagged(bench: Bench, tenant: str, count: int, **wishes: Any) -> list[int]:
    """Jobs admitted while the queue was plain."""
    return bench.enqueue(count, tags={"tenant": tenant}, **wishes)


@pytest.mark.feature("fairness")
@pytest.mark.usefixtures("small_sets")
def test_a_long_line_is_ranked_in_sets_while_jobs_come_and_go(bench: Bench) -> None:
    big = tagged(bench, "big", 20)
    small = tagged(bench, "small", 8)
    later = tagged(bench, "small", 1, delay="1h")
    bench.enqueue(3, queue="other")
    assert bench.act(SetQueueRules("default", FAIR)).effects.chores
    [(queue, seen)] = bench.reader.rankings()
    assert (queue, seen) == ("default", big[4])
    assert len(bench.take(3, "other")[1]) == 3
    fresh = enqueue(bench, "fresh", 4)
    bench.act(RankJobs("default", seen, bench.reader.to_rank("default", seen, 5)))
    assert bench.act(RankJobs("default", seen, [])).count == 0, "whoever comes second does nothing"
    bench.expire(4_000_000)
    assert rank(bench) == 5
    assert bench.reader.rankings() == []
    order = drain(bench)
    assert sorted(order) == sorted([*big, *small, *later, *fresh])
    for keys in (big, [*small, *later], fresh):
        assert [id for id in order if id in keys] == keys, "in order within a key"
    # Three turns to one, and a newcomer has its turn at once.
    for served in range(5, 20, 5):
        got = Counter("big" if id in big else "fresh" if id in fresh else "small" for id in order[:served])
        assert got["fresh"] in (served // 5, served // 5 + 1)
        assert abs(got["small"] - got["fresh"]) <= 1


@pytest.mark.feature("fairness")
@pytest.mark.usefixtures("small_sets")
def test_an_order_edited_again_while_it_is_applied(bench: Bench) -> None:
    edit(bench, FAIR)
    enqueue(bench, "a", 12)
    b = enqueue(bench, "b", 3)
    edit(bench, QueueRules(fairness=FairRule(key="{tags.tenant}", weights={"b": 9})))
    edit(bench, QueueRules(fairness=FairRule(key="{owner}")))
    edit(bench, FAIR)
    rank(bench)
    order = drain(bench)
    assert len(order) == 15
    assert {order.index(id) for id in b} <= set(range(6)), "the places of old orders are in nobody's way"
    urgent = enqueue(bench, "a", 1, priority=9)
    low = enqueue(bench, "a", 7)
    edit(bench, QueueRules())
    rank(bench)
    assert drain(bench) == [*urgent, *low]


@pytest.mark.feature("fairness")
def test_a_running_job_that_is_given_back_has_a_place_in_the_new_order(bench: Bench) -> None:
    (first,) = tagged(bench, "a", 1)
    token, _ = bench.take(1)
    edit(bench, FAIR)
    enqueue(bench, "a", 10)
    bench.settle(first, token, "release")
    assert bench.take(1)[1] == [first]


@pytest.mark.feature("limits")
@pytest.mark.usefixtures("small_sets")
def test_jobs_that_wait_for_a_limit_are_ranked_too(bench: Bench) -> None:
    one = [LimitRule(key="press", concurrency=1)]
    running = bench.enqueue(1, limits=one)
    token, _ = bench.take(1)
    ids = [bench.enqueue(1, limits=one, priority=priority)[0] for priority in (1, 2, 3, 4, 5, 6, 7, 8)]
    assert bench.take(20)[1] == []
    bench.tick(600_000)
    edit(bench, QueueRules(ageing="1m"))
    late = bench.enqueue(1, limits=one, priority=9, rules=QueueRules(ageing="1m"))
    rank(bench)
    order: list[int] = []
    for _ in range(9):
        bench.settle((order or running)[-1], token)
        token, got = bench.take(5)
        order += got
    assert order == [*reversed(ids), *late]
