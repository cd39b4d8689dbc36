"""Limits on every engine: exact in the claim's transaction, given back on every path, nobody hidden or forgotten."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from roost.domain.limits import NO_LIMIT, Numbers, numbers
from roost.domain.records import HoldRule, LimitRule, QueueRules
from roost.domain.retry import RetryRule
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine.batch import Batch, ClaimAnswer, ClaimWork, SettleRow
from roost.engine.calls import (
    CancelJobs,
    DecideHold,
    DeleteJobs,
    Promote,
    Reap,
    ReopenJobs,
    SetLimit,
    SetQueuePaused,
    SetQueueRules,
)
from roost.engine.work.texts import pack, unpack
from roost.wire.holds import ListHolds
from roost.wire.limits import ListLimits
from tests.conformance.bench import Bench, row

pytestmark = pytest.mark.feature("limits")

KEY = "press"
ONE = [LimitRule(key=KEY, concurrency=1)]


def taken(bench: Bench, key: str = KEY) -> tuple[int, int]:
    """What the key's running jobs take, and how many wait for it; checked against the slots themselves."""
    [found] = [each for each in bench.reader.limits(ListLimits(limit=500), bench.now).limits if each.key == key]
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        [(slots,)] = session.query("SELECT coalesce(sum(cost), 0) FROM slot WHERE key = :key", {"key": key})
    assert slots == found.running
    return found.running, found.waiting


def states(bench: Bench, ids: list[int]) -> list[str]:
    found = bench.reader.states(ids)
    return [str(found[id]) if id in found else "gone" for id in ids]


def test_a_job_without_room_waits_and_is_let_go_in_order(bench: Bench) -> None:
    ids = bench.enqueue(4, limits=ONE)
    token, first = bench.take(10)
    assert first == ids[:1]
    assert states(bench, ids) == ["running", "waiting", "waiting", "waiting"]
    assert bench.job(ids[1]).reason == "throttled"
    assert bench.job(ids[1]).run_at is None
    assert taken(bench) == (1, 3)
    urgent = bench.enqueue(1, limits=ONE, priority=9)
    assert bench.take(10)[1] == []
    for expected in [urgent[0], *ids[1:]]:
        bench.settle(first[0], token)
        assert bench.state(expected) is State.READY, "let go with the commit that gave the slot back"
        token, first = bench.take(10)
        assert first == [expected]
    bench.settle(first[0], token)
    assert taken(bench) == (0, 0)


def _reap(bench: Bench, id: int, token: str) -> None:
    bench.tick(20_000)
    bench.act(Reap(bench.now))


def _die_for_the_last_time(bench: Bench, id: int, token: str) -> None:
    bench.settle(id, token, "fail", died=True)
    for _ in range(2):
        bench.act(SetLimit("other", NO_LIMIT))
        if bench.state(id) is State.WAITING:
            bench.expire(10_000_000)
        token, [id] = bench.take()
        bench.settle(id, token, "fail", died=True)
    assert bench.job(id).reason == "quarantine"


def _ends(kind: str, **ending: Any) -> Callable[[Bench, int, str], None]:
    def end(bench: Bench, id: int, token: str) -> None:
        bench.settle(id, token, kind, **ending)

    return end


def _hold(bench: Bench, id: int, token: str) -> None:
    bench.settle(id, token, "hold", hold=bench.hold())


def _cancel_then_succeed(bench: Bench, id: int, token: str) -> None:
    bench.act(CancelJobs(id))
    assert taken(bench)[0] == 1, "what was asked to stop still runs"
    bench.settle(id, token)


def _deadline(bench: Bench, id: int, token: str) -> None:
    bench.expire(700_000)
    bench.settle(id, token)


