"""Ends and waits that pass each other: whoever comes second sees the first, on engines that write side by side too."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from roost.domain.records import WaitRow
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine.batch import Batch, EnqueueWork, SettleRow
from roost.engine.calls import AdvanceFlow, Call, SealBatch, SendSignal
from roost.engine.protocol import Engine
from tests.conformance.bench import Bench
from tests.conformance.flows import advance, create_batch, enqueue, job

pytestmark = [pytest.mark.feature("dependencies"), pytest.mark.feature("batches"), pytest.mark.feature("steps")]

COUNT = 60


@contextmanager
def side_by_side(bench: Bench, *works: Callable[[Engine], Iterator[None]]) -> Iterator[None]:
    """Run each of ``works`` on an engine of its own, in threads; in turns on a store that writes one by one."""
    if bench.store.concurrency == 1:
        running = [work(bench.engine) for work in works]
        for _ in itertools.zip_longest(*running):
            pass
        yield
        return
    failures: list[BaseException] = []
    start = threading.Barrier(len(works))

    def run(work: Callable[[Engine], Iterator[None]]) -> None:
        engine = bench.store.engine()
        try:
            start.wait(30)
            for _ in work(engine):
                pass
        except BaseException as error:
            failures.append(error)
        finally:
            engine.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    yield


def test_a_need_that_ends_while_its_dependent_is_stored(bench: Bench) -> None:
    needs = enqueue(bench, *(job(bench, queue="needs") for _ in range(COUNT)))
    token, taken = bench.take(COUNT, "needs")
    assert taken == needs
    waiting: list[int] = []
    now = bench.tick()

    def settle(engine: Engine) -> Iterator[None]:
        for id in needs:
            answer = engine.apply(Batch(now, settles=[[SettleRow(id, token, Ending(kind="succeed"))]]))
            assert answer.settled[0][0].problem is None
            yield

    def store(engine: Engine) -> Iterator[None]:
        for id in needs:
            (answer,) = engine.apply(
                Batch(now, enqueues=[EnqueueWork([job(bench, after=[id], queue="later")])])
            ).enqueued
            assert isinstance(answer, list)
            waiting.append(answer[0].id)
            yield

    def carry_on(engine: Engine) -> Iterator[None]:
        for _ in range(COUNT):
            engine.act(Call(now, AdvanceFlow()))
            yield

    with side_by_side(bench, settle, store, carry_on):
        advance(bench)
    assert {bench.state(id) for id in waiting} == {State.READY}
    assert len(waiting) == COUNT


def test_a_signal_and_a_wait_for_it_at_the_same_moment(bench: Bench) -> None:
    ids = enqueue(bench, *(job(bench) for _ in range(COUNT)))
    token, _ = bench.take(COUNT)
    now = bench.tick()

    def wait(engine: Engine) -> Iterator[None]:
        for id in ids:
            ending = Ending(kind="wait", wait=WaitRow(signal=f"s{id}", step="s"))
            engine.apply(Batch(now, settles=[[SettleRow(id, token, ending)]]))
            yield

    def send(engine: Engine) -> Iterator[None]:
        for id in ids:
            acted = engine.act(Call(now, SendSignal(f"s{id}", str(id))))
            assert acted.problem is None
            yield

    with side_by_side(bench, wait, send):
        assert {bench.state(id) for id in ids} == {State.READY}
    assert [[bytes(step.output) for step in bench.reader.steps(id)] for id in ids] == [[str(id).encode()] for id in ids]


def test_a_wait_for_jobs_that_end_at_the_same_moment(bench: Bench) -> None:
    children = enqueue(bench, *(job(bench, queue="children") for _ in range(COUNT)))
    token, _ = bench.take(COUNT, "children")
    parents = enqueue(bench, *(job(bench, queue="parents") for _ in range(COUNT)))
    parents_token, _ = bench.take(COUNT, "parents")
    now = bench.tick()

    def settle(engine: Engine) -> Iterator[None]:
        for id in children:
            engine.apply(Batch(now, settles=[[SettleRow(id, token, Ending(kind="succeed"))]]))
            yield

    def wait(engine: Engine) -> Iterator[None]:
        for parent, child in zip(parents, children, strict=True):
            ending = Ending(kind="wait", wait=WaitRow(jobs=[child]))
            engine.apply(Batch(now, settles=[[SettleRow(parent, parents_token, ending)]]))
            yield

    with side_by_side(bench, settle, wait):
        advance(bench)
    assert {bench.state(id) for id in parents} == {State.READY}


def test_two_needs_of_one_job_that_end_in_two_transactions(bench: Bench) -> None:
    left = enqueue(bench, *(job(bench, queue="left") for _ in range(COUNT)))
    right = enqueue(bench, *(job(bench, queue="right") for _ in range(COUNT)))
    tops = enqueue(bench, *(job(bench, after=list(pair), queue="top") for pair in zip(left, right, strict=True)))
    tokens = {queue: bench.take(COUNT, queue)[0] for queue in ("left", "right")}
    now = bench.tick()

    def half(ids: list[int], token: str) -> Callable[[Engine], Iterator[None]]:
        def work(engine: Engine) -> Iterator[None]:
            for id in ids:
                engine.apply(Batch(now, settles=[[SettleRow(id, token, Ending(kind="succeed"))]]))
                engine.act(Call(now, AdvanceFlow(2)))
                yield

        return work

    with side_by_side(bench, half(left, tokens["left"]), half(right, tokens["right"])):
        advance(bench)
    assert {bench.state(id) for id in tops} == {State.READY}


def test_jobs_that_join_while_their_batch_is_sealed(bench: Bench) -> None:
    batches = [create_batch(bench, [], seal=False, complete=job(bench, queue="cb")).id for _ in range(20)]
    joined: list[int] = []
    refused: list[int] = []
    now = bench.tick()

    def join(engine: Engine) -> Iterator[None]:
        for id in batches:
            (answer,) = engine.apply(Batch(now, enqueues=[EnqueueWork([job(bench, batch=id)])])).enqueued
            (joined if isinstance(answer, list) else refused).append(id)
            yield

    def seal(engine: Engine) -> Iterator[None]:
        for id in batches:
            assert engine.act(Call(now, SealBatch(id))).problem is None
            yield

    with side_by_side(bench, join, seal):
        told = {id: bench.reader.flow.batch(id) for id in batches}
    assert {id for id, batch in told.items() if batch.total == 1} == set(joined)
    assert {id for id, batch in told.items() if batch.state == "finished"} == set(refused)
    token, taken = bench.take(100)
    bench.settle_many([(id, token, Ending(kind="succeed")) for id in taken])
    advance(bench)
    assert {bench.reader.flow.batch(id).state for id in batches} == {"finished"}
    assert len(bench.take(100, "cb")[1]) == len(batches)
