"""Waits that would close a circle are refused at the moment that they would, and nobody is left waiting for ever."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from roost.domain.flow import circle
from roost.domain.records import WaitRow
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine.batch import Batch, SettleRow
from roost.wire.problems import Problem
from tests.conformance.bench import Bench
from tests.conformance.flows import add, advance, end, enqueue, job, run

pytestmark = [pytest.mark.feature("dependencies"), pytest.mark.feature("children")]


def wait(bench: Bench, id: int, token: str, *needs: int, after_ms: int | None = None) -> Problem | None:
    """End an attempt by waiting for jobs; the refusal."""
    return bench.settle(id, token, "wait", wait=WaitRow(jobs=list(needs)), after_ms=after_ms).problem


def assert_circle(problem: Problem | None, *ids: int) -> None:
    assert problem is not None
    assert problem.code == "dependency_cycle"
    assert problem.message.endswith(" waits for ".join(f"job {id}" for id in [*ids, ids[0]]))
    assert "timeout" in problem.help


def test_two_jobs_that_would_wait_for_each_other(bench: Bench) -> None:
    one, other = add(bench, queue="a"), add(bench, queue="b")
    token, token_of_other = run(bench, one), run(bench, other)
    assert wait(bench, one, token, other) is None
    assert_circle(wait(bench, other, token_of_other, one), other, one)
    assert bench.state(other) is State.RUNNING, "nothing is changed: it may end otherwise"
    assert len(bench.job(other).attempts) == 1
    bench.settle(other, token_of_other, "fail", fatal=True)
    advance(bench)
    assert bench.state(one) is State.READY


def test_a_child_that_comes_after_its_parent(bench: Bench) -> None:
    parent = add(bench, queue="p")
    token = run(bench, parent)
    child = add(bench, parent=parent, after=[parent])
    behind = add(bench, after=[child])
    assert_circle(wait(bench, parent, token, add(bench, queue="other"), behind), parent, behind, child)
    bench.settle(parent, token)
    advance(bench)
    assert bench.state(child) is State.READY


def test_a_circle_within_one_set_of_outcomes(bench: Bench) -> None:
    ids = enqueue(bench, *(job(bench) for _ in range(3)))
    token, _ = bench.take(3)
    waits = [Ending(kind="wait", wait=WaitRow(jobs=[ids[(place + 1) % 3]])) for place in range(3)]
    answers = bench.settle_many([(id, token, ending) for id, ending in zip(ids, waits, strict=True)])
    assert [answer.state for answer in answers] == [State.WAITING, State.WAITING, None]
    assert_circle(answers[2].problem, ids[2], ids[0], ids[1])
    assert bench.settle(ids[2], token).state is State.SUCCEEDED
    advance(bench)
    assert bench.reader.states(ids[:2]) == {ids[0]: State.WAITING, ids[1]: State.READY}


def test_an_end_and_a_wait_for_it_in_one_set_of_outcomes(bench: Bench) -> None:
    ids = enqueue(bench, *(job(bench) for _ in range(2)))
    token, _ = bench.take(2)
    endings = [Ending(kind="wait", wait=WaitRow(jobs=[ids[1]])), Ending(kind="fail", fatal=True)]
    bench.settle_many([(id, token, ending) for id, ending in zip(ids, endings, strict=True)])
    assert bench.reader.states(ids) == {ids[0]: State.READY, ids[1]: State.FAILED}


@pytest.mark.parametrize("timed", ["first", "second"])
def test_a_wait_that_the_clock_ends_is_no_circle(bench: Bench, timed: str) -> None:
    one, other = add(bench, queue="a"), add(bench, queue="b")
    token, token_of_other = run(bench, one), run(bench, other)
    assert wait(bench, one, token, other, after_ms=5000 if timed == "first" else None) is None
    assert wait(bench, other, token_of_other, one, after_ms=5000 if timed == "second" else None) is None
    bench.expire(6000)
    late, early = (other, one) if timed == "first" else (one, other)
    end(bench, early, "succeed")
    advance(bench)
    assert bench.state(late) is State.READY


def test_a_wait_for_jobs_that_wait_for_nobody_costs_no_further_look(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    found: list[Any] = []
    bench.engine._driver.transaction(found.append)  # type: ignore[attr-defined]
    original = type(found[0]).one

    def spy(self: Any, statement: str, **parameters: object) -> Any:
        seen.append(statement)
        return original(self, statement, **parameters)

    monkeypatch.setattr(type(found[0]), "one", spy)
    need, parent = add(bench, queue="n"), add(bench, queue="p")
    token = run(bench, parent)
    seen.clear()
    assert wait(bench, parent, token, need) is None
    assert "waits_behind" not in seen
    assert seen.count("flow_jobs") == 1


def test_a_long_line_is_followed_once_by_each_edge(bench: Bench) -> None:
    """30 layers of two, each after both of the layer before: a thousand million ways, and 120 edges."""
    root = add(bench, queue="root")
    token = run(bench, root)
    layer = [root]
    for _ in range(30):
        layer = enqueue(bench, *(job(bench, after=layer) for _ in range(2)))
    problem = wait(bench, root, token, layer[0])
    assert problem is not None
    assert problem.code == "dependency_cycle"
    assert problem.message.count("waits for") == 31


def test_all_of_a_circle_begin_to_wait_at_the_same_moment(bench: Bench) -> None:
    """Four that wait for each other: each transaction touches two of them, so that no row is common to all."""
    for _ in range(15 if bench.store.concurrency > 1 else 1):
        ids = [add(bench, queue=f"q{place}") for place in range(4)]
        tokens = [run(bench, id) for id in ids]
        now = bench.tick()
        start = threading.Barrier(4 if bench.store.concurrency > 1 else 1)
        refused: list[Problem] = []

        def begin(
            place: int,
            ids: list[int] = ids,
            tokens: list[str] = tokens,
            now: int = now,
            start: threading.Barrier = start,
            refused: list[Problem] = refused,
        ) -> None:
            engine = bench.engine if bench.store.concurrency == 1 else bench.store.engine()
            ending = Ending(kind="wait", wait=WaitRow(jobs=[ids[(place + 1) % 4]]))
            start.wait(30)
            answer = engine.apply(Batch(now, settles=[[SettleRow(ids[place], tokens[place], ending)]])).settled[0][0]
            refused += [answer.problem] if answer.problem else []
            if engine is not bench.engine:
                engine.close()

        if bench.store.concurrency == 1:
            for place in range(4):
                begin(place)
        else:
            threads = [threading.Thread(target=begin, args=(place,)) for place in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        assert [problem.code for problem in refused] == ["dependency_cycle"]


def test_circles_are_found_in_any_graph() -> None:
    assert circle(1, [2], {}) is None
    assert circle(1, [2], {2: [3], 3: [2]}) is None, "a circle of others is not ours"
    assert circle(1, [2, 3], {3: [4, 2], 4: [1]}) == [1, 3, 4]
