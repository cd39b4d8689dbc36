"""The order of queues, by independent models: priorities, ageing, fair turns, weighted claims."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.domain import order
from roost.domain.order import BAND, SCALE, Band
from roost.domain.records import FairRule, QueueRules
from roost.errors import InvalidRequest


@pytest.mark.feature("priority")
def test_the_rank_of_a_plain_queue_is_its_priority() -> None:
    assert [order.plain_rank(priority) for priority in range(9, -1, -1)] == list(range(10))


@pytest.mark.feature("priority")
@given(
    jobs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 10**7)), min_size=2, max_size=50),
    ageing=st.sampled_from([1, 1000, 60_000]),
)
def test_a_period_waited_is_worth_one_priority(jobs: list[tuple[int, int]], ageing: int) -> None:
    """A job goes before another exactly when it waited more periods longer than the other is higher in priority."""
    for one_priority, one_since in jobs:
        for two_priority, two_since in jobs:
            one = order.ageing_rank(one_priority, one_since, ageing)
            two = order.ageing_rank(two_priority, two_since, ageing)
            assert (one < two) == (two_since - one_since > (two_priority - one_priority) * ageing)


@pytest.mark.feature("priority")
def test_low_starts_under_endless_high_load() -> None:
    """Every 100 ms two jobs of priority 9 come and one job starts: priority 0 starts nine periods later than them."""
    ageing = 10_000
    waiting = [(order.ageing_rank(0, 0, ageing), 0)]
    for turn in range(2000):
        now = turn * 100
        waiting += [
            (order.ageing_rank(9, now, ageing), 2 * turn + 1),
            (order.ageing_rank(9, now, ageing), 2 * turn + 2),
        ]
        waiting.sort()
        _, started = waiting.pop(0)
        if started == 0:
            break
    assert 90_000 <= now <= 2 * 90_000 + 200, "as soon as all that came nine periods after it is younger"


def _serve(band: Band, backlog: dict[str, int], weights: dict[str, int]) -> list[str]:
    """All of a backlog enqueued key after key, then claimed by rank."""
    ranks = []
    number = 0
    for key, count in backlog.items():
        for _ in range(count):
            ranks.append((band.place(key, weights.get(key, 1)), number, key))
            number += 1
    return [key for _, _, key in sorted(ranks)]


@pytest.mark.feature("fairness")
@settings(max_examples=200, deadline=None)
@given(
    weights=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10), min_size=2),
    served=st.integers(1, 300),
)
def test_keys_with_a_backlog_get_their_shares_to_within_a_job(weights: dict[str, int], served: int) -> None:
    """At any moment two keys differ, measured by their weights, by no more than one job of each."""
    started = Counter(_serve(Band(0), dict.fromkeys(weights, 400), weights)[:served])
    for one, one_weight in weights.items():
        for two, two_weight in weights.items():
            lead = started[one] / one_weight - started[two] / two_weight
            assert lead <= 1 / one_weight + 1 / two_weight + 1e-4


@pytest.mark.feature("fairness")
def test_a_key_with_a_million_jobs_does_not_keep_a_newcomer_waiting() -> None:
    band = Band(0)
    for _ in range(1000):
        band.place("big", 1)
    ranks = {"big": [n * SCALE for n in range(1000)]}
    # Ten of them have started; the queue stands at the eleventh.
    later = Band(ranks["big"][10], dict(band.ends), band.latest)
    assert later.place("small", 1) == ranks["big"][10]
    assert later.place("small", 1) == ranks["big"][11]


@pytest.mark.feature("fairness")
def test_a_key_saves_nothing_up_while_it_is_away() -> None:
    band = Band(500 * SCALE, {"rested": 3 * SCALE, "busy": 500 * SCALE}, 500 * SCALE)
    assert band.place("rested", 1) == 500 * SCALE
    assert band.place("busy", 1) == 500 * SCALE


@pytest.mark.feature("fairness")
def test_priorities_keep_their_bands() -> None:
    assert order.band_of(9) == 0
    assert order.band_of(0) + BAND <= 2**63
    assert order.band_of(5) < order.unplaced_rank(5) < order.band_of(4)


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        (QueueRules(ageing="0s"), "rules.ageing"),
        (QueueRules(ageing="soon"), "rules.ageing"),
        (QueueRules(ageing="5m", fairness=FairRule(key="{owner}")), "rules.ageing"),
        (QueueRules(fairness=FairRule(key="{x}")), "rules.fairness.key"),
        (QueueRules(fairness=FairRule(key="{owner}", weights={"a": 0})), "rules.fairness.weights.a"),
        (QueueRules(fairness=FairRule(key="{owner}", weights={"a": 1001})), "rules.fairness.weights.a"),
    ],
)
@pytest.mark.feature("fairness")
def test_an_order_no_job_could_have_is_refused(rules: QueueRules, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        order.check_order(rules, "rules")
    assert caught.value.path == path


@pytest.mark.feature("claim")
@settings(max_examples=100, deadline=None)
@given(
    weights=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), min_size=1),
    limit=st.integers(1, 50),
    seed=st.integers(0, 2**32),
)
def test_each_queue_gets_its_share_of_a_claim_to_within_a_job(weights: dict[str, int], limit: int, seed: int) -> None:
    names = sorted(weights)
    spread = dict(order.spread(names, weights, limit, random.Random(seed).random))
    assert sorted(spread) == names
    assert sum(spread.values()) == limit
    for name, share in spread.items():
        exact = limit * weights[name] / sum(weights.values())
        assert exact - 1 < share < exact + 1


@pytest.mark.feature("claim")
def test_claims_for_one_job_come_to_each_queue_as_often_as_it_weighs() -> None:
    rng = random.Random(7).random
    weights = {"high": 6, "low": 3}
    firsts: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for _ in range(10_000):
        spread = order.spread(["high", "low", "rest"], weights, 1, rng)
        asked[spread[0][0]] += 1
        firsts[next(name for name, share in spread if share)] += 1
    for name, weight in {**weights, "rest": 1}.items():
        assert abs(firsts[name] - weight * 1000) < 150
        assert abs(asked[name] - weight * 1000) < 150, "also when the first share finds nothing"


@pytest.mark.feature("claim")
def test_weights_name_the_claims_queues() -> None:
    with pytest.raises(InvalidRequest) as caught:
        order.check_weights(["a"], {"b": 1}, "weights")
    assert caught.value.path == "weights.b"
