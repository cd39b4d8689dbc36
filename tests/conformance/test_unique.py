"""Unique keys and operation ids: one job, one effect, however often and from wherever it is asked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from roost.domain.admission import PLAIN, Request, UniqueWish, admit
from roost.domain.placing import Place
from roost.domain.records import HoldRule
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine.actions import sets
from roost.engine.batch import Batch, ClaimAnswer, ClaimWork, EnqueuedRow, Operation
from roost.engine.calls import CancelJobs, DeleteJobs, MoveJobs, Prune, PruneOld, ReopenJobs
from roost.wire.codec import timestamp
from roost.wire.problems import Problem
from tests.conformance.bench import Bench, row
from tests.conformance.test_steering import in_transaction

pytestmark = pytest.mark.feature("unique")


def test_one_key_is_one_job_within_a_call_and_between_calls(bench: Bench) -> None:
    answers = bench.enqueue_rows([row(now=bench.now, unique="k"), row(now=bench.now, unique="k")])
    again = bench.enqueue_rows([row(now=bench.now, unique="k")])
    assert isinstance(answers, list)
    assert isinstance(again, list)
    assert {answer.id for answer in (*answers, *again)} == {answers[0].id}
    assert [answer.duplicate for answer in (*answers, *again)] == [False, True, True]


def test_a_queues_key_goes_along_into_another_queue(bench: Bench) -> None:
    """By a move and by a reopen: no queue has two jobs of one key, and the queue it left can have another."""

    def enqueue(queue: str) -> EnqueuedRow:
        wish = UniqueWish(key="k", scope="queue")
        answers = bench.enqueue_rows([admit(Request(kind="k", input="1", queue=queue, unique=wish), PLAIN, bench.now)])
        assert isinstance(answers, list)
        return answers[0]

    def moved(id: int, queue: str) -> str:
        problem = bench.act(MoveJobs(id, Place(queue=queue))).problem
        return "" if problem is None else problem.code

    first, second = enqueue("a").id, enqueue("b").id
    assert moved(first, "b") == "unique_conflict"
    assert bench.job(first).queue == "a"
    assert moved(first, "c") == ""
    assert (enqueue("c").id, enqueue("c").duplicate) == (first, True)
    third = enqueue("a")
    assert not third.duplicate
    refused = in_transaction(
        bench,
        lambda transaction, effects: sets.move(
            transaction, [first, second, third.id], bench.tick(), effects, place=Place(queue="d")
        ),
    )[0]
    assert set(refused) == {second, third.id}
    assert enqueue("d").id == first
    bench.act(CancelJobs(first))
    bench.act(CancelJobs(third.id))
    fresh = enqueue("d").id
    assert fresh != first
    refusal = bench.act(ReopenJobs(third.id, queue="d")).problem
    assert refusal is not None
    assert refusal.code == "unique_conflict"
    assert bench.act(ReopenJobs(third.id, queue="e")).problem is None
    assert (enqueue("e").id, enqueue("a").duplicate) == (third.id, False)
    bench.act(CancelJobs(fresh))
    assert moved(third.id, "d") == ""
    assert enqueue("d").id == third.id


def test_the_same_input_written_otherwise_is_the_same(bench: Bench) -> None:
    same = ['{"b":[1,2],"a":"\u00fc"}', ' { "a" : "\\u00fc", "b" : [1, 2] } ']
    texts = [*same, '{"b":[2,1],"a":"\u00fc"}', '{"a":"\u00fc"}']
    answers = bench.enqueue_rows([row(text=text, now=bench.now, unique="k") for text in texts])
    assert isinstance(answers, list)
    assert [answer.duplicate and answer.problem is None for answer in answers] == [False, True, False, False]
    assert [answer.problem and answer.problem.code for answer in answers][2:] == ["unique_conflict"] * 2


def test_another_input_for_the_same_key_is_a_conflict_and_stores_nothing(bench: Bench) -> None:
    bench.enqueue_rows([row(text="1", now=bench.now, unique="k")])
    answers = bench.enqueue_rows([row(text="2", now=bench.now, unique="k"), row(text="3", now=bench.now)])
    assert isinstance(answers, list)
    conflict, other = answers
    assert conflict.problem is not None
    assert conflict.problem.code == "unique_conflict"
    assert other.problem is None
    assert len(bench.take(10)[1]) == 2


def test_every_end_frees_the_key(bench: Bench) -> None:
    def fresh() -> int:
        answers = bench.enqueue_rows([row(now=bench.now, unique="k")])
        assert isinstance(answers, list)
        assert not answers[0].duplicate
        return answers[0].id

    token, (id,) = bench.take() if fresh() else ("", [0])
    bench.settle(id, token)
    bench.act(CancelJobs(fresh()))
    token, (id,) = bench.take() if fresh() else ("", [0])
    bench.settle(id, token, "fail", fatal=True)
    bench.act(DeleteJobs(fresh()))
    fresh()


def test_a_period_outlives_the_end(bench: Bench) -> None:
    bench.enqueue_rows([row(now=bench.now, unique="k", within="1h")])
    token, (id,) = bench.take()
    bench.settle(id, token)
    during = bench.enqueue_rows([row(now=bench.now, unique="k", within="1h")])
    bench.tick(3_600_001)
    after = bench.enqueue_rows([row(now=bench.now, unique="k", within="1h")])
    assert isinstance(during, list)
    assert isinstance(after, list)
    assert during[0].duplicate
    assert not after[0].duplicate


def test_a_period_outlives_the_job_itself(bench: Bench) -> None:
    """A webhook that is sent again, say, after its job was deleted, or pruned by a short retention."""

    def wish(key: str, **more: Any) -> EnqueuedRow:
        answers = bench.enqueue_rows([row(now=bench.now, unique=key, within="1h", **more)])
        assert isinstance(answers, list)
        return answers[0]

    deleted, pruned = wish("deleted").id, wish("pruned").id
    bench.act(DeleteJobs(deleted))
    bench.act(CancelJobs(pruned))
    bench.tick(1_000)
    bench.act(Prune(queue="default", state="cancelled", before=bench.now))
    assert (bench.state(deleted), bench.state(pruned)) == (None, None)
    for _ in range(2):
        assert wish("deleted") == EnqueuedRow(deleted, True)
        assert wish("pruned") == EnqueuedRow(pruned, True)
        bench.act(PruneOld(before=bench.now))
    bench.tick(3_600_001)
    waiting = wish("waiting").id
    assert bench.act(PruneOld(before=bench.now)).count == 2
    assert not wish("deleted").duplicate
    # Beyond its period a key holds until its job has ended: nobody forgets it before.
    bench.tick(3_600_001)
    bench.act(PruneOld(before=bench.now))
    assert wish("waiting") == EnqueuedRow(waiting, True)


def test_a_reopened_job_does_not_share_its_key(bench: Bench) -> None:
    (first,) = bench.enqueue(unique="k")
    bench.act(CancelJobs(first))
    (second,) = bench.enqueue(unique="k")
    refused = bench.act(ReopenJobs(first))
    assert refused.problem is not None
    assert refused.problem.code == "unique_conflict"
    bench.act(CancelJobs(second))
    assert bench.act(ReopenJobs(first)).problem is None
    answers = bench.enqueue_rows([row(now=bench.now, unique="k")])
    assert isinstance(answers, list)
    assert (answers[0].id, answers[0].duplicate) == (first, True)


def test_a_hundred_enqueues_from_four_clients_make_one_job(bench: Bench) -> None:
    engines = [bench.store.engine() for _ in range(min(4, bench.store.concurrency))] or [bench.engine]

    def client(place: int) -> set[int]:
        engine = engines[place % len(engines)]
        found = set()
        for _ in range(100):
            batch = Batch(bench.now, enqueues=[_work(bench)])
            (answer,) = engine.apply(batch).enqueued
            assert isinstance(answer, list)
            found.add(answer[0].id)
        return found

    with ThreadPoolExecutor(4) as pool:
        found = set().union(*pool.map(client, range(4)))
    for engine in engines:
        if engine is not bench.engine and bench.store.info.engine == "postgresql":
            engine.close()
    assert len(found) == 1
    assert len(bench.take(10)[1]) == 1


def _work(bench: Bench):  # type: ignore[no-untyped-def]
    from roost.engine.batch import EnqueueWork

    return EnqueueWork([row(now=bench.now, unique="one")])


def test_a_repeated_enqueue_gets_the_same_answer(bench: Bench) -> None:
    operation = Operation("op-1", "fingerprint")
    first = bench.enqueue_rows([row(now=bench.now), row(now=bench.now)], operation)
    again = bench.enqueue_rows([row(now=bench.now), row(now=bench.now)], operation)
    assert first == again
    assert len(bench.take(10)[1]) == 2


def test_an_operation_id_belongs_to_one_request(bench: Bench) -> None:
    bench.enqueue_rows([row(now=bench.now)], Operation("op-1", "fingerprint"))
    refused = bench.enqueue_rows([row(now=bench.now)], Operation("op-1", "another"))
    assert isinstance(refused, Problem)
    assert refused.code == "operation_mismatch"


def test_the_same_operation_twice_in_one_batch_is_done_once(bench: Bench) -> None:
    from roost.engine.batch import EnqueueWork

    operation = Operation("op-1", "fingerprint")
    work = [EnqueueWork([row(now=bench.now)], operation), EnqueueWork([row(now=bench.now)], operation)]
    first, second = bench.engine.apply(Batch(bench.tick(), enqueues=work)).enqueued
    assert first == second
    assert len(bench.take(10)[1]) == 1


def test_a_repeated_claim_gets_the_same_leases(bench: Bench) -> None:
    bench.enqueue(3)
    work = ClaimWork(["default"], 2, "a" * 32, "worker", 15_000, Operation("op-1", "fingerprint"))
    (first,) = bench.engine.apply(Batch(bench.tick(), claims=[work])).claimed
    repeated = ClaimWork(["default"], 2, "b" * 32, "worker", 15_000, Operation("op-1", "fingerprint"))
    (again,) = bench.engine.apply(Batch(bench.tick(), claims=[repeated])).claimed
    assert isinstance(first, ClaimAnswer)
    assert first == again


def test_a_repeated_action_acts_once(bench: Bench) -> None:
    (id,) = bench.enqueue()
    operation = Operation("op-1", "fingerprint")
    first = bench.act(CancelJobs(id, "ana"), operation)
    bench.act(ReopenJobs(id))
    again = bench.act(CancelJobs(id, "ana"), operation)
    assert first.reply == again.reply
    assert bench.state(id) == "ready"


def test_a_clock_that_goes_back_loses_no_result_and_no_order(bench: Bench) -> None:
    bench.enqueue(2)
    token, (first, second) = bench.take(2)
    bench.now -= 60_000
    endings = [(first, token, Ending(kind="succeed", result="1")), (second, "stale", Ending(kind="succeed"))]
    told, refused = bench.settle_many(endings)
    assert told.problem is None
    assert refused.problem is not None
    job = bench.job(first)
    assert bytes(job.result or b"") == b"1"
    assert job.created_at <= (job.started_at or "") <= (job.finished_at or "")


def test_replace_takes_the_place_of_a_job_that_has_not_started(bench: Bench) -> None:
    (held,) = bench.enqueue(unique="k", text="1", hold=HoldRule())
    (second,) = bench.enqueue(unique="k", text="2", on_conflict="replace")
    assert (bench.state(held), bench.job(held).reason) == (State.CANCELLED, "replaced")
    token, (taken,) = bench.take(5)
    assert taken == second
    answers = bench.enqueue_rows([row(now=bench.now, unique="k", text="3", on_conflict="replace")])
    assert isinstance(answers, list)
    assert answers[0].problem is not None, "a running job is not replaced"
    assert answers[0].problem.code == "unique_conflict"
    bench.settle(second, token)
    (third,) = bench.enqueue(unique="k", text="4", on_conflict="replace")
    assert bench.take(5)[1] == [third]


@pytest.mark.parametrize("together", [False, True])
def test_the_last_of_many_that_replace_each_other_is_left(bench: Bench, together: bool) -> None:
    rows = [row(now=bench.now, unique="k", text=str(number), on_conflict="replace") for number in range(4)]
    calls = [rows] if together else [[each] for each in rows]
    ids = []
    for call in calls:
        answers = bench.enqueue_rows(call)
        assert isinstance(answers, list)
        assert not any(answer.problem or answer.duplicate for answer in answers)
        ids += [answer.id for answer in answers]
    assert [bench.state(id) for id in ids] == [State.CANCELLED] * 3 + [State.READY]
    assert bench.take(5)[1] == ids[-1:]


@pytest.mark.parametrize("together", [False, True])
def test_reschedule_moves_the_start_of_a_job_that_has_not_started(bench: Bench, together: bool) -> None:
    now = bench.now
    rows = [row(now=now, unique="k", delay=delay, on_conflict="reschedule") for delay in ("1s", "1h", "30m")]
    answers = []
    for call in [rows] if together else [[each] for each in rows]:
        told = bench.enqueue_rows(call)
        assert isinstance(told, list)
        answers += told
    assert [(answer.id, answer.duplicate) for answer in answers] == [(answers[0].id, place > 0) for place in range(3)]
    id = answers[0].id
    assert bench.job(id).run_at == timestamp(now + 30 * 60_000)
    bench.expire(10 * 60_000)
    assert bench.state(id) is State.WAITING, "the first time does not count any more"
    assert bench.enqueue(unique="k", on_conflict="reschedule") == [id], "no time at all is now"
    assert bench.state(id) is State.READY
    changed = bench.enqueue_rows([row(now=bench.now, unique="k", text="2", delay="1h", on_conflict="reschedule")])
    assert isinstance(changed, list)
    assert changed[0].problem is not None, "another input is a conflict"
    token, _ = bench.take()
    refused = bench.enqueue_rows([row(now=bench.now, unique="k", delay="1h", on_conflict="reschedule")])
    assert isinstance(refused, list)
    assert refused[0].problem is not None, "a running job is not rescheduled"
    bench.settle(id, token)
    (after,) = bench.enqueue(unique="k", delay="1h", on_conflict="reschedule")
    assert after != id
