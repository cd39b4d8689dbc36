"""Batches: open and sealed, counted by what their jobs are, finished once, called back once."""

from __future__ import annotations

import threading

import pytest

from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine.calls import (
    AdvanceFlow,
    Call,
    CancelJobs,
    DecideHold,
    DeleteJobs,
    Prune,
    PruneOld,
    ReopenJobs,
    SealBatch,
)
from roost.wire.batches import ListBatches
from roost.wire.holds import ListHolds
from roost.wire.jobs import ListJobs
from tests.conformance.bench import Bench
from tests.conformance.flows import (
    add,
    advance,
    cancel_batch,
    create_batch,
    end,
    enqueue,
    job,
    run,
    seal,
)

pytestmark = pytest.mark.feature("batches")


def _quarantine(bench: Bench, id: int) -> None:
    for _ in range(3):
        bench.settle(id, run(bench, id), "fail", died=True, after_ms=0)
        bench.expire(1)
    assert (bench.state(id), bench.job(id).reason) == (State.HELD, "quarantine")


def test_an_open_batch_waits_for_its_seal(bench: Bench) -> None:
    batch = create_batch(bench, [], seal=False, complete=job(bench, queue="cb"))
    assert (batch.state, batch.total) == ("open", 0)
    member = add(bench, batch=batch.id)
    assert bench.job(member).batch == batch.id
    end(bench, member, "succeed")
    advance(bench)
    assert bench.take(1, "cb")[1] == []
    told = seal(bench, batch.id)
    assert (told.state, told.succeeded, len(told.callbacks)) == ("finished", 1, 1)
    assert seal(bench, batch.id) == told
    assert len(bench.take(5, "cb")[1]) == 1
    refused = bench.act(SealBatch(999)).problem
    assert refused is not None
    assert refused.code == "not_found"


def test_an_empty_sealed_batch_finishes_at_once(bench: Bench) -> None:
    batch = create_batch(bench, [], complete=job(bench, "c"), success=job(bench, "s"), failure=job(bench, "f"))
    assert (batch.state, batch.pending) == ("finished", 0)
    assert {bench.job(id).kind for id in batch.callbacks} == {"c", "s"}


def test_duplicates_are_no_members(bench: Bench) -> None:
    there = add(bench, unique="k", queue="h")
    batch = create_batch(bench, [job(bench, unique="k"), job(bench, queue="m")])
    assert (batch.total, batch.jobs[0]) == (1, there)
    end(bench, batch.jobs[1], "succeed")
    advance(bench)
    assert bench.reader.flow.batch(batch.id).state == "finished"


@pytest.mark.feature("quarantine")
def test_a_quarantined_member_never_blocks_its_batch(bench: Bench) -> None:
    from roost.domain.retry import RetryRule

    batch = create_batch(
        bench,
        [job(bench, queue="poison", retry=RetryRule(retries=9)), job(bench, queue="good")],
        failure=job(bench, "failed", queue="cb"),
    )
    poison, good = batch.jobs
    _quarantine(bench, poison)
    advance(bench)
    told = bench.reader.flow.batch(batch.id)
    assert (told.quarantined, told.pending, told.state) == (1, 1, "sealed")
    # Let go while the batch still runs, it is waited for again.
    hold = bench.reader.holds(ListHolds(job=poison)).holds[0]
    bench.act(DecideHold(id=hold.id, decision="approve", subject_hash=hold.subject_hash, actor="ana", note=""))
    assert bench.reader.flow.batch(batch.id).pending == 2
    bench.settle(poison, run(bench, poison), "fail", died=True)
    advance(bench)
    end(bench, good, "succeed")
    advance(bench)
    told = bench.reader.flow.batch(batch.id)
    assert (told.state, told.quarantined, told.succeeded) == ("finished", 1, 1)
    assert bench.job(told.callbacks[0]).kind == "failed"
    # Afterwards nothing changes what was told.
    bench.act(CancelJobs(poison))
    advance(bench)
    assert bench.reader.flow.batch(batch.id) == told


