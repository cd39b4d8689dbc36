"""Jobs that enter with wishes about others: all or nothing, and what has ended already is decided at once."""

from __future__ import annotations

import pytest

from roost.domain.flow import Wanted, resolve
from roost.domain.records import HoldRule, JobRow
from roost.domain.states import State
from roost.engine.batch import Batch, EnqueueWork
from roost.engine.calls import CreateBatch, DecideHold, DeleteJobs, Promote, ReopenJobs
from roost.errors import DependencyCycle, InvalidRequest
from roost.wire.flow import ListDependencies
from roost.wire.holds import ListHolds
from roost.wire.jobs import ListJobs
from roost.wire.problems import Problem
from tests.conformance.bench import Bench
from tests.conformance.flows import add, advance, create_batch, end, enqueue, job, run, seal

pytestmark = [pytest.mark.feature("dependencies"), pytest.mark.feature("batches")]


def _count(bench: Bench) -> int:
    return len(bench.reader.jobs(ListJobs(limit=500)).jobs)


def test_refs_become_places_and_bad_ones_are_refused() -> None:
    wanted = [Wanted("a", None), Wanted("b", ["a", 7, 7]), Wanted(None, ["a", "b"])]
    assert resolve(wanted, "jobs") == [([], []), ([7], [0]), ([], [0, 1])]
    with pytest.raises(InvalidRequest) as caught:
        resolve([Wanted("a", ["x"])], "jobs")
    assert caught.value.path == "jobs[0].after[0]"
    with pytest.raises(InvalidRequest) as caught:
        resolve([Wanted("a", None), Wanted("a", None)], "jobs")
    assert caught.value.path == "jobs[1].ref"


@pytest.mark.parametrize("circle", [["a"], ["a", "b"], ["a", "b", "c", "d"]])
def test_a_circle_is_refused_by_its_refs(circle: list[str]) -> None:
    wanted = [Wanted("before", None), Wanted("behind", [circle[0]])]
    wanted += [Wanted(ref, ["before", circle[(place + 1) % len(circle)]]) for place, ref in enumerate(circle)]
    with pytest.raises(DependencyCycle) as caught:
        resolve(wanted, "jobs")
    assert caught.value.code == "dependency_cycle"
    assert set(circle) <= set(caught.value.message.replace("each other: ", "").split())
    assert "before" not in caught.value.message.split()


def test_long_rows_and_wide_fans_are_no_circle() -> None:
    row = [Wanted("j0", None)] + [Wanted(f"j{place}", [f"j{place - 1}"]) for place in range(1, 1000)]
    assert len(resolve(row, "jobs")) == 1000
    refs: list[int | str] = [f"j{place}" for place in range(999)]
    fan = [Wanted(f"j{place}", None) for place in range(999)] + [Wanted(None, refs)]
    assert resolve(fan, "jobs")[-1][1] == list(range(999))


@pytest.mark.parametrize(
    ("wish", "code", "path"),
    [
        ({"after": [999]}, "not_found", "jobs[1].after[0]"),
        ({"parent": 999}, "not_found", "jobs[1].parent"),
        ({"batch": 999}, "not_found", "jobs[1].batch"),
    ],
)
def test_what_is_not_there_is_refused_before_anything_is_stored(
    bench: Bench, wish: dict[str, object], code: str, path: str
) -> None:
    now = bench.tick()
    calls = [
        EnqueueWork([job(bench, unique="k"), job(bench, **wish)]),
        EnqueueWork([job(bench)]),
        EnqueueWork([job(bench), job(bench, places=[0])]),
    ]
    refused, stored, related = bench.engine.apply(Batch(now, enqueues=calls)).enqueued
    assert isinstance(refused, Problem)
    assert (refused.code, refused.path) == (code, path)
    # The neighbours in the same transaction are not touched by it.
    assert isinstance(stored, list)
    assert isinstance(related, list)
    assert _count(bench) == 3
    assert bench.reader.flow.dependencies(ListDependencies(id=related[1].id)).dependencies[0].id == related[0].id


def test_a_sealed_batch_and_a_cancelled_parent_take_no_more(bench: Bench) -> None:
    batch = create_batch(bench, [job(bench)])
    parent = add(bench, queue="p")
    end(bench, parent, "cancel_waiting")
    before = _count(bench)
    for wish in ({"batch": batch.id}, {"parent": parent}):
        refused = bench.enqueue_rows([job(bench, **wish)])
        assert isinstance(refused, Problem)
        assert refused.code == "conflict"
    assert _count(bench) == before
    assert bench.reader.flow.batch(batch.id).total == 1