WAYS_OUT: dict[str, Callable[[Bench, int, str], None]] = {
    "success": _ends("succeed", result="1"),
    "early exit": _ends("succeed", exit=True),
    "retry": _ends("fail"),
    "failure": _ends("fail", fatal=True),
    "time limit": _ends("fail", timed_out=True),
    "snooze": _ends("snooze", after_ms=60_000),
    "sleep": _ends("sleep", after_ms=60_000),
    "cancel by the handler": _ends("cancel"),
    "cancel": _cancel_then_succeed,
    "hold": _hold,
    "reaped for good": _reap,
    "deadline": _deadline,
}


@pytest.mark.parametrize("way", WAYS_OUT)
def test_every_way_out_of_running_gives_the_slot_back(bench: Bench, way: str) -> None:
    retries = 0 if way == "reaped for good" else 5
    deadline = "10m" if way == "deadline" else None
    (id,) = bench.enqueue(1, limits=ONE, retry=RetryRule(retries=retries), deadline=deadline)
    token, _ = bench.take()
    (other,) = bench.enqueue(1, limits=ONE)
    assert bench.take()[1] == []
    assert taken(bench) == (1, 1)
    WAYS_OUT[way](bench, id, token)
    assert bench.state(id) is not State.RUNNING
    assert taken(bench) == (0, 0)
    assert bench.take(5)[1] == [other]
    assert taken(bench)[0] == 1


@pytest.mark.parametrize("way", ["release", "lost"])
def test_a_job_that_is_ready_again_stands_where_it_stood(bench: Bench, way: str) -> None:
    (id,) = bench.enqueue(1, limits=ONE)
    token, _ = bench.take()
    (other,) = bench.enqueue(1, limits=ONE)
    bench.take()
    _reap(bench, id, token) if way == "lost" else bench.settle(id, token, "release")
    assert taken(bench)[0] == 0
    assert bench.take(5)[1] == [id]
    assert states(bench, [id, other]) == ["running", "waiting"]
    assert taken(bench) == (1, 1)


def test_poison_gives_its_slot_back_when_it_is_held(bench: Bench) -> None:
    (id,) = bench.enqueue(1, limits=ONE, retry=RetryRule(retries=9))
    token, _ = bench.take()
    _die_for_the_last_time(bench, id, token)
    assert taken(bench) == (0, 0)
    hold = bench.reader.holds(ListHolds(job=id)).holds[0]
    bench.act(DecideHold(id=hold.id, decision="approve", subject_hash=hold.subject_hash, actor="ana", note=""))
    assert bench.take()[1] == [id]
    assert taken(bench) == (1, 0)


def test_a_lease_that_ran_out_holds_its_slot_until_it_is_reaped(bench: Bench) -> None:
    bench.enqueue(2, limits=ONE, retry=RetryRule(retries=0))
    bench.take()
    bench.tick(100_000)
    assert bench.take()[1] == []
    bench.act(Reap(bench.now))
    assert len(bench.take()[1]) == 1


@pytest.mark.parametrize("let_go", [False, True], ids=["parked", "let go"])
@pytest.mark.parametrize("way", ["cancel", "expire", "delete"])
def test_whoever_leaves_the_line_leaves_no_ghost(bench: Bench, way: str, let_go: bool) -> None:
    (first,) = bench.enqueue(1, limits=ONE)
    token, _ = bench.take()
    (leaving,) = bench.enqueue(1, limits=ONE, ttl="1m", queue="default")
    (last,) = bench.enqueue(1, limits=ONE)
    assert bench.take(5)[1] == []
    if let_go:
        bench.settle(first, token)
        assert bench.state(leaving) is State.READY
    if way == "cancel":
        bench.act(CancelJobs(leaving))
    elif way == "expire":
        bench.expire(120_000)
        assert bench.state(leaving) is State.EXPIRED
    else:
        bench.act(DeleteJobs(leaving))
    if not let_go:
        assert taken(bench) == (1, 1)
        bench.settle(first, token)
    assert bench.state(last) is State.READY, "the next in line has the turn"
    assert bench.take(5)[1] == [last]
    assert taken(bench) == (1, 0)


