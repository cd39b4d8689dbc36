"""Running jobs that wait for jobs or signals: no worker is occupied, no wake-up is lost, nothing is a failure."""

from __future__ import annotations

import pytest

from roost.domain.records import Flag, WaitRow
from roost.domain.states import State
from roost.engine.calls import AdvanceFlow, CancelJobs, DeleteJobs, PruneOld, ReopenJobs, SendSignal
from tests.conformance.bench import Bench
from tests.conformance.flows import add, advance, end, run

pytestmark = [pytest.mark.feature("children"), pytest.mark.feature("steps")]

WEEK = 7 * 86_400_000


def _wait(bench: Bench, id: int, token: str, after_ms: int | None = None, **wait: object) -> None:
    assert bench.settle(id, token, "wait", wait=WaitRow(**wait), after_ms=after_ms).problem is None  # type: ignore[arg-type]


def _send(bench: Bench, name: str = "paid", data: str = '{"b":1, "a":1.50}', job: int | None = None) -> str:
    acted = bench.act(SendSignal(name, data, job))
    assert acted.problem is None, acted.problem
    return acted.reply


def test_a_wait_for_jobs_that_have_ended_or_are_gone_is_over_at_once(bench: Bench) -> None:
    done, gone = add(bench, queue="a"), add(bench, queue="b")
    end(bench, done, "fail")
    bench.act(DeleteJobs(gone))
    parent = add(bench, queue="p")
    _wait(bench, parent, run(bench, parent), jobs=[done, gone])
    assert (bench.state(parent), bench.job(parent).reason) == (State.READY, None)
    assert bench.job(parent).attempts[-1].outcome == "waiting"


def test_a_wait_forgets_the_time_the_job_started_at(bench: Bench) -> None:
    other = add(bench, queue="o")
    parent = add(bench, queue="p", delay="10s")
    bench.expire(11_000)
    _wait(bench, parent, run(bench, parent), jobs=[other])
    bench.expire(60_000)
    assert (bench.state(parent), bench.job(parent).run_at) == (State.WAITING, None)


@pytest.mark.parametrize("what", ["jobs", "signal"])
def test_a_timeout_makes_the_job_go_on_without_it(bench: Bench, what: str) -> None:
    other = add(bench, queue="o")
    parent = add(bench, queue="p")
    wait = {"jobs": [other]} if what == "jobs" else {"signal": "paid", "step": "s"}
    _wait(bench, parent, run(bench, parent), 5_000, **wait)
    bench.expire(6_000)
    assert (bench.state(parent), bench.job(parent).reason, bench.job(parent).failures) == (State.READY, None, 0)
    assert bench.reader.steps(parent) == []
    token = run(bench, parent)
    # What it waited for comes late: it changes nothing of a job that runs.
    end(bench, other, "succeed")
    _send(bench)
    advance(bench)
    assert bench.state(parent) is State.RUNNING
    assert bench.settle(parent, token).state is State.SUCCEEDED
    assert bench.reader.steps(parent) == []


def test_edges_of_a_wait_that_timed_out_do_not_count_for_the_next_one(bench: Bench) -> None:
    first, second, third = (add(bench, queue=f"o{place}") for place in range(3))
    parent = add(bench, queue="p")
    _wait(bench, parent, run(bench, parent), 5_000, jobs=[first, second])
    bench.expire(6_000)
    _wait(bench, parent, run(bench, parent), jobs=[first, third])
    end(bench, second, "succeed")
    advance(bench)
    assert bench.job(parent).waiting_for == 2
    end(bench, first, "succeed")
    advance(bench)
    assert bench.state(parent) is State.WAITING
    end(bench, third, "fail")
    advance(bench)
    assert bench.state(parent) is State.READY


def test_a_signal_wakes_who_waits_and_is_recorded_byte_for_byte(bench: Bench) -> None:
    waiting = [add(bench, queue=f"p{place}") for place in range(3)]
    for id in waiting:
        _wait(bench, id, run(bench, id), signal="paid", step="payment")
    assert {bench.job(id).reason for id in waiting} == {"event"}
    assert bench.job(waiting[0]).waiting_signal == "paid"
    assert bench.reader.blockers(waiting[0]).signal == "paid"
    _send(bench, "other")
    assert bench.state(waiting[0]) is State.WAITING
    assert '"woken":1' in _send(bench, "paid", '"only one"', waiting[0])
    assert '"woken":2' in _send(bench, "paid", '{"b":1, "a":1.50}')
    for id, output in zip(waiting, ['"only one"', '{"b":1, "a":1.50}', '{"b":1, "a":1.50}'], strict=True):
        assert (bench.state(id), bench.job(id).failures) == (State.READY, 0)
        (step,) = bench.reader.steps(id)
        assert (step.name, step.kind, bytes(step.output).decode(), step.attempt) == ("payment", "wait", output, 1)
        run(bench, id)


