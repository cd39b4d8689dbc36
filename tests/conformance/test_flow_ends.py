"""Every way a job can end, and everything that waits for it: no path skips what follows."""

from __future__ import annotations

import pytest

from roost.domain.records import WaitRow
from roost.domain.retry import RetryRule
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine.calls import DecideHold, DeleteJobs, SendSignal
from roost.wire.holds import ListHolds
from tests.conformance.bench import Bench
from tests.conformance.flows import ENDS, GOOD, STATE_AFTER, add, advance, create_batch, end, job, prepared, run

pytestmark = [
    pytest.mark.feature("dependencies"),
    pytest.mark.feature("batches"),
    pytest.mark.feature("chains"),
    pytest.mark.feature("children"),
]


@pytest.mark.parametrize("policy", ["cancel", "fail", "run"])
@pytest.mark.parametrize("how", ENDS)
def test_a_dependent_follows_every_end(bench: Bench, how: str, policy: str) -> None:
    need = add(bench, **prepared(how))
    waits = add(bench, after=[need], policy=policy, queue="later")
    assert (bench.state(waits), bench.job(waits).reason, bench.job(waits).run_at) == ("waiting", "dependency", None)
    assert bench.job(waits).waiting_for == 1
    end(bench, need, how)
    assert bench.state(need) == STATE_AFTER[how]
    advance(bench)
    stored = bench.job(waits)
    if how in GOOD or policy == "run":
        assert (stored.state, stored.reason) == (State.READY, None)
        assert bench.take(1, "later")[1] == [waits]
    else:
        state = State.CANCELLED if policy == "cancel" else State.FAILED
        assert (stored.state, stored.reason) == (state, "dependency_failed")
        assert stored.finished_at is not None


@pytest.mark.parametrize("how", ENDS)
def test_a_batch_counts_every_end_and_calls_back_once(bench: Bench, how: str) -> None:
    batch = create_batch(
        bench,
        [job(bench, **prepared(how))],
        complete=job(bench, "complete", queue="cb"),
        success=job(bench, "success", queue="cb"),
        failure=job(bench, "failure", queue="cb"),
    )
    (member,) = batch.jobs
    assert (batch.state, batch.total, batch.pending) == ("sealed", 1, 1)
    end(bench, member, how)
    advance(bench)
    advance(bench)
    batch = bench.reader.flow.batch(batch.id)
    counted = {"deny": "failed", "delete": "cancelled", "reap": "failed"}.get(how) or STATE_AFTER[how]
    assert (batch.state, batch.pending, getattr(batch, str(counted))) == ("finished", 0, 1)
    _, called = bench.take(10, "cb")
    assert sorted(batch.callbacks) == sorted(called)
    kinds = {bench.job(id).kind for id in called}
    assert kinds == {"complete", "success" if how in GOOD else "failure"}
    assert {bench.job(id).batch for id in called} == {batch.id}


@pytest.mark.parametrize("how", ENDS)
def test_a_chain_goes_on_or_stops_at_every_end(bench: Bench, how: str) -> None:
    rows = [job(bench, queue=f"q{place}", **(prepared(how) if place == 0 else {})) for place in range(4)]
    batch = create_batch(bench, rows, chain=True)
    end(bench, batch.jobs[0], how)
    advance(bench)
    rest = [bench.job(id) for id in batch.jobs[1:]]
    if how == "succeed":
        assert [each.state for each in rest] == ["ready", "waiting", "waiting"]
        for id in batch.jobs[1:]:
            end(bench, id, "succeed")
            advance(bench)
        assert bench.reader.flow.batch(batch.id).succeeded == 4
    else:
        reason = "early_exit" if how == "early_exit" else "dependency_failed"
        assert {(each.state, each.reason) for each in rest} == {(State.CANCELLED, reason)}
        told = bench.reader.flow.batch(batch.id)
        assert (told.skipped if how == "early_exit" else told.cancelled - (how in ("cancel", "delete"))) == 3
    assert bench.reader.flow.batch(batch.id).state == "finished"


@pytest.mark.parametrize("how", ENDS)
def test_a_waiting_parent_goes_on_after_every_end_of_its_children(bench: Bench, how: str) -> None:
    parent = add(bench, queue="parents")
    token = run(bench, parent)
    children = [add(bench, parent=parent, queue=f"c{place}", **prepared(how)) for place in range(2)]
    answer = bench.settle(parent, token, "wait", wait=WaitRow(jobs=children))
    assert answer.problem is None
    assert (bench.job(parent).state, bench.job(parent).reason, bench.job(parent).waiting_for) == (
        "waiting",
        "dependency",
        2,
    )
    end(bench, children[0], how)
    advance(bench)
    # An expiry ends both at once.
    assert bench.state(parent) is (State.READY if how == "expire" else State.WAITING)
    if how != "expire":
        end(bench, children[1], how)
        advance(bench)
    stored = bench.job(parent)
    assert (stored.state, stored.failures) == (State.READY, 0)
    assert bench.job(parent).attempt == 1
    run(bench, parent)
    assert bench.job(parent).attempt == 2