def test_a_reopened_member_counts_again_until_the_batch_is_finished(bench: Bench) -> None:
    batch = create_batch(bench, [job(bench, queue="a"), job(bench, queue="b")], complete=job(bench, queue="cb"))
    first, second = batch.jobs
    end(bench, first, "fail")
    advance(bench)
    bench.act(ReopenJobs(first))
    told = bench.reader.flow.batch(batch.id)
    assert (told.pending, told.failed) == (2, 0)
    end(bench, second, "succeed")
    advance(bench)
    assert bench.reader.flow.batch(batch.id).state == "sealed"
    end(bench, first, "succeed")
    advance(bench)
    finished = bench.reader.flow.batch(batch.id)
    assert (finished.state, finished.succeeded) == ("finished", 2)
    bench.act(ReopenJobs(first))
    end(bench, first, "fail")
    advance(bench)
    assert bench.reader.flow.batch(batch.id) == finished
    assert len(bench.take(5, "cb")[1]) == 1


@pytest.mark.parametrize("carried_on", [True, False], ids=["carried on", "not yet"])
@pytest.mark.parametrize("how", ["succeed", "fail", None])
def test_a_deleted_member_counts_as_it_ended_or_as_cancelled(bench: Bench, how: str | None, carried_on: bool) -> None:
    batch = create_batch(bench, [job(bench, queue="a")], success=job(bench, "s"), failure=job(bench, "f"))
    (member,) = batch.jobs
    waits = add(bench, after=[member], queue="w")
    if how is not None:
        end(bench, member, how)
    if carried_on:
        advance(bench)
    assert bench.act(DeleteJobs(member)).problem is None
    advance(bench)
    told = bench.reader.flow.batch(batch.id)
    assert getattr(told, {"succeed": "succeeded", "fail": "failed"}.get(how or "", "cancelled")) == 1
    assert (told.pending, told.state, len(told.callbacks)) == (0, "finished", 1)
    assert bench.job(told.callbacks[0]).kind == ("s" if how == "succeed" else "f")
    assert bench.state(waits) is (State.READY if how == "succeed" else State.CANCELLED)


def test_a_pruned_end_is_still_carried_on(bench: Bench) -> None:
    batch = create_batch(bench, [job(bench, queue="a")], success=job(bench, "s"))
    end(bench, batch.jobs[0], "succeed")
    bench.act(Prune(queue="a", state="succeeded", before=bench.now + 1))
    assert bench.state(batch.jobs[0]) is None
    advance(bench)
    told = bench.reader.flow.batch(batch.id)
    assert (told.state, told.succeeded, len(told.callbacks)) == ("finished", 1, 1)


def test_cancel_all_in_sets(bench: Bench) -> None:
    batch = create_batch(bench, [job(bench) for _ in range(7)], seal=False, complete=job(bench, queue="cb"))
    token, running = bench.take(2)
    cancel_batch(bench, batch.id, limit=3)
    advance(bench)
    told = bench.reader.flow.batch(batch.id)
    assert (told.cancelled, told.pending, told.state) == (5, 2, "sealed")
    assert all(bench.job(id).cancel_requested for id in running)
    bench.settle_many([(id, token, Ending(kind="succeed")) for id in running])
    advance(bench)
    assert bench.reader.flow.batch(batch.id).cancelled == 7
    assert len(bench.take(5, "cb")[1]) == 1
    cancel_batch(bench, batch.id)
    assert bench.reader.flow.batch(batch.id).cancelled == 7


