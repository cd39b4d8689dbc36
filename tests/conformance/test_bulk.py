"""Bulk operations: each job touched once, whatever stops between the sets; skipped and failed ones told."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roost.domain import holds
from roost.domain.bulk import SET, Work, set_size
from roost.domain.query import parse
from roost.domain.records import HoldRule
from roost.domain.retry import RetryRule
from roost.domain.states import State
from roost.engine.calls import CancelJobs, Promote, ReopenJobs
from roost.engine.searching.protocol import CreateBulk, PruneBulks, SetBulkState, StepBulk
from roost.wire.bulk import Bulk, ListBulkResults, ListBulks
from tests.conformance.bench import LEASE, Bench, row
from tests.conformance.test_crashes import _transaction_type

pytestmark = pytest.mark.feature("bulk")


def start(bench: Bench, action: Any, query: str = "", ids: list[int] | None = None, **more: Any) -> int:
    work = Work(action=action, now=bench.now, **more)
    asked = None
    if action == "approve":
        if ids is None:
            ids = bench.reader.searches.selection(parse(query, bench.now), lambda: 0.0)
            assert ids is not None
        asked = holds.asked(bench.reader.searches.asked(ids))
    acted = bench.act(CreateBulk(query=query, ids=ids, work=work, asked=asked, total=0, exact=True, actor="ana"))
    assert acted.effects.chores
    return msgspec.json.decode(acted.reply, type=Bulk).id


def next_step(bench: Bench, id: int, limit: int = SET) -> StepBulk | None:
    """What the loop would ask for now."""
    found = [one for one in bench.reader.searches.running_bulks() if one.id == id]
    if not found:
        return None
    bulk = found[0]
    limit = set_size(bulk.work, limit)
    if bulk.ids is not None:
        ids = [one for one in bulk.ids if one <= bulk.cursor]
        cursor = ids[limit - 1] - 1 if len(ids) > limit else -1
        return StepBulk(id=id, expected=bulk.cursor, cursor=cursor, ids=ids[:limit])
    query = parse(bulk.query, bulk.work.now)
    some = bench.reader.searches.candidates(query, bulk.cursor, limit, lambda: 0.0)
    return StepBulk(id=id, expected=bulk.cursor, cursor=-1 if some.cursor is None else some.cursor - 1, ids=some.ids)


def carry_out(bench: Bench, id: int, limit: int = SET) -> Bulk:
    while (step := next_step(bench, id, limit)) is not None:
        assert bench.act(step).count == 1
    return bench.reader.searches.bulk(id)


def told(bench: Bench, id: int, type: str) -> int:
    return sum(event.type == type for event in bench.reader.history(id, 0).events)


@pytest.mark.parametrize("limit", [1, 3, 500])
def test_everything_that_matches_is_done_and_the_rest_is_not(bench: Bench, limit: int) -> None:
    meant = bench.enqueue(7, queue="mail")
    other = bench.enqueue(2, queue="other")
    done = carry_out(bench, start(bench, "cancel", "queue:mail"), limit)
    assert (done.state, done.done, done.skipped, done.failed) == ("done", 7, 0, 0)
    assert {bench.state(id) for id in meant} == {State.CANCELLED}
    assert {bench.state(id) for id in other} == {State.READY}
    assert [told(bench, id, "cancelled") for id in meant] == [1] * 7


def test_jobs_that_come_later_are_not_meant(bench: Bench) -> None:
    bench.enqueue(4)
    id = start(bench, "cancel", "state:ready")
    late = bench.enqueue(3)
    assert carry_out(bench, id, 2).done == 4
    assert {bench.state(one) for one in late} == {State.READY}


def test_a_retried_job_that_fails_again_is_not_retried_again(bench: Bench) -> None:
    ids = bench.enqueue(6, retry=RetryRule(retries=0))
    token, _ = bench.take(6)
    for id in ids:
        bench.settle(id, token, "fail")
    bulk = start(bench, "retry", "state:failed", note="again")
    while (step := next_step(bench, bulk, 2)) is not None:
        bench.act(step)
        # A worker is at it at once, and it fails each time.
        token, taken = bench.take(6)
        for id in taken:
            bench.settle(id, token, "fail")
    assert bench.reader.searches.bulk(bulk).done == 6
    assert [told(bench, id, "reopened") for id in ids] == [1] * 6
    assert {bench.job(id).attempt for id in ids} == {2}


def test_a_set_is_carried_out_once_whoever_asks_and_however_often(bench: Bench) -> None:
    ids = bench.enqueue(5)
    bulk = start(bench, "cancel", "state:ready")
    first = next_step(bench, bulk, 2)
    assert first is not None
    assert bench.act(first).count == 1
    # The same set again (its answer was lost), and by another node that saw the same cursor.
    assert bench.act(first).count == 0
    assert bench.act(msgspec.structs.replace(first, ids=ids, cursor=-1)).count == 0
    assert bench.reader.searches.bulk(bulk).done == 2
    assert carry_out(bench, bulk, 2).done == 5
    assert bench.act(first).count == 0
    assert [told(bench, id, "cancelled") for id in ids] == [1] * 5


def test_what_does_not_match_any_more_is_skipped(bench: Bench) -> None:
    ids = bench.enqueue(4)
    bulk = start(bench, "cancel", "state:ready")
    step = next_step(bench, bulk)
    assert step is not None
    # Between the look and the act, a worker took one and somebody cancelled another.
    _, (taken,) = bench.take(1)
    bench.act(CancelJobs(ids[3]))
    bench.act(step)
    found = bench.reader.searches.bulk(bulk)
    assert (found.state, found.done, found.skipped) == ("done", 2, 2)
    assert bench.state(taken) is State.RUNNING
    assert not bench.job(taken).cancel_requested
    results = bench.reader.searches.bulk_results(ListBulkResults(id=bulk)).results
    assert [(one.job, one.outcome) for one in results] == [(ids[3], "skipped"), (ids[0], "skipped")]


def test_pause_resume_abort(bench: Bench) -> None:
    ids = bench.enqueue(6)
    bulk = start(bench, "cancel", "state:ready")
    step = next_step(bench, bulk, 2)
    assert step is not None
    bench.act(step)
    waiting = next_step(bench, bulk, 2)
    assert waiting is not None
    bench.act(SetBulkState(id=bulk, state="paused", actor="bo"))
    assert next_step(bench, bulk, 2) is None
    assert bench.act(waiting).count == 0
    bench.act(SetBulkState(id=bulk, state="running", actor="bo"))
    assert bench.act(waiting).count == 1
    bench.act(SetBulkState(id=bulk, state="aborted", actor="bo"))
    assert next_step(bench, bulk) is None
    found = bench.reader.searches.bulk(bulk)
    assert (found.state, found.done) == ("aborted", 4)
    assert Counter(bench.state(id) for id in ids) == {State.CANCELLED: 4, State.READY: 2}
    refused = bench.act(SetBulkState(id=bulk, state="running")).problem
    assert refused is not None
    assert refused.code == "conflict"


def test_it_is_audited_with_who_did_it(bench: Bench) -> None:
    bench.enqueue(2)
    bulk = start(bench, "cancel", "state:ready")
    carry_out(bench, bulk)
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        rows = session.query("SELECT type, actor, data FROM event WHERE job_id IS NULL ORDER BY id", {})
    events = [(type, actor, msgspec.json.decode(data)) for type, actor, data in rows if type.startswith("bulk")]
    assert [(type, actor) for type, actor, _ in events] == [("bulk_started", "ana"), ("bulk_ended", "ana")]
    assert events[0][2]["query"] == "state:ready"
    assert events[1][2] | {"bulk": 0} == {
        "bulk": 0, "action": "cancel", "state": "done", "done": 2, "skipped": 0, "failed": 0,
    }  # fmt: skip


def test_each_action(bench: Bench) -> None:
    (ready,) = bench.enqueue()
    (waiting,) = bench.enqueue(delay="1h")
    (held,) = bench.enqueue(hold=HoldRule())
    (cancelled,) = bench.enqueue(queue="gone")
    bench.act(CancelJobs(cancelled))
    every = [ready, waiting, held, cancelled]

    def do(action: str, **more: Any) -> tuple[int, int, int]:
        made = carry_out(bench, start(bench, action, ids=every, **more))
        return made.done, made.skipped, made.failed

    assert do("tag", tags={"env": "prod"}) == (4, 0, 0)
    assert {bench.job(id).tags["env"] for id in every} == {"prod"}  # type: ignore[index]
    assert do("tag", untag=["env"]) == (4, 0, 0)
    assert do("priority", priority=9) == (3, 1, 0)
    assert do("move", queue="elsewhere") == (3, 1, 0)
    assert {(bench.job(id).queue, bench.job(id).priority) for id in every[:3]} == {("elsewhere", 9)}
    assert do("hold", title="stop") == (2, 2, 0)
    assert {bench.state(id) for id in every[:3]} == {State.HELD}
    assert do("approve", note="fine") == (3, 1, 0)
    assert [bench.state(id) for id in every[:3]] == [State.READY, State.WAITING, State.READY]
    assert do("retry") == (1, 3, 0)
    assert bench.state(cancelled) is State.READY
    assert do("cancel") == (4, 0, 0)
    assert do("delete") == (4, 0, 0)
    assert [bench.state(id) for id in every] == [None] * 4
    assert do("delete") == (0, 4, 0)


def test_failures_are_told_with_their_reasons(bench: Bench) -> None:
    (first,) = bench.enqueue(unique="k")
    bench.act(CancelJobs(first))
    bench.enqueue(unique="k")
    late = bench.enqueue(hold=HoldRule(expires="1s"))
    retried = carry_out(bench, start(bench, "retry", f"id:{first}"))
    assert (retried.done, retried.failed) == (0, 1)
    (why,) = bench.reader.searches.bulk_results(ListBulkResults(id=retried.id)).results
    assert (why.job, why.outcome, why.code) == (first, "failed", "unique_conflict")
    bench.tick(2_000)
    approved = carry_out(bench, start(bench, "approve", "state:held"))
    (why,) = bench.reader.searches.bulk_results(ListBulkResults(id=approved.id)).results
    assert (why.job, why.code) == (late[0], "hold_expired")
    bench.act(Promote())


def test_approve_in_bulk_never_leads_around_a_question(bench: Bench) -> None:
    (id,) = bench.enqueue()
    token, _ = bench.take()
    bench.settle(id, token, "hold", hold=bench.hold(reason="question"))
    made = carry_out(bench, start(bench, "approve", "state:held"))
    assert (made.done, bench.state(id)) == (0, State.HELD)


def test_approve_in_bulk_approves_what_was_shown_and_nothing_asked_since(bench: Bench) -> None:
    """A decision quotes what was seen: one job asks anew between the look and its turn, another comes to be held."""
    ids = bench.enqueue(3, hold=HoldRule())
    shown = holds.asked(bench.reader.searches.asked(ids))
    work = Work(action="approve", now=bench.now)
    bulk = start(bench, "approve", "state:held")
    (late,) = bench.enqueue(hold=HoldRule())
    # Cancelled and opened again: it asks once more, and that nobody has looked at.
    bench.act(CancelJobs(ids[1]))
    bench.act(ReopenJobs(ids[1], actor="bo"))
    done = carry_out(bench, bulk)
    assert (done.done, done.skipped, done.failed) == (2, 0, 1)
    (why,) = bench.reader.searches.bulk_results(ListBulkResults(id=bulk)).results
    assert (why.job, why.code) == (ids[1], "subject_changed")
    assert [bench.state(id) for id in (*ids, late)] == [State.READY, State.HELD, State.READY, State.HELD]
    # What was shown before is not what is asked now: nothing begins.
    begun = len(bench.reader.searches.bulks(ListBulks()).bulks)
    for quoted in (shown, None):
        refused = bench.act(CreateBulk(query="", ids=ids, work=work, asked=quoted, total=3, exact=True)).problem
        assert refused is not None
        assert refused.code == "subject_changed"
    assert len(bench.reader.searches.bulks(ListBulks()).bulks) == begun


def test_a_tenth_of_the_rate_is_a_tenth_of_a_set(bench: Bench) -> None:
    bench.enqueue(7)
    bulk = start(bench, "cancel", "state:ready", rate=3.0)
    step = next_step(bench, bulk)
    assert step is not None
    assert len(step.ids) == 3
    assert set_size(Work(action="cancel", now=0, rate=0.2)) == 1


def test_lists_and_pruning(bench: Bench) -> None:
    bench.enqueue(2)
    made = [start(bench, "cancel", "state:held") for _ in range(3)]
    for id in made[:2]:
        carry_out(bench, id)
    page = bench.reader.searches.bulks(ListBulks(limit=2))
    assert [one.id for one in page.bulks] == [made[2], made[1]]
    rest = bench.reader.searches.bulks(ListBulks(limit=2, cursor=page.cursor))
    assert ([one.id for one in rest.bulks], rest.cursor) == ([made[0]], None)
    bench.act(PruneBulks(before=bench.now + 1))
    assert [one.id for one in bench.reader.searches.bulks(ListBulks()).bulks] == [made[2]]


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_workers_and_crashes_between_sets_change_nothing_about_once(bench: Bench, data: st.DataObject) -> None:
    queue = f"q{next(_queues)}"
    ids = bench.enqueue(12, queue=queue, retry=RetryRule(retries=0))
    bulk = start(bench, "cancel", f"queue:{queue} -state:succeeded")
    lost: list[StepBulk] = []
    for _ in range(100):
        turn = data.draw(st.sampled_from(["step", "look", "repeat", "work"]))
        step = next_step(bench, bulk, data.draw(st.integers(1, 5)))
        if step is None:
            break
        if turn == "step":
            bench.act(step)
        elif turn == "look":
            lost.append(step)
        elif turn == "repeat" and lost:
            bench.act(data.draw(st.sampled_from(lost)))
        elif turn == "work":
            token, taken = bench.take(2, queue, lease_ms=LEASE)
            for id in taken[:1]:
                bench.settle(id, token)
    made = carry_out(bench, bulk)
    assert (
        made.done + made.skipped + made.failed
        == sum(told(bench, id, "cancelled") + told(bench, id, "cancel_requested") for id in ids) + made.skipped
    )
    for id in ids:
        times = told(bench, id, "cancelled") + told(bench, id, "cancel_requested")
        assert times == (0 if bench.state(id) is State.SUCCEEDED and times == 0 else 1)


_queues = itertools.count()


def test_a_thousand_jobs_take_as_many_statements_as_one(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.enqueue_rows([row(text="{}") for _ in range(900)])
    calls: list[str] = []
    kind = _transaction_type(bench)
    for name in ("run", "send", "ask", "one", "row", "rows", "query"):
        original = getattr(kind, name)

        def spy(self: Any, statement: str, *rest: Any, _original: Any = original, **more: Any) -> Any:
            calls.append(statement[:20])
            return _original(self, statement, *rest, **more)

        monkeypatch.setattr(kind, name, spy)
    counts = []
    bulk = start(bench, "cancel", "state:ready")
    for limit in (1, 400):
        step = next_step(bench, bulk, limit)
        assert step is not None
        calls.clear()
        bench.act(step)
        counts.append(len(calls))
    assert counts[0] == counts[1]
