"""What people do to stored jobs, one by one and in sets: nothing leads around a hold, nothing leaves a ghost."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from roost.domain.placing import Place
from roost.domain.records import HoldRule, JobEdit
from roost.domain.retry import RetryRule
from roost.domain.states import State
from roost.engine.actions import edits, reopening, sets
from roost.engine.batch import Effects, Operation
from roost.engine.calls import (
    CancelJobs,
    DecideHold,
    DeleteJobs,
    EditJobs,
    HoldJobs,
    MoveJobs,
    NoteJobs,
    ReopenJobs,
    RunJobs,
)
from roost.engine.work import feed
from roost.errors import Conflict, NotFound, UniqueConflict
from roost.wire.holds import ListHolds
from tests.conformance.bench import Bench


def approve(bench: Bench, id: int) -> None:
    (hold,) = bench.reader.holds(ListHolds(job=id)).holds
    action = DecideHold(id=hold.id, decision="approve", subject_hash=hold.subject_hash, actor="ana", note="")
    assert bench.act(action).problem is None


def in_transaction(bench: Bench, work: Any) -> Any:
    """``work(transaction, effects)`` in one transaction; its answer and how many statements it took."""
    counted: list[str] = []

    class Counting:
        def __init__(self, transaction: Any) -> None:
            self._transaction = transaction

        def __getattr__(self, name: str) -> Any:
            found = getattr(self._transaction, name)
            if name not in ("run", "send", "ask", "one", "row", "rows"):
                return found

            def call(statement: str, **parameters: object) -> Any:
                counted.append(statement)
                return found(statement, **parameters)

            return call

    def carry_out(transaction: Any) -> Any:
        transaction.facts.clear()
        answer = work(Counting(transaction), Effects())
        feed.write(transaction, bench.now)
        return answer

    answer = bench.engine._driver.transaction(carry_out)  # type: ignore[attr-defined]
    return answer, len(counted)


# --- cancel, move, clone ----------------------------------------------------------------------------------------------


@pytest.mark.feature("cancel-move-clone")
def test_a_held_job_is_cancelled(bench: Bench) -> None:
    id, _ = bench.in_state(State.HELD)
    assert bench.act(CancelJobs(id, "ana", "not needed")).problem is None
    job = bench.job(id)
    assert (job.state, job.reason) == (State.CANCELLED, "requested")
    assert bench.reader.holds(ListHolds(job=id)).holds == [], "nobody is asked any more"


@pytest.mark.feature("cancel-move-clone")
def test_a_move_changes_queue_priority_and_time(bench: Bench) -> None:
    (first, second) = bench.enqueue(2)
    bench.act(MoveJobs(second, Place(queue="other", priority=9)))
    assert bench.take(5) == ("token000000000000000000000000001", [first])
    assert bench.take(5, "other")[1] == [second]
    (third, fourth) = bench.enqueue(2)
    bench.act(MoveJobs(fourth, Place(priority=8)))
    assert bench.take(5)[1] == [fourth, third]
    (later,) = bench.enqueue()
    bench.act(MoveJobs(later, Place(run_at=bench.now + 60_000)))
    assert (bench.job(later).state, bench.job(later).reason) == (State.WAITING, "scheduled")
    assert bench.take(5)[1] == []
    bench.expire(60_001)
    assert bench.take(5)[1] == [later]


@pytest.mark.feature("cancel-move-clone", "failed-jobs")
def test_a_held_job_stays_held_wherever_it_is_moved(bench: Bench) -> None:
    id, _ = bench.in_state(State.HELD)
    bench.act(MoveJobs(id, Place(queue="other", priority=9, run_at=bench.now - 1000)))
    assert bench.state(id) is State.HELD
    assert bench.job(id).queue == "other"
    problem = bench.act(RunJobs(id)).problem
    assert problem is not None
    assert problem.code == "conflict"
    approve(bench, id)
    assert bench.state(id) is State.READY


@pytest.mark.feature("cancel-move-clone")
def test_a_move_into_a_queue_that_holds_its_jobs_asks_first(bench: Bench) -> None:
    (id,) = bench.enqueue(text='{"user":1}')
    bench.act(MoveJobs(id, Place(queue="careful", hold=HoldRule(title="Send"))))
    assert (bench.job(id).state, bench.job(id).reason) == (State.HELD, "approval")
    (hold,) = bench.reader.holds(ListHolds(job=id)).holds
    assert bytes(hold.subject) == b'{"kind":"mail","input":{"user":1}}'
    approve(bench, id)
    assert bench.take(1, "careful")[1] == [id]


@pytest.mark.feature("cancel-move-clone")
@pytest.mark.parametrize("state", [State.RUNNING, State.SUCCEEDED, State.FAILED, State.CANCELLED, State.EXPIRED])
def test_what_runs_or_has_ended_is_neither_moved_nor_held(bench: Bench, state: State) -> None:
    id, _ = bench.in_state(state)
    before = bench.job(id)
    for action in (MoveJobs(id, Place(priority=9)), HoldJobs(id, "wait"), RunJobs(id)):
        problem = bench.act(action).problem
        assert problem is not None
        assert problem.code == "conflict"
    assert bench.job(id) == before


def test_run_now_starts_what_waits_for_a_time(bench: Bench) -> None:
    (scheduled,) = bench.enqueue(delay="1h")
    bench.act(RunJobs(scheduled, "ana"))
    (failed,) = bench.enqueue(retry=RetryRule(retries=3, base="1h", cap="1h"))
    token, ids = bench.take(2)
    assert ids == [scheduled, failed]
    bench.settle(failed, token, "fail", error='{"type":"Oops"}')
    assert (bench.job(failed).state, bench.job(failed).reason) == (State.WAITING, "retry")
    bench.act(RunJobs(failed))
    assert bench.take()[1] == [failed]


@pytest.mark.feature("cancel-move-clone")
def test_a_hold_by_hand_waits_for_an_approval_and_gives_the_job_back_to_its_time(bench: Bench) -> None:
    (ready, later) = bench.enqueue()[0], bench.enqueue(delay="1h")[0]
    for id in (ready, later):
        assert bench.act(HoldJobs(id, "Look first", "ana")).problem is None
        assert (bench.job(id).state, bench.job(id).reason) == (State.HELD, "manual")
    assert bench.act(HoldJobs(ready, "again")).problem.code == "conflict"  # type: ignore[union-attr]
    assert bench.take(5)[1] == []
    approve(bench, ready)
    approve(bench, later)
    assert bench.take(5)[1] == [ready]
    assert (bench.job(later).state, bench.job(later).reason) == (State.WAITING, "scheduled")
    bench.expire(3_600_001)
    assert bench.take(5)[1] == [later]


# --- reopen -----------------------------------------------------------------------------------------------------------


@pytest.mark.feature("failed-jobs")
def test_a_failed_job_is_reopened_with_another_input_in_another_queue(bench: Bench) -> None:
    (id,) = bench.enqueue(text='{"user":0}', retry=RetryRule(retries=0))
    token, _ = bench.take()
    bench.settle(id, token, "fail", error='{"type":"Oops"}')
    assert bench.act(ReopenJobs(id, "ana", "", input='{"user":1}', queue="second")).problem is None
    job = bench.job(id)
    assert (job.state, job.queue, bytes(job.input), job.failures) == (State.READY, "second", b'{"user":1}', 0)
    assert [attempt.outcome for attempt in job.attempts] == ["failed"]
    token, ids = bench.take(1, "second")
    assert ids == [id]
    bench.settle(id, token, result="1")
    assert [attempt.outcome for attempt in bench.job(id).attempts] == ["failed", "succeeded"]


@pytest.mark.feature("failed-jobs")
@pytest.mark.parametrize("how", ["again", "edited", "redriven"])
def test_no_reopen_leads_around_an_approval(bench: Bench, how: str) -> None:
    (id,) = bench.enqueue(hold=HoldRule(title="Send"), retry=RetryRule(retries=0))
    approve(bench, id)
    token, _ = bench.take()
    bench.settle(id, token, "fail", error='{"type":"Oops"}')
    edit: dict[str, Any] = {"edited": {"input": '{"user":8}'}, "redriven": {"queue": "free"}}.get(how, {})
    bench.act(ReopenJobs(id, **edit))
    assert bench.state(id) is State.HELD
    (hold,) = bench.reader.holds(ListHolds(job=id)).holds
    shown = b'{"user":8}' if how == "edited" else b'{"user":7}'
    assert bytes(hold.subject) == b'{"kind":"mail","input":' + shown + b"}"


@pytest.mark.feature("failed-jobs")
def test_a_redrive_into_a_queue_that_holds_its_jobs_asks_first(bench: Bench) -> None:
    id, _ = bench.in_state(State.FAILED)
    bench.act(ReopenJobs(id, queue="careful", hold=HoldRule(title="Send")))
    assert (bench.job(id).state, bench.job(id).queue) == (State.HELD, "careful")


@pytest.mark.feature("failed-jobs", "unique")
def test_of_a_set_with_one_key_one_job_is_reopened(bench: Bench) -> None:
    ids = []
    for _ in range(2):
        (id,) = bench.enqueue(unique="k")
        bench.act(CancelJobs(id))
        ids.append(id)
    refused, _ = in_transaction(bench, lambda t, effects: reopening.reopen(t, ids, bench.tick(), effects))
    assert list(refused) == [ids[1]]
    assert isinstance(refused[ids[1]], UniqueConflict)
    assert [bench.state(id) for id in ids] == [State.READY, State.CANCELLED]


# --- sets -------------------------------------------------------------------------------------------------------------


@pytest.mark.feature("bulk", "failed-jobs")
@pytest.mark.parametrize("size", [1, 40])
def test_a_set_takes_as_many_statements_as_a_single_job(bench: Bench, size: int) -> None:
    def statements(work: Any) -> int:
        refused, count = in_transaction(bench, work)
        assert refused == {}
        return int(count)

    now = bench.tick
    ids = bench.enqueue(size)
    counts = {
        "hold": statements(lambda t, e: sets.hold(t, ids, now(), e)),
        "move held": statements(lambda t, e: sets.move(t, ids, now(), e, place=Place(queue="b", priority=1))),
        "cancel": statements(lambda t, e: sets.cancel(t, ids, now(), e)),
        "reopen": statements(lambda t, e: reopening.reopen(t, ids, now(), e, edit=reopening.Edit(input="1"))),
        "move": statements(lambda t, e: sets.move(t, ids, now(), e, place=Place(queue="c"))),
        "tag": statements(lambda t, e: edits.edit(t, ids, now(), edit=JobEdit(tags={"a": "b"}))),
        "note": statements(lambda t, e: edits.note(t, ids, now(), text="x")),
        "delete": statements(lambda t, e: sets.delete(t, ids, now(), e)),
    }
    assert max(counts.values()) < 40, counts
    known = _COUNTS.setdefault(bench.store.info.engine, counts)
    assert counts == known, "the same number of statements whatever the size of the set"
    assert bench.reader.states(ids) == {}


_COUNTS: dict[str, dict[str, int]] = {}
"""By engine: what the first size took."""


@pytest.mark.feature("bulk")
def test_a_set_refuses_job_by_job_and_does_the_rest(bench: Bench) -> None:
    running, _ = bench.in_state(State.RUNNING)
    ended, _ = bench.in_state(State.SUCCEEDED)
    (ready,) = bench.enqueue()
    refused, _ = in_transaction(
        bench, lambda t, e: sets.move(t, [running, ready, 999, ended], bench.tick(), e, place=Place(queue="b"))
    )
    assert {id: type(error) for id, error in refused.items()} == {running: Conflict, ended: Conflict, 999: NotFound}
    assert bench.job(ready).queue == "b"


# --- tags, owner, metadata, notes -------------------------------------------------------------------------------------


@pytest.mark.feature("tags-notes")
def test_labels_are_edited_in_any_state_and_recorded_with_who_did_it(bench: Bench) -> None:
    for state in State:
        id, _ = bench.in_state(state)
        edit = JobEdit(tags={"team": "blue"}, owner="ana", metadata='{"ticket":7}')
        assert bench.act(EditJobs(id, edit, "bo")).problem is None
        job = bench.job(id)
        assert (job.state, job.tags, job.owner) == (state, {"team": "blue"}, "ana")
        assert job.metadata is not None
        assert bytes(job.metadata) == b'{"ticket":7}'
        bench.act(EditJobs(id, JobEdit(tags={"x": "1"}, untag=["team"], owner="", metadata="null"), "bo"))
        job = bench.job(id)
        assert (job.tags, job.owner, job.metadata) == ({"x": "1"}, None, None)
        bench.act(NoteJobs(id, "asked Bo", "ana"))
        events = bench.reader.history(id, 0).events
        told = [(event.type, event.actor) for event in events if event.type in ("edited", "note")]
        assert told == [("edited", "bo"), ("edited", "bo"), ("note", "ana")]
        assert msgspec.json.decode(events[-1].data or "") == {"note": "asked Bo"}
        bench.act(CancelJobs(id))


@pytest.mark.feature("tags-notes")
def test_metadata_and_tags_come_with_the_enqueue_and_go_with_the_job(bench: Bench) -> None:
    (id,) = bench.enqueue(tags={"team": "blue"}, metadata='{"ticket":7}')
    job = bench.job(id)
    assert (job.tags, bytes(job.metadata or b"")) == ({"team": "blue"}, b'{"ticket":7}')
    bench.act(DeleteJobs(id))
    left = in_transaction(bench, lambda t, e: [t.one("job_more", id=id), t.one("job_chunks_last", id=id)])
    assert left[0] == [None, 0]


# --- results ----------------------------------------------------------------------------------------------------------


@pytest.mark.feature("progress-result")
def test_chunks_and_the_summary_come_with_beats_and_settles_in_order(bench: Bench) -> None:
    (id,) = bench.enqueue()
    token, _ = bench.take()
    bench.beat(id, token, chunks=["1", '"two"'])
    long = '"' + "x" * 200_000 + '"'
    bench.settle(id, token, result='{"n":3}', summary="Three.", chunks=[long])
    page = bench.reader.chunks(id, 0, 10)
    assert [(chunk.number, bytes(chunk.chunk).decode()) for chunk in page.chunks] == [(1, "1"), (2, '"two"'), (3, long)]
    assert page.ended
    job = bench.job(id)
    assert (job.summary, job.chunks, bytes(job.result or b"")) == ("Three.", 3, b'{"n":3}')
    assert [chunk.number for chunk in bench.reader.chunks(id, 2, 10).chunks] == [3]
    bench.settle(id, token, result='{"n":3}', summary="Three.", chunks=["4"])
    assert bench.job(id).chunks == 3, "a repeated settle says nothing twice"


@pytest.mark.feature("progress-result")
def test_a_repeated_heartbeat_doubles_neither_lines_nor_chunks(bench: Bench) -> None:
    (id,) = bench.enqueue()
    token, _ = bench.take()
    said: dict[str, Any] = {"logs": [(bench.now, "info", "hello")], "chunks": ["1"], "operation": Operation("o", "f")}
    for _ in range(3):
        assert bench.beat(id, token, **said).problem is None
    assert [line.message for line in bench.reader.logs(id, 0, 10).lines] == ["hello"]
    assert bench.job(id).chunks == 1
    bench.beat(id, token, **said | {"operation": Operation("o2", "f")})
    assert bench.job(id).chunks == 2


@pytest.mark.feature("progress-result")
def test_pages_of_large_chunks_are_bounded_and_lose_none(bench: Bench) -> None:
    (id,) = bench.enqueue()
    token, _ = bench.take()
    large = ['"' + "ü" * 150_000 + f'{number}"' for number in range(8)]
    bench.beat(id, token, chunks=[*large, *("1",) * 5])
    seen: list[int] = []
    sizes: list[int] = []
    while True:
        page = bench.reader.chunks(id, seen[-1] if seen else 0, 1000)
        assert not page.ended
        seen += [chunk.number for chunk in page.chunks]
        sizes.append(sum(len(bytes(chunk.chunk)) for chunk in page.chunks))
        if not page.more:
            break
    assert seen == [*range(1, 14)]
    assert sizes == [4 * 300_003, 4 * 300_003, 5]
    bench.settle(id, token)
    ended = [bench.reader.chunks(id, after, 5) for after in (0, 4, 8, 13)]
    assert [(page.more, page.ended) for page in ended] == [(True, False), (True, False), (False, True), (False, True)]
    assert len(ended[1].chunks) == 4


@pytest.mark.feature("progress-result")
def test_the_chunk_after_the_last_is_refused_not_dropped(bench: Bench) -> None:
    (id,) = bench.enqueue()
    token, _ = bench.take()
    for _ in range(10):
        assert bench.beat(id, token, chunks=["0"] * 1000).problem is None
    answer = bench.beat(id, token, chunks=["1"])
    assert answer.problem is not None
    assert answer.problem.code == "too_large"
    assert bench.settle(id, token).state is State.SUCCEEDED