def test_needs_that_have_ended_are_decided_at_once(bench: Bench) -> None:
    good, bad, open_ = (add(bench, queue=f"q{place}") for place in range(3))
    end(bench, good, "succeed")
    end(bench, bad, "fail")
    ready = add(bench, after=[good], queue="later")
    cancelled = add(bench, after=[good, bad])
    failed = add(bench, after=[bad, open_], policy="fail")
    anyway = add(bench, after=[bad], policy="run", queue="later")
    waiting = add(bench, after=[good, open_], queue="later")
    states = {id: bench.state(id) for id in (ready, cancelled, failed, anyway, waiting)}
    assert states == {ready: "ready", cancelled: "cancelled", failed: "failed", anyway: "ready", waiting: "waiting"}
    assert bench.job(cancelled).finished_at is not None
    assert bench.job(failed).reason == "dependency_failed"
    assert bench.job(waiting).waiting_for == 1


def test_a_graph_in_one_request(bench: Bench) -> None:
    good = add(bench, queue="g")
    end(bench, good, "succeed")
    bad = add(bench, queue="g")
    end(bench, bad, "fail")
    rows = [
        job(bench, places=[1, 2], queue="top"),
        job(bench, places=[3], queue="left"),
        job(bench, after=[good], queue="right"),
        job(bench, queue="root"),
        job(bench, after=[bad]),
        job(bench, places=[4]),
    ]
    top, left, right, root, dead, below = enqueue(bench, *rows)
    assert [bench.state(id) for id in (top, left, right, root, dead)] == [
        "waiting", "waiting", "ready", "ready", "cancelled",
    ]  # fmt: skip
    advance(bench)
    assert (bench.state(below), bench.job(below).reason) == (State.CANCELLED, "dependency_failed")
    for id in (root, left, right):
        end(bench, id, "succeed")
        advance(bench)
    assert bench.state(top) is State.READY


def test_a_ref_to_a_duplicate_means_the_job_that_was_there(bench: Bench) -> None:
    there = add(bench, unique="k", queue="there")
    answers = bench.enqueue_rows([job(bench, unique="k", queue="there"), job(bench, places=[0], queue="later")])
    assert isinstance(answers, list)
    assert (answers[0].id, answers[0].duplicate) == (there, True)
    end(bench, there, "succeed")
    advance(bench)
    assert bench.state(answers[1].id) is State.READY


def test_a_ref_to_a_refused_job_counts_as_not_succeeded(bench: Bench) -> None:
    add(bench, unique="k", text='"another"')
    answers = bench.enqueue_rows([job(bench, unique="k"), job(bench, places=[0])])
    assert isinstance(answers, list)
    assert answers[0].problem is not None
    assert bench.state(answers[1].id) is State.CANCELLED


def test_a_replaced_need_ends_for_its_dependents_too(bench: Bench) -> None:
    holder = add(bench, unique="k", queue="h")
    waits = add(bench, after=[holder])
    both = bench.enqueue_rows(
        [job(bench, unique="k", on_conflict="replace"), job(bench, after=[holder], policy="run", queue="r")]
    )
    assert isinstance(both, list)
    advance(bench)
    assert bench.state(holder) is State.CANCELLED
    assert bench.state(waits) is State.CANCELLED
    assert bench.state(both[1].id) is State.READY


def test_a_released_job_meets_its_own_rules_then(bench: Bench) -> None:
    need = add(bench, queue="n")
    later = add(bench, after=[need], delay="1h", queue="d")
    held = add(bench, after=[need], hold=HoldRule(title="send", expires="10m"), queue="h")
    assert {bench.state(id) for id in (later, held)} == {State.WAITING}
    assert bench.reader.holds(ListHolds(job=held)).holds == []
    run_at = bench.now + 3_600_000
    bench.tick(1_800_000)
    end(bench, need, "succeed")
    advance(bench)
    assert (bench.state(later), bench.job(later).reason) == (State.WAITING, "scheduled")
    (hold,) = bench.reader.holds(ListHolds(job=held)).holds
    assert (bench.job(held).state, bench.job(held).reason) == (State.HELD, "approval")
    assert bytes(hold.subject) == b'{"kind":"work","input":{"user":7}}'
    bench.act(DecideHold(id=hold.id, decision="approve", subject_hash=hold.subject_hash, actor="ana", note=""))
    assert bench.state(held) is State.READY
    bench.now = run_at + 10
    bench.act(Promote())
    assert bench.state(later) is State.READY