def test_costs_are_counted_and_nobody_small_passes_somebody_big(bench: Bench) -> None:
    def enqueue(cost: int) -> int:
        return bench.enqueue(1, limits=[LimitRule(key=KEY, concurrency=4, cost=cost)])[0]

    small = [enqueue(1), enqueue(1)]
    token, got = bench.take(5)
    assert got == small
    big, later = enqueue(3), enqueue(1)
    assert bench.take(5)[1] == [], "two units are free; the big one needs three, and the small one comes after it"
    bench.settle(small[0], token)
    assert bench.take(5)[1] == [big]
    assert taken(bench) == (4, 1)
    bench.settle(small[1], token)
    assert bench.take(5)[1] == [later]


def test_all_limits_of_a_job_must_have_room(bench: Bench) -> None:
    both = [LimitRule(key="a", concurrency=1), LimitRule(key="b", concurrency=1)]
    (one,) = bench.enqueue(1, limits=both[:1])
    (two,) = bench.enqueue(1, limits=both[1:])
    token, _ = bench.take(5)
    (three,) = bench.enqueue(1, limits=both)
    assert bench.take(5)[1] == []
    bench.settle(one, token)
    assert bench.take(5)[1] == [], "it waits for b now"
    (four,) = bench.enqueue(1, limits=both[:1])
    token_of_four, got = bench.take(5)
    assert got == [four], "and keeps nobody from a"
    bench.settle(two, token)
    assert bench.take(5)[1] == []
    bench.settle(four, token_of_four)
    assert bench.take(5)[1] == [three]
    assert taken(bench, "a") == (1, 0)
    assert taken(bench, "b") == (1, 0)


def test_who_was_let_go_before_somebody_came_back_is_not_in_his_way(bench: Bench) -> None:
    (first,) = bench.enqueue(1, limits=ONE)
    (plain,) = bench.enqueue(1, delay="1s")
    second, third = bench.enqueue(2, limits=ONE)
    token, _ = bench.take(1)
    assert bench.take(5)[1] == []
    bench.settle(first, token, "snooze", after_ms=1000)
    assert states(bench, [first, second, third]) == ["waiting", "ready", "waiting"]
    (urgent,) = bench.enqueue(1, limits=ONE, priority=9)
    token, got = bench.take(1)
    assert got == [urgent]
    bench.expire(2000)
    # The first one is back and finds no room; this claim does not come as far as the second one, which keeps its turn.
    assert bench.take(1)[1] == [plain]
    assert states(bench, [first, second, third]) == ["waiting", "ready", "waiting"]
    bench.settle(urgent, token)
    order = []
    for _ in range(3):
        token, got = bench.take(5)
        order += got
        for id in got:
            bench.settle(id, token)
    assert order == [first, second, third]


def test_one_blocked_key_hides_nobody_however_many_jobs_it_has(bench: Bench) -> None:
    bench.enqueue_rows([row(now=bench.now, limits=ONE)] * 3000)
    (other,) = bench.enqueue(1, limits=[LimitRule(key="other", concurrency=1)])
    (plain,) = bench.enqueue(1)
    found: list[int] = []
    for _ in range(3):
        now = bench.tick()
        work = ClaimWork(["default"], 3, next(bench.tokens), "worker", 15_000)
        applied = bench.engine.apply(Batch(now, claims=[work]))
        answer = applied.claimed[0]
        assert isinstance(answer, ClaimAnswer)
        found += [int(lease["id"]) for lease in unpack(answer.jobs)]
        if not {other, plain} <= set(found):
            assert applied.effects.ready.get("default"), "it is told to come again"
    assert {other, plain} <= set(found)
    assert taken(bench) == (1, 2999)


