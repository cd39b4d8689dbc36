"""Limits by an independent oracle: no window has more starts than its rate, no moment more jobs than it allows."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.domain import limits
from roost.domain.limits import Candidate, Limiter, Line, Want, parse_rate
from roost.domain.records import LimitRule, QueueRules
from roost.domain.templates import NOBODY, Subject, Template, fitting
from roost.errors import InvalidRequest

pytestmark = pytest.mark.feature("limits")


def limiter(
    key: str = "k", concurrency: int | None = None, rate: str | None = None, burst: int | None = None
) -> Limiter:
    numbers = limits.numbers(concurrency, rate, burst, "")
    return Limiter(key, numbers.concurrency, numbers.interval, numbers.burst, 0, 0, 0, False)


def window_excess(starts: list[tuple[int, int]], count: int, period_ms: int, burst: int) -> list[str]:
    """Windows [starts[i], starts[j]] with more cost than burst + rate * length; by counting, not by GCRA."""
    wrong = []
    for i in range(len(starts)):
        total = 0
        for at, cost in starts[i:]:
            total += cost
            length = at - starts[i][0]
            # In whole numbers: total <= burst + count * length / period
            if (total - burst) * period_ms > count * length:
                wrong.append(f"{total} in {length} ms from {starts[i][0]}")
    return wrong


@settings(max_examples=200, deadline=None)
@given(
    count=st.integers(1, 50),
    period=st.sampled_from([7, 1000, 60_000, 3_600_000]),
    burst=st.integers(1, 20),
    wishes=st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 6)), max_size=60),
)
def test_no_window_holds_more_starts_than_its_rate(
    count: int, period: int, burst: int, wishes: list[tuple[int, int]]
) -> None:
    each = limiter(rate=f"{count}/{period}ms", burst=burst)
    now = 1_800_000_000_000
    starts: list[tuple[int, int]] = []
    for wait, wanted in wishes:
        now += wait
        cost = each.cost(wanted)
        at = each.allowed_at(cost, now)
        assert at >= now
        if at > now:
            # It is the *first* moment: one millisecond earlier would not do.
            assert each.allowed_at(cost, at) == at
            assert each.allowed_at(cost, at - 1) == at
            continue
        each.take(cost, now)
        starts.append((now, cost))
    assert window_excess(starts, count, period, burst) == []


@settings(max_examples=100, deadline=None)
@given(count=st.integers(1, 40), burst=st.integers(1, 10))
def test_who_always_comes_at_the_allowed_time_gets_the_whole_rate(count: int, burst: int) -> None:
    each = limiter(rate=f"{count}/s", burst=burst)
    now, starts = 1_800_000_000_000, 0
    begin = now
    while now < begin + 20_000:
        now = each.allowed_at(1, now)
        each.take(1, now)
        starts += 1
    # Times are whole milliseconds: each start may come up to one of them late, and the next is counted from the rate.
    assert starts >= burst + count * 20 - count - 1


jobs_strategy = st.lists(
    st.tuples(st.sets(st.sampled_from("abc"), min_size=0, max_size=2), st.integers(1, 3), st.integers(1, 900)),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(jobs=jobs_strategy, concurrency=st.integers(1, 4), own=st.sampled_from([None, 1, 3]), seed=st.integers(0, 99))
def test_no_moment_holds_more_jobs_than_the_concurrency(
    jobs: list[tuple[set[str], int, int]], concurrency: int, own: int | None, seed: int
) -> None:
    """A discrete world: jobs run for a while, ends let others go; counted again from the intervals alone."""
    limiters = {key: limiter(key, concurrency) for key in "abc"}
    if own is not None:
        limiters["queue:q"] = limiter("queue:q", own)
    ready = [Candidate(n, 0, [Want(k, c) for k in sorted(keys)]) for n, (keys, c, _) in enumerate(jobs)]
    parked: dict[int, str] = {}
    running: list[tuple[int, int]] = []
    intervals: list[tuple[int, int, Candidate]] = []
    by_id = {job.id: job for job in ready}
    now = 0
    while ready or running:
        first = {k: min((0, id) for id, key in parked.items() if key == k) for k in set(parked.values())}
        decision = limits.decide(ready, limiters, first, None if own is None else "queue:q", 1 + seed % 5, now)
        parked |= decision.parked
        for job in decision.granted:
            end = now + jobs[job.id][2]
            heapq.heappush(running, (end, job.id))
            intervals.append((now, end, job))
        taken = {job.id for job in decision.granted} | set(decision.parked)
        ready = [job for job in ready if job.id not in taken]
        if taken and ready and not decision.full:
            continue
        if not running:
            assert not ready, "room is left, and nobody takes it"
            break
        now, ended = heapq.heappop(running)
        if own is not None:
            limiters["queue:q"].used -= 1
        for want in by_id[ended].wants:
            each = limiters[want.key]
            each.used -= each.cost(want.cost)
        for key in "abc":
            waiting = sorted(id for id, at in parked.items() if at == key)
            ahead = sum(
                limiters[key].cost(want.cost) for job in ready for want in job.wants if want.turn and want.key == key
            )
            costs = {id: next(w.cost for w in by_id[id].wants if w.key == key) for id in waiting}
            free, next_at = limits.refill(limiters[key], [Line("q", ahead, [(id, costs[id]) for id in waiting])], now)
            assert next_at is None
            assert free == waiting[: len(free)], "in their order"
            for id in free:
                del parked[id]
                job = by_id[id]
                turned = Candidate(id, 0, [Want(w.key, w.cost, w.key == key) for w in job.wants])
                ready.append(turned)
        ready.sort(key=lambda job: job.id)
    assert len(intervals) == len(jobs), "nobody waits for ever"
    for moment in {at for at, _, _ in intervals}:
        there = [job for at, end, job in intervals if at <= moment < end]
        for key in "abc":
            cost = sum(min(want.cost, concurrency) for job in there for want in job.wants if want.key == key)
            assert cost <= concurrency
        if own is not None:
            assert len(there) <= own


def test_a_job_that_needs_much_is_not_passed_by_those_that_need_little() -> None:
    each = limiter(concurrency=4)
    each.used = 2
    big, small = Candidate(1, 4, [Want("k", 3)]), Candidate(2, 4, [Want("k", 1)])
    decision = limits.decide([big, small], {"k": each}, {}, None, 10, 0)
    assert decision.parked == {1: "k", 2: "k"}
    decision = limits.decide([small], {"k": each}, {"k": (4, 1)}, None, 10, 0)
    assert decision.parked == {2: "k"}, "also when it waits already"
    first = Candidate(3, 3, [Want("k", 1)])
    assert limits.decide([first], {"k": each}, {"k": (4, 1)}, None, 10, 0).granted == [first], "a higher priority does"


def test_one_blocked_key_does_not_hide_another() -> None:
    blocked, free = limiter("blocked", 1), limiter("free", 1)
    blocked.used = 1
    jobs = [Candidate(n, 4, [Want("blocked", 1)]) for n in range(50)] + [Candidate(99, 4, [Want("free", 1)])]
    decision = limits.decide(jobs, {"blocked": blocked, "free": free}, {}, None, 1, 0)
    assert [job.id for job in decision.granted] == [99]


def test_a_lowered_limit_lets_expensive_jobs_run_alone() -> None:
    each = limiter(concurrency=2)
    assert limits.decide([Candidate(1, 4, [Want("k", 5)])], {"k": each}, {}, None, 1, 0).granted
    assert each.used == 2


def test_each_queue_is_offered_the_room_of_a_key() -> None:
    each = limiter(concurrency=3)
    each.used = 1
    lines = [Line("paused by its workers", 2, [(1, 1)]), Line("b", 0, [(2, 1), (3, 1), (4, 1)])]
    assert limits.refill(each, lines, 0) == ([2, 3], None)


def test_a_rate_says_when_to_look_again_only_where_nobody_is_about_to_start() -> None:
    each = limiter(rate="1/s", burst=1)
    each.take(1, 10_000)
    assert limits.refill(each, [Line("q", 0, [(1, 1)])], 10_000) == ([], 11_000)
    assert limits.refill(each, [Line("q", 0, [(1, 1), (2, 1)])], 11_000) == ([1], None)
    assert limits.refill(each, [Line("q", 1, [(2, 1)])], 11_000) == ([], None)


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("100/m", 600_000),
        ("1/s", 1_000_000),
        ("7/m", 8_571_429),
        ("1000000/s", 1),
        ("5/10s", 2_000_000),
        ("1/d", 86_400_000_000),
    ],
)
def test_rates_are_read(text: str, interval: int) -> None:
    assert parse_rate(text, "rate").interval == interval


@pytest.mark.parametrize(
    "text", ["", "5", "/s", "0/s", "5/x", "-1/s", "5/0s", "1.5/s", "5/s\n", "9999999/s", "5/400d", "1/\ud800"]
)
def test_what_is_no_rate_is_refused_with_its_path(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_rate(text, "limits[0].rate")
    assert caught.value.path == "limits[0].rate"


JOB = Subject(
    kind="mail", queue="q", input='{"user":{"id":42,"name":"ana","on":true}}', owner="ana", tags={"tenant": "acme"}
)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("mail", "mail"),
        ("tenant:{tags.tenant}", "tenant:acme"),
        ("{input.user.id}/{input.user.name}", "42/ana"),
        ("{kind}.{queue}.{owner}", "mail.q.ana"),
        ("{input.user}", '{"id":42,"name":"ana","on":true}'),
        ("{input.user.on}", "true"),
        ("x{input.none.at.all}{tags.other}", "x"),
        ("{tags.other}", NOBODY),
    ],
)
def test_keys_are_made_of_the_job(text: str, key: str) -> None:
    assert Template(text, "key").key(JOB) == key


@pytest.mark.parametrize(
    "text", ["", "{", "}", "{x}", "{input}", "{tags.}", "{{kind}}", "a\nb", "x" * 201, "{input.a..b}"]
)
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        Template(text, "rules.limits[0].key")
    assert caught.value.path == "rules.limits[0].key"


def test_long_keys_stay_apart() -> None:
    one, other = fitting("x" * 300 + "a"), fitting("x" * 300 + "b")
    assert one != other
    assert len(one) <= 200
    assert fitting("a\nb") == "a?b"


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        (QueueRules(concurrency=0), "rules.concurrency"),
        (QueueRules(rate="many"), "rules.rate"),
        (QueueRules(burst=3), "rules.burst"),
        (QueueRules(limits=[LimitRule(key="{x}")]), "rules.limits[0].key"),
        (QueueRules(limits=[LimitRule(key="queue:q", concurrency=1)]), "rules.limits[0].key"),
        (QueueRules(limits=[LimitRule(key="k", concurrency=2, cost=3)]), "rules.limits[0].cost"),
        (QueueRules(limits=[LimitRule(key="k", rate="2/s", cost=3)]), "rules.limits[0].cost"),
        (QueueRules(limits=[LimitRule(key="k")] * 9), "rules.limits"),
    ],
)
def test_limits_no_job_could_have_are_refused(rules: QueueRules, path: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        limits.check_limits(rules, "rules")
    assert caught.value.path == path


def test_a_jobs_own_word_on_a_key_goes_before_its_queues() -> None:
    rules = QueueRules(limits=[LimitRule(key="tenant:{tags.tenant}", concurrency=5), LimitRule(key="all", rate="9/s")])
    own = [LimitRule(key="tenant:acme", concurrency=2, cost=2)]
    found = limits.of_job(rules, own, JOB, "")
    assert found == [LimitRule(key="tenant:acme", concurrency=2, cost=2), LimitRule(key="all", rate="9/s")]
    with pytest.raises(InvalidRequest):
        limits.of_job(QueueRules(), [LimitRule(key="queue:q", concurrency=1)], JOB, "")
    named = Subject(kind="k", queue="q", input="null", owner="queue:q")
    assert (
        limits.of_job(QueueRules(limits=[LimitRule(key="{owner}", concurrency=1)]), None, named, "")[0].key
        == "_queue:q"
    )