def test_the_worker_is_told_to_load_the_step(bench: Bench) -> None:
    id = add(bench, queue="p")
    _wait(bench, id, run(bench, id), signal="paid", step="payment")
    _send(bench)
    assert f'"flags":{int(Flag.STEPS)}' in bench.claim(1, "p").jobs


def test_each_signal_is_used_once_by_a_job_in_the_order_they_were_sent(bench: Bench) -> None:
    early = _send(bench, data='"before the job"')
    id = add(bench, queue="p")
    assert early
    token = run(bench, id)
    _send(bench, data='"one"')
    _send(bench, data='"two"')
    outputs = []
    for place in range(2):
        _wait(bench, id, token, signal="paid", step=f"s{place}")
        assert bench.state(id) is State.READY
        outputs.append(bytes(bench.reader.steps(id)[-1].output).decode())
        token = run(bench, id)
    assert outputs == ['"one"', '"two"']
    _wait(bench, id, token, signal="paid", step="s2")
    assert bench.state(id) is State.WAITING
    _send(bench, data='"three"')
    assert bytes(bench.reader.steps(id)[-1].output) == b'"three"'
    assert len(bench.reader.steps(id)) == 3


def test_a_signal_for_one_job_is_not_used_by_another(bench: Bench) -> None:
    mine, other = add(bench, queue="m"), add(bench, queue="o")
    _send(bench, job=mine)
    _wait(bench, other, run(bench, other), signal="paid")
    assert bench.state(other) is State.WAITING
    _wait(bench, mine, run(bench, mine), signal="paid")
    assert (bench.state(mine), bench.reader.steps(mine)[0].name) == (State.READY, "paid")
    assert bench.act(SendSignal("paid", "1", 10**6)).problem.code == "not_found"  # type: ignore[union-attr]


def test_more_than_a_transaction_takes_are_all_woken(bench: Bench) -> None:
    ids = bench.enqueue(7)
    token, taken = bench.take(7)
    from roost.domain.settle import Ending

    wait = WaitRow(signal="go", step="s")
    bench.settle_many([(id, token, Ending(kind="wait", wait=wait)) for id in taken])
    acted = bench.act(SendSignal("go", "1", limit=3))
    assert acted.effects.flow
    assert [bench.state(id) for id in ids].count(State.READY) == 3
    while bench.act(AdvanceFlow(3)).more:
        pass
    assert {bench.state(id) for id in ids} == {State.READY}
    assert [len(bench.reader.steps(id)) for id in ids] == [1] * 7


def test_signals_are_forgotten_after_a_week(bench: Bench) -> None:
    id = add(bench, queue="p")
    _send(bench)
    token, _ = bench.take(1, "p", lease_ms=30 * 86_400_000)
    bench.tick(WEEK - 60_000)
    bench.act(PruneOld(before=bench.now - 86_400_000))
    bench.tick(120_000)
    bench.act(PruneOld(before=bench.now - 86_400_000))
    _wait(bench, id, token, signal="paid")
    assert bench.state(id) is State.WAITING


def test_a_waiting_job_can_be_cancelled_and_run_again(bench: Bench) -> None:
    other, parent = add(bench, queue="o"), add(bench, queue="p")
    _wait(bench, parent, run(bench, parent), jobs=[other])
    bench.act(CancelJobs(parent))
    assert bench.state(parent) is State.CANCELLED
    end(bench, other, "succeed")
    advance(bench)
    assert bench.state(parent) is State.CANCELLED
    bench.act(ReopenJobs(parent))
    run(bench, parent)


def test_a_cancel_request_wins_over_a_wait(bench: Bench) -> None:
    other, parent = add(bench, queue="o"), add(bench, queue="p")
    token = run(bench, parent)
    bench.act(CancelJobs(parent))
    assert bench.settle(parent, token, "wait", wait=WaitRow(jobs=[other])).state is State.CANCELLED


def test_an_accepted_wait_repeated_gets_the_same_answer(bench: Bench) -> None:
    other, parent = add(bench, queue="o"), add(bench, queue="p")
    token = run(bench, parent)
    wait = WaitRow(jobs=[other])
    assert bench.settle(parent, token, "wait", wait=wait).state is State.WAITING
    assert bench.settle(parent, token, "wait", wait=wait).state is State.WAITING
    assert bench.settle(parent, token, "succeed").problem is not None