@pytest.fixture
def statements(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements the engine runs."""
    seen: list[str] = []
    found: list[Any] = []
    bench.engine._driver.transaction(found.append)  # type: ignore[attr-defined]
    for method in ("run", "one", "row", "rows"):
        original = getattr(type(found[0]), method)

        def spy(self: Any, statement: str, _original: Any = original, **parameters: object) -> Any:
            seen.append(statement)
            return _original(self, statement, **parameters)

        monkeypatch.setattr(type(found[0]), method, spy)
    return seen


def test_parked_jobs_cost_later_claims_nothing(
    bench: Bench, statements: list[str], explain: Callable[..., str]
) -> None:
    bench.fed = False
    bench.enqueue(1, limits=ONE)
    bench.take()
    bench.enqueue(1)
    statements.clear()
    assert len(bench.take(1)[1]) == 1
    before = list(statements)
    for _ in range(10):
        bench.enqueue_rows([row(now=bench.now, limits=ONE)] * 1000)
    while bench.reader.queue("default", bench.now).ready:
        bench.take(5)
    assert bench.reader.queue("default", bench.now).waiting == 10_000
    bench.enqueue(1)
    statements.clear()
    assert len(bench.take(1)[1]) == 1
    assert statements == before
    plan = explain("claim_candidates", {"queue": "default", "now": bench.now, "limit": 10})
    assert "job_ready" in plan, plan
    plan = explain("limit_lines", {"keys": pack([KEY]), "limit": 10})
    assert "job_limit_parked" in plan, plan
    plan = explain("limiter_facts", {"keys": pack([KEY]), "queue": "default"})
    assert "job_limit_parked" in plan, plan


def test_plain_jobs_in_plain_queues_run_no_statement_of_limits(bench: Bench, statements: list[str]) -> None:
    bench.enqueue(3)
    token, ids = bench.take(3)
    bench.settle_many([(id, token, Ending(kind="succeed")) for id in ids])
    assert not [name for name in statements if "limit" in name or "slot" in name or "order" in name or "fair" in name]


def test_the_statements_of_limited_claims_do_not_grow_with_the_jobs(bench: Bench, statements: list[str]) -> None:
    def life(count: int) -> list[str]:
        rule = [LimitRule(key=f"wide{count}", concurrency=count // 2, rate="1000000/s")]
        bench.enqueue(2)
        bench.enqueue_rows([row(now=bench.now, limits=rule)] * count)
        statements.clear()
        token, ids = bench.take(count // 2 + 2)
        bench.settle_many([(id, token, Ending(kind="succeed")) for id in ids])
        return list(statements)

    assert life(4) == life(400)


# --- rates ------------------------------------------------------------------------------------------------------------


def test_a_rate_lets_its_burst_start_and_the_rest_on_time(bench: Bench) -> None:
    rule = [LimitRule(key=KEY, rate="1/s", burst=2)]
    ids = bench.enqueue(5, limits=rule)
    start = bench.now
    assert bench.take(10)[1] == ids[:2]
    due = bench.reader.due().job_at
    assert due is not None
    assert 999 <= due - start <= 1002
    bench.now = due - 2
    bench.act(Promote())
    assert bench.take(10)[1] == [], "not a moment too soon"
    bench.now = due
    bench.act(Promote())
    assert bench.take(10)[1] == ids[2:3]
    assert bench.reader.due().job_at is not None
    bench.tick(60_000)
    bench.act(Promote())
    assert bench.take(10)[1] == ids[3:]
    assert bench.reader.due().job_at is None, "nobody waits, nothing is due"


def test_nobody_looks_again_while_those_that_were_let_go_have_not_started(bench: Bench) -> None:
    ids = bench.enqueue(5, limits=[LimitRule(key=KEY, rate="1/s", burst=1)])
    assert bench.take(10)[1] == ids[:1]
    for _ in range(3):
        bench.tick(5000)
        bench.act(Promote())
    assert bench.reader.due().job_at is None
    assert bench.reader.queue("default", bench.now).ready == 1
    bench.act(CancelJobs(ids[1]))
    assert bench.state(ids[2]) is State.READY, "whose turn is not used passes it on"


def test_a_cancelled_line_does_not_delay_who_stood_behind_it(bench: Bench) -> None:
    ids = bench.enqueue(50, limits=[LimitRule(key=KEY, rate="1/m", burst=1)])
    bench.take(100)
    for id in ids[1:49]:
        bench.act(CancelJobs(id))
    bench.tick(60_000)
    bench.act(Promote())
    assert bench.take(5)[1] == ids[49:]


def test_rate_and_concurrency_of_one_key(bench: Bench) -> None:
    ids = bench.enqueue(4, limits=[LimitRule(key=KEY, concurrency=1, rate="1/s", burst=1)])
    token, got = bench.take(10)
    bench.settle(got[0], token)
    assert bench.take(10)[1] == [], "there is a slot, but it is too soon"
    bench.tick(1500)
    bench.act(Promote())
    token, got = bench.take(10)
    assert got == ids[1:2]
    bench.tick(5000)
    bench.act(Promote())
    assert bench.take(10)[1] == [], "it is time, but there is no slot"
    bench.settle(got[0], token)
    assert bench.take(10)[1] == ids[2:3]


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_a_raised_limit_lets_go_at_once(bench: Bench) -> None:
    ids = bench.enqueue(5, limits=ONE)
    bench.take(10)
    acted = bench.act(SetLimit(KEY, Numbers(3, None, None, None)))
    assert acted.effects.ready == {"default": 2}
    assert states(bench, ids) == ["running", "ready", "ready", "waiting", "waiting"]
    assert bench.take(10)[1] == ids[1:3]
    bench.enqueue(1, limits=[LimitRule(key=KEY, concurrency=4)])
    assert bench.take(10)[1] == ids[3:4], "a job's word on its key is the last one"
    bench.enqueue(1, limits=[LimitRule(key=KEY)])
    assert taken(bench)[0] == 4, "and no word changes nothing"
    bench.act(SetLimit(KEY, NO_LIMIT))
    assert len(bench.take(10)[1]) == 3


def test_a_lowered_limit_holds_from_now_on(bench: Bench) -> None:
    ids = bench.enqueue(6, limits=[LimitRule(key=KEY, concurrency=3)])
    token, got = bench.take(10)
    bench.act(SetLimit(KEY, Numbers(1, None, None, None)))
    for id in got[:2]:
        bench.settle(id, token)
        assert bench.take(10)[1] == []
    bench.settle(got[2], token)
    assert bench.take(10)[1] == ids[3:4]


def test_many_are_let_go_in_small_sets_to_the_last(bench: Bench) -> None:
    bench.enqueue_rows([row(now=bench.now, limits=ONE)] * 1300)
    while bench.reader.queue("default", bench.now).ready:
        bench.take(1)
    bench.act(SetLimit(KEY, Numbers(5000, None, None, None)))
    for _ in range(4):
        bench.act(Promote())
    assert bench.reader.queue("default", bench.now).ready == 1299


# --- a queue's own limit ----------------------------------------------------------------------------------------------


def rules(bench: Bench, queue: str = "default", **fields: Any) -> Any:
    return bench.act(SetQueueRules(queue, QueueRules(**fields)))


def test_a_queues_own_limit_counts_what_runs_already_and_what_is_stored(bench: Bench) -> None:
    ids = bench.enqueue(6)
    token, running = bench.take(2)
    rules(bench, concurrency=3)
    assert taken(bench, "queue:default") == (2, 0)
    second, got = bench.take(10)
    assert got == ids[2:3]
    assert states(bench, ids[3:]) == ["ready"] * 3, "a queue's limit parks nobody"
    work = [(running[0], token), (running[1], token), (got[0], second)]
    for id, own in work:
        bench.settle(id, own)
    assert taken(bench, "queue:default") == (0, 0)
    assert bench.take(10)[1] == ids[3:]
    rules(bench)
    assert not bench.reader.limits(ListLimits(prefix="queue:"), bench.now).limits


def test_a_freed_slot_of_a_queue_wakes_a_claim(bench: Bench) -> None:
    rules(bench, concurrency=1)
    bench.enqueue(2)
    token, [first] = bench.take(5)
    assert bench.take(5)[1] == []
    applied = bench.engine.apply(Batch(bench.tick(), settles=[[SettleRow(first, token, Ending(kind="succeed"))]]))
    assert applied.effects.ready == {"default": 1}


def test_a_queues_rate(bench: Bench) -> None:
    rules(bench, rate="2/s")
    ids = bench.enqueue(5)
    assert bench.take(10)[1] == ids[:2]
    due = bench.reader.due().job_at
    assert due is not None
    bench.now = due
    acted = bench.act(Promote())
    assert acted.effects.ready.get("default")
    assert bench.take(10)[1] == ids[2:3]


def test_a_paused_queue_keeps_nothing_from_the_others(bench: Bench) -> None:
    (first,) = bench.enqueue(1, limits=ONE, queue="a")
    token, _ = bench.take(1, "a")
    bench.enqueue(1, limits=ONE, queue="b")
    (last,) = bench.enqueue(1, limits=ONE, queue="c")
    assert bench.take(5, "b", "c")[1] == []
    bench.act(SetQueuePaused("b", True))
    bench.settle(first, token)
    token, got = bench.take(5, "b", "c")
    assert got == [last]
    bench.settle(last, token)
    assert bench.take(5, "b")[1] == []
    acted = bench.act(SetQueuePaused("b", False))
    assert acted.effects.ready == {"b": 1}
    assert len(bench.take(5, "b")[1]) == 1


# --- lives ------------------------------------------------------------------------------------------------------------


def test_a_reopened_job_counts_again(bench: Bench) -> None:
    (id,) = bench.enqueue(1, limits=ONE)
    token, _ = bench.take()
    bench.settle(id, token, "fail", fatal=True)
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        assert session.query("SELECT count(*) FROM job_limit", {}) == [(0,)], "an ended job takes nothing"
    (other,) = bench.enqueue(1, limits=ONE)
    token, _ = bench.take()
    bench.act(ReopenJobs(id))
    assert bench.take(5)[1] == []
    bench.settle(other, token)
    assert bench.take(5)[1] == [id]


def test_a_held_job_takes_nothing_before_it_starts(bench: Bench) -> None:
    (held,) = bench.enqueue(1, limits=ONE, hold=HoldRule())
    (other,) = bench.enqueue(1, limits=ONE)
    assert bench.take(5)[1] == [other]
    hold = bench.reader.holds(ListHolds(job=held)).holds[0]
    bench.act(DecideHold(id=hold.id, decision="approve", subject_hash=hold.subject_hash, actor="ana", note=""))
    assert bench.take(5)[1] == []
    assert states(bench, [held]) == ["waiting"]


def test_queue_rules_give_keys_to_jobs(bench: Bench) -> None:
    of_queue = QueueRules(limits=[LimitRule(key="tenant:{tags.tenant}", concurrency=1)])
    ids = [bench.enqueue(1, rules=of_queue, tags={"tenant": name})[0] for name in ("a", "a", "b")]
    assert bench.take(5)[1] == [ids[0], ids[2]]
    assert taken(bench, "tenant:a") == (1, 1)


def test_numbers_are_stored_as_they_are_said(bench: Bench) -> None:
    bench.act(SetLimit("mail", numbers(7, "100/m", None, "")))
    [found] = bench.reader.limits(ListLimits(prefix="ma"), bench.now).limits
    assert (found.key, found.concurrency, found.rate, found.burst, found.available) == ("mail", 7, "100/m", 100, 100)
    assert bench.reader.limits(ListLimits(prefix="x"), bench.now).limits == []