def test_an_open_chain_grows_behind_its_last_job(bench: Bench) -> None:
    batch = create_batch(bench, [job(bench, queue="a")], chain=True, seal=False, complete=job(bench, queue="cb"))
    (first,) = batch.jobs
    second, third = enqueue(bench, job(bench, batch=batch.id, queue="b"), job(bench, batch=batch.id, queue="c"))
    assert [bench.state(id) for id in (first, second, third)] == ["ready", "waiting", "waiting"]
    refused = bench.enqueue_rows([job(bench, batch=batch.id, after=[first])])
    assert isinstance(refused, Problem)
    assert refused.path == "jobs[0].after"
    end(bench, first, "succeed")
    advance(bench)
    end(bench, second, "early_exit")
    advance(bench)
    assert (bench.state(third), bench.job(third).reason) == (State.CANCELLED, "early_exit")
    late = add(bench, batch=batch.id)
    assert (bench.state(late), bench.job(late).reason) == (State.CANCELLED, "early_exit")
    assert bench.reader.flow.batch(batch.id).state == "open"
    seal(bench, batch.id)
    advance(bench)
    told = bench.reader.flow.batch(batch.id)
    assert (told.state, told.succeeded, told.skipped, told.total) == ("finished", 2, 2, 4)


def test_a_batch_with_a_refused_job_is_not_there(bench: Bench) -> None:
    add(bench, unique="k", text='"another"')

    def create(row: JobRow) -> Problem | None:
        return bench.act(CreateBatch(name="", chain=False, rows=[job(bench), row], callbacks=[], seal=True)).problem

    problems = [create(job(bench, unique="k")), create(job(bench, after=[999]))]
    assert [(each.code, each.path) for each in problems if each] == [
        ("unique_conflict", "jobs[1].unique.key"),
        ("not_found", "jobs[1].after[0]"),
    ]
    assert _count(bench) == 1


def test_a_reopened_job_does_not_bring_back_those_it_took_with_it(bench: Bench) -> None:
    need = add(bench, queue="n")
    waits = add(bench, after=[need])
    end(bench, need, "fail")
    advance(bench)
    assert bench.act(ReopenJobs(need)).problem is None
    end(bench, need, "succeed")
    advance(bench)
    assert bench.state(waits) is State.CANCELLED


def test_an_end_that_was_taken_back_before_it_was_carried_on_did_not_happen(bench: Bench) -> None:
    need = add(bench, queue="n")
    waits = add(bench, after=[need], queue="later")
    end(bench, need, "fail")
    bench.act(ReopenJobs(need))
    advance(bench)
    assert bench.state(waits) is State.WAITING
    end(bench, need, "succeed")
    advance(bench)
    assert bench.state(waits) is State.READY


def test_waiting_jobs_end_by_the_clock_and_by_hand(bench: Bench) -> None:
    need = add(bench, queue="n")
    expiring, cancelled = add(bench, after=[need], ttl="5m"), add(bench, after=[need])
    behind = add(bench, after=[expiring], policy="run", queue="b")
    end(bench, cancelled, "cancel_waiting")
    end(bench, expiring, "expire")
    advance(bench)
    assert [bench.state(id) for id in (expiring, cancelled, behind)] == ["expired", "cancelled", "ready"]
    run(bench, need)


@pytest.mark.feature("chains")
@pytest.mark.parametrize("how", ["succeed", "fail"])
def test_an_open_chain_remembers_how_its_forgotten_last_job_ended(bench: Bench, how: str) -> None:
    batch = create_batch(bench, [job(bench, queue="a")], chain=True, seal=False)
    end(bench, batch.jobs[0], how)
    advance(bench)
    assert bench.act(DeleteJobs(batch.jobs[0])).problem is None
    next_one = add(bench, batch=batch.id, queue="b")
    assert bench.state(next_one) is (State.READY if how == "succeed" else State.CANCELLED)