def test_a_callbacks_times_count_from_the_end(bench: Bench) -> None:
    from roost.domain.records import HoldRule

    batch = create_batch(
        bench,
        [job(bench, queue="a")],
        complete=job(bench, queue="later", delay="10s", ttl="1m"),
        success=job(bench, queue="held", hold=HoldRule(expires="1m")),
    )
    bench.tick(3_600_000)
    end(bench, batch.jobs[0], "succeed")
    advance(bench)
    later, held = (bench.job(id) for id in bench.reader.flow.batch(batch.id).callbacks)
    assert (later.state, held.state) == (State.WAITING, State.HELD)
    bench.expire(5_000)
    assert (bench.state(later.id), bench.state(held.id)) == (State.WAITING, State.HELD)
    bench.expire(6_000)
    assert bench.state(later.id) is State.READY
    bench.expire(60_000)
    assert (bench.state(later.id), bench.state(held.id)) == (State.EXPIRED, State.FAILED)


def test_lists(bench: Bench) -> None:
    opened = create_batch(bench, [], seal=False).id
    sealed = create_batch(bench, [job(bench), job(bench)]).id
    finished = create_batch(bench, []).id

    def ids(**query: object) -> list[int]:
        return [batch.id for batch in bench.reader.flow.batches(ListBatches(**query)).batches]  # type: ignore[arg-type]

    assert ids() == [finished, sealed, opened]
    assert (ids(state="open"), ids(state="sealed"), ids(state="finished")) == ([opened], [sealed], [finished])
    first = bench.reader.flow.batches(ListBatches(limit=2))
    assert [batch.id for batch in first.batches] == [finished, sealed]
    assert ids(limit=2, cursor=first.cursor) == [opened]
    members = bench.reader.jobs(ListJobs(batch=sealed)).jobs
    assert len(members) == 2
    parent = members[0].id
    child = add(bench, parent=parent)
    assert [each.id for each in bench.reader.jobs(ListJobs(parent=parent)).jobs] == [child]
    assert bench.job(child).parent == parent


def test_old_batches_are_forgotten_after_their_jobs(bench: Bench) -> None:
    batch = create_batch(bench, [job(bench, queue="a")])
    end(bench, batch.jobs[0], "succeed")
    advance(bench)
    bench.act(PruneOld(before=bench.now + 1))
    assert bench.reader.flow.batch(batch.id).state == "finished"
    bench.act(DeleteJobs(batch.jobs[0]))
    bench.act(PruneOld(before=bench.now + 1))
    assert bench.reader.flow.batches(ListBatches()).batches == []


def test_callbacks_are_made_once_however_many_carry_on_at_once(bench: Bench) -> None:
    """Two engines, each carrying on as fast as it can while jobs end: nothing is counted or made twice."""
    batches = [create_batch(bench, [job(bench) for _ in range(10)], complete=job(bench, queue="cb")) for _ in range(5)]
    top = enqueue(bench, job(bench, after=[id for batch in batches for id in batch.jobs], queue="top"))[0]
    ended = threading.Event()
    failures: list[BaseException] = []

    def carry_on() -> None:
        engine = bench.store.engine()
        try:
            while True:
                last = ended.is_set()
                acted = engine.act(Call(bench.now, AdvanceFlow(3)))
                assert acted.problem is None, acted.problem
                if last and not acted.count:
                    return
        except BaseException as error:
            failures.append(error)
        finally:
            if bench.store.info.engine != "sqlite" or bench.store.concurrency > 1:
                engine.close()

    threads = [threading.Thread(target=carry_on) for _ in range(2 if bench.store.concurrency > 1 else 0)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        token, ids = bench.take(5)
        bench.settle_many([(id, token, Ending(kind="succeed")) for id in ids])
        if not threads:
            bench.act(AdvanceFlow(3))
    ended.set()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    advance(bench)
    told = [bench.reader.flow.batch(batch.id) for batch in batches]
    assert {(each.state, each.succeeded, each.pending, len(each.callbacks)) for each in told} == {
        ("finished", 10, 0, 1)
    }
    assert len(bench.take(100, "cb")[1]) == 5
    assert bench.state(top) is State.READY