@pytest.mark.parametrize("how", ["cancel", "cancel_waiting"])
def test_cancelling_a_parent_cancels_its_children(bench: Bench, how: str) -> None:
    parent = add(bench, queue="parents")
    ready, running, held = (add(bench, parent=parent, queue=f"c{place}") for place in range(3))
    grandchild = add(bench, parent=ready, queue="g")
    token = run(bench, running)
    end(bench, parent, how)
    advance(bench)
    assert (bench.job(ready).state, bench.job(ready).reason) == (State.CANCELLED, "parent_cancelled")
    assert bench.state(grandchild) is State.CANCELLED
    assert bench.job(running).cancel_requested
    bench.settle(running, token, "succeed")
    assert bench.state(running) is State.CANCELLED
    assert bench.state(held) is State.CANCELLED


def test_a_parent_that_is_deleted_behind_its_cancel_takes_its_children_along(bench: Bench) -> None:
    parent = add(bench, queue="parents")
    child, last = (add(bench, parent=parent, queue=f"c{place}") for place in range(2))
    end(bench, parent, "cancel_waiting")
    for id in (parent, last):
        assert bench.act(DeleteJobs(id)).problem is None
    advance(bench)
    assert (bench.job(child).state, bench.job(child).reason) == (State.CANCELLED, "parent_cancelled")
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        assert session.query("SELECT * FROM child", {}) == []


@pytest.mark.parametrize("how", ["succeed", "fail", "expire", "delete"])
def test_other_ends_of_a_parent_leave_its_children_alone(bench: Bench, how: str) -> None:
    parent = add(bench, queue="parents", **prepared(how))
    child = add(bench, parent=parent, queue="c")
    end(bench, parent, how)
    advance(bench)
    assert bench.state(child) is State.READY


def test_a_batch_of_ends_in_one_settle_is_carried_on_like_single_ones(bench: Bench) -> None:
    needs = [add(bench) for _ in range(6)]
    waits = [add(bench, after=[need], queue="later") for need in needs]
    both = add(bench, after=needs, policy="run", queue="later")
    batch = create_batch(bench, [job(bench) for _ in range(6)], complete=job(bench, queue="cb"))
    token, taken = bench.take(12)
    assert taken == [*needs, *batch.jobs]
    endings = [Ending(kind="succeed"), Ending(kind="fail", fatal=True), Ending(kind="cancel")] * 4
    bench.settle_many([(id, token, ending) for id, ending in zip(taken, endings, strict=True)])
    advance(bench)
    assert [bench.state(id) for id in waits] == [State.READY, State.CANCELLED, State.CANCELLED] * 2
    assert bench.state(both) is State.READY
    told = bench.reader.flow.batch(batch.id)
    assert (told.succeeded, told.failed, told.cancelled, told.state) == (2, 2, 2, "finished")
    assert len(bench.take(5, "cb")[1]) == 1


def _quarantine(bench: Bench, id: int) -> None:
    for _ in range(3):
        bench.settle(id, run(bench, id), "fail", died=True, after_ms=0)
        bench.expire(1)
    assert bench.job(id).reason == "quarantine"


@pytest.mark.feature("quarantine")
@pytest.mark.parametrize("decision", ["approve", "deny"])
def test_a_quarantine_is_no_end_until_somebody_decides(bench: Bench, decision: str) -> None:
    many = RetryRule(retries=9)
    chain = create_batch(bench, [job(bench, queue="poison", retry=many), job(bench, queue="next")], chain=True)
    poison, behind = chain.jobs
    waits = add(bench, after=[poison], policy="run", queue="later")
    parent = add(bench, queue="parents")
    bench.settle(parent, run(bench, parent), "wait", wait=WaitRow(jobs=[poison]))
    _quarantine(bench, poison)
    advance(bench)
    assert {bench.state(id) for id in (behind, waits, parent)} == {State.WAITING}
    told = bench.reader.flow.batch(chain.id)
    assert (told.quarantined, told.pending, told.state) == (1, 1, "sealed")
    hold = bench.reader.holds(ListHolds(job=poison)).holds[0]
    bench.act(DecideHold(id=hold.id, decision=decision, subject_hash=hold.subject_hash, actor="ana", note=""))  # type: ignore[arg-type]
    if decision == "approve":
        end(bench, poison, "succeed")
    advance(bench)
    assert [bench.state(id) for id in (waits, parent)] == [State.READY, State.READY]
    assert bench.state(behind) is (State.READY if decision == "approve" else State.CANCELLED)


def test_nothing_is_left_of_jobs_that_are_deleted(bench: Bench) -> None:
    need, parent = add(bench, queue="n"), add(bench, queue="p")
    waits = add(bench, after=[need], parent=parent)
    bench.settle(parent, run(bench, parent), "wait", wait=WaitRow(signal="never"))
    asker = add(bench, queue="s")
    token = run(bench, asker)
    bench.act(SendSignal("now", "1"))
    bench.settle(asker, token, "wait", wait=WaitRow(signal="now"))
    for id in (waits, need, parent, asker):
        assert bench.act(DeleteJobs(id)).problem is None
    advance(bench)
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        for table in ("dependency", "dependent", "child", "signal_wait", "signal_used", "flow_todo", "job"):
            assert session.query(f"SELECT * FROM {table}", {}) == [], table  # noqa: S608
