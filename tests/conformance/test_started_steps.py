"""Steps that cost are marked before they run: a death in one leaves its trace, and a plain step writes nothing more."""

from __future__ import annotations

import pytest

from roost.domain.states import State
from roost.engine.batch import Batch, BeatRow, StartRow, StepRow
from roost.engine.calls import DeleteJobs, Reap
from roost.wire.attempts import UnrecordedStep
from tests.conformance.bench import LEASE, Bench

pytestmark = pytest.mark.feature("steps")


def mark(bench: Bench, id: int, token: str, *names: str, kind: str = "llm") -> bool:
    """Whether the lease holds that the steps are started under."""
    return bench.beat(id, token, steps=[StartRow(name, kind, "hash", bench.now) for name in names]).problem is None


def record(bench: Bench, id: int, token: str, name: str, kind: str = "llm") -> None:
    step = StepRow(id, token, name, kind, "hash", '"done"', None, bench.now)
    (answer,) = bench.engine.apply(Batch(bench.tick(), steps=[step])).steps
    assert answer.recorded


def unrecorded(bench: Bench, id: int) -> list[tuple[str, int, str | None]]:
    return [(each.name, each.attempt, each.ended) for each in bench.reader.all_steps(id)[1]]


def test_what_a_dead_attempt_started_stays_seen_also_when_the_next_one_records_it(bench: Bench) -> None:
    (id,) = bench.enqueue()
    token, _ = bench.take()
    assert mark(bench, id, token, "read", "write")
    assert mark(bench, id, token, "write", kind="tool")
    assert unrecorded(bench, id) == [("read", 1, None), ("write", 1, None)]
    record(bench, id, token, "read")
    (left,) = bench.reader.all_steps(id)[1]
    assert left == UnrecordedStep(
        name="write", kind="tool", input_hash="hash", attempt=1, started_at=left.started_at, ended=None
    )
    bench.tick(LEASE * 3)
    bench.act(Reap(bench.now))
    bench.expire(60_000)
    assert unrecorded(bench, id) == [("write", 1, "lost")]
    # The dead one's late words mark nothing.
    assert not mark(bench, id, token, "more")
    token, _ = bench.take()
    assert mark(bench, id, token, "write")
    assert unrecorded(bench, id) == [("write", 1, "lost"), ("write", 2, None)]
    record(bench, id, token, "write")
    assert unrecorded(bench, id) == [("write", 1, "lost")]
    assert bench.settle(id, token).state is State.SUCCEEDED
    steps, marks = bench.reader.all_steps(id)
    assert ([step.attempt for step in steps], len(marks)) == ([1, 2], 1)
    assert [each.name for each in bench.reader.history(id, 0).unrecorded] == ["write"]


def test_a_mark_that_comes_late_or_twice_opens_nothing_again(bench: Bench) -> None:
    (id,) = bench.enqueue()
    token, _ = bench.take()
    assert mark(bench, id, token, "call")
    assert mark(bench, id, token, "call")
    record(bench, id, token, "call")
    assert mark(bench, id, token, "call")
    assert unrecorded(bench, id) == []


def test_one_transaction_may_mark_and_record(bench: Bench) -> None:
    first, second = bench.enqueue(2)
    token, _ = bench.take(2)
    assert mark(bench, first, token, "call")
    step = StepRow(first, token, "call", "llm", "hash", "1", None, bench.now)
    beats = [BeatRow(second, token, LEASE, steps=[StartRow("call", "tool", "hash", bench.now)])]
    again = [BeatRow(first, token, LEASE, steps=[StartRow("call", "llm", "hash", bench.now)])]
    bench.engine.apply(Batch(bench.tick(), steps=[step], beats=[beats, again]))
    assert (unrecorded(bench, first), unrecorded(bench, second)) == ([], [("call", 1, None)])
    # A handler that goes on without its step leaves it marked: its attempt succeeded, the step did not.
    bench.settle(second, token)
    assert unrecorded(bench, second) == [("call", 1, "succeeded")]
    bench.settle(first, token)
    bench.act(DeleteJobs(second))
    assert bench.state(second) is None
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        assert session.query("SELECT count(*) FROM step_started", {}) == [(0,)]
