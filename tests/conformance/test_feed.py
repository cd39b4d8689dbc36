"""The feed: every path writes its fact in its own transaction, and reading gives them back from any position."""

from __future__ import annotations

from typing import Any

import pytest

from roost.domain.feed import Happening, Position
from roost.domain.records import HoldRule, QueueRules
from roost.domain.retry import RetryRule
from roost.domain.schedule import ScheduleRule
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine.batch import Batch, ClaimWork, EnqueueWork, SettleRow
from roost.engine.calls import (
    CancelJobs,
    DecideHold,
    DeleteJobs,
    DeleteSchedule,
    ExtendHold,
    Fire,
    FireSchedule,
    Prune,
    PruneFeed,
    PutSchedule,
    Reap,
    ReopenJobs,
    SetQueuePaused,
    SetQueueRules,
    SetSchedulePaused,
)
from roost.engine.workers import RegisterWorker
from roost.errors import CursorTooOld
from roost.wire.holds import ListHolds
from tests.conformance.bench import LEASE, Bench, row
from tests.support.feed import Replay

pytestmark = pytest.mark.feature("events")


def events(bench: Bench, after: Position | None = None, limit: int = 10_000) -> list[Happening]:
    return bench.reader.feed(after, limit).events


def told(bench: Bench, since: Position) -> list[tuple[str, int | None]]:
    return [(event.type, event.job) for event in events(bench, since)]


def here(bench: Bench) -> Position:
    return bench.reader.feed_newest()


def test_a_plain_life(bench: Bench) -> None:
    first, second = bench.enqueue(2, queue="mail")
    token, _ = bench.take(5, "mail", worker="ana")
    bench.beat(first, token, progress='{"current":1}', logs=[(bench.now, "info", "hello")])
    bench.step(first, token, "read")
    bench.settle_many([(first, token, Ending(kind="succeed")), (second, token, Ending(kind="succeed"))])
    found = events(bench)
    assert [(event.type, event.job, event.state) for event in found] == [
        ("created", first, State.READY),
        ("created", second, State.READY),
        ("started", first, State.RUNNING),
        ("started", second, State.RUNNING),
        ("progress", first, None),
        ("logged", first, None),
        ("step", first, None),
        ("succeeded", first, State.SUCCEEDED),
        ("succeeded", second, State.SUCCEEDED),
    ]
    assert {(event.queue, event.kind) for event in found} == {("mail", "mail")}
    assert found[2].data == {"worker": "ana"}
    assert found[6].data == {"name": "read", "kind": "code", "attempt": 1}
    assert [event.at for event in found] == sorted(event.at for event in found)


def test_what_a_batch_does_at_once_is_one_row_in_the_order_it_was_done(bench: Bench) -> None:
    (old,) = bench.enqueue()
    token, _ = bench.take()
    since = here(bench)
    claim = ClaimWork(["default"], 5, "t" * 32, "worker", LEASE)
    bench.engine.apply(
        Batch(
            bench.tick(),
            enqueues=[EnqueueWork([row(now=bench.now), row(now=bench.now, delay="1h")])],
            settles=[[SettleRow(old, token, Ending(kind="fail", error='{"type":"Oops"}', fatal=True))]],
            claims=[claim],
        )
    )
    found = events(bench, since)
    assert [(event.type, event.job) for event in found] == [
        ("created", old + 1),
        ("created", old + 2),
        ("attempt_ended", old),
        ("failed", old),
        ("started", old + 1),
    ]
    assert len({event.position.seq for event in found}) == 1
    assert [event.position.index for event in found] == [0, 1, 2, 3, 4]
    assert [found[0].state, found[1].state, found[1].data] == [State.READY, State.WAITING, {"reason": "scheduled"}]


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (Ending(kind="fail", error='{"type":"Oops"}'), ["attempt_ended", "waiting"]),
        (Ending(kind="fail", error='{"type":"Oops"}', fatal=True), ["attempt_ended", "failed"]),
        (Ending(kind="snooze", after_ms=1000), ["attempt_ended", "waiting"]),
        (Ending(kind="release"), ["attempt_ended", "ready"]),
        (Ending(kind="cancel"), ["attempt_ended", "cancelled"]),
        (Ending(kind="succeed", result="1"), ["succeeded"]),
    ],
    ids=lambda value: value.kind if isinstance(value, Ending) else "",
)
def test_each_ending_tells_the_attempt_and_where_the_job_goes(
    bench: Bench, ending: Ending, expected: list[str]
) -> None:
    (id,) = bench.enqueue(retry=RetryRule(retries=3))
    token, _ = bench.take()
    since = here(bench)
    for _ in range(2):
        bench.settle_many([(id, token, ending)])
    assert told(bench, since) == [(type, id) for type in expected], "the repeated answer is not told again"
    if expected[0] == "attempt_ended":
        assert events(bench, since)[0].data["attempt"] == 1


def test_a_success_repeated_within_its_millisecond_is_told_once(bench: Bench) -> None:
    first, second = bench.enqueue(2)
    token, _ = bench.take(2)
    since = here(bench)
    once, both = ([[SettleRow(id, token, Ending(kind="succeed")) for id in ids]] for ids in ([first], [first, second]))
    bench.engine.apply(Batch(bench.tick(), settles=once))
    for back in (0, -5):
        settled = bench.engine.apply(Batch(bench.now + back, settles=both)).settled
        assert [answer.state for answer in settled[0]] == [State.SUCCEEDED, State.SUCCEEDED]
    assert told(bench, since) == [("succeeded", first), ("succeeded", second)]


def test_time_and_lost_workers(bench: Bench) -> None:
    (late,) = bench.enqueue(ttl="1s")
    (due,) = bench.enqueue(delay="2s")
    (over,) = bench.enqueue(delay="1h", deadline="3s")
    since = here(bench)
    bench.expire(1500)
    bench.expire(1000)
    bench.expire(1000)
    assert told(bench, since) == [
        ("expired", late),
        ("ready", due),
        ("cancelled", over),
        ("deadline_passed", over),
    ]
    bench.take()
    since = here(bench)
    bench.tick(LEASE + 1)
    bench.act(Reap(bench.now))
    found = events(bench, since)
    assert [(event.type, event.state) for event in found] == [("attempt_ended", None), ("ready", State.READY)]
    assert found[0].data["outcome"] == "lost"


def test_a_persons_doings(bench: Bench) -> None:
    (held,) = bench.enqueue(hold=HoldRule(expires="1h"))
    since = here(bench)
    (hold,) = bench.reader.holds(ListHolds(job=held)).holds
    bench.act(ExtendHold(id=hold.id, by_ms=1000, actor="ana"))
    bench.act(DecideHold(id=hold.id, decision="approve", subject_hash=hold.subject_hash, actor="ben", note=""))
    bench.act(DecideHold(id=hold.id, decision="approve", subject_hash=hold.subject_hash, actor="ben", note=""))
    bench.take()
    bench.act(CancelJobs(held, actor="eva", note="enough"))
    found = events(bench, since)
    assert [(event.type, event.actor) for event in found] == [
        ("hold_extended", "ana"),
        ("decided", "ben"),
        ("ready", None),
        ("started", None),
        ("cancel_requested", "eva"),
    ]
    (other,) = bench.enqueue()
    since = here(bench)
    bench.act(CancelJobs(other, actor="eva", note="enough"))
    bench.act(ReopenJobs(other, actor="eva"))
    bench.act(CancelJobs(other))
    bench.act(DeleteJobs(other))
    assert [event.type for event in events(bench, since)] == [
        "cancelled",
        "ready",
        "reopened",
        "cancelled",
        "job_deleted",
    ]
    cancelled = events(bench, since)[0]
    assert (cancelled.actor, cancelled.data) == ("eva", {"reason": "requested", "note": "enough"})
    assert events(bench, since)[-1].job == other, "a deleted job keeps its id in the feed"
    assert {(event.queue, event.kind) for event in events(bench, since)} == {("default", "mail")}


def test_what_is_no_jobs(bench: Bench) -> None:
    since = here(bench)
    bench.act(SetQueuePaused("mail", True, actor="ana"))
    bench.act(SetQueuePaused("mail", False, actor="ana"))
    bench.act(SetQueueRules("mail", QueueRules(), actor="ana"))
    rule = ScheduleRule(every="1h")
    put: dict[str, Any] = {"rule": rule, "job": '{"kind":"mail"}', "paused": None, "remove_after_last": False}
    bench.act(PutSchedule(name="daily", next_fire=bench.now + 1, **put))
    bench.act(SetSchedulePaused("daily", True))
    bench.act(SetSchedulePaused("daily", False))
    at = bench.reader.schedule_facts("daily").next_fire
    assert at is not None
    fires = [Fire(at, "fired", row(now=bench.now))]
    bench.act(FireSchedule(name="daily", expected=at, fires=fires, next_fire=at + 3_600_000))
    bench.act(FireSchedule(name="daily", expected=at, fires=fires, next_fire=at + 3_600_000))
    bench.act(DeleteSchedule("daily"))
    bench.act(RegisterWorker("ana", "{}"))
    found = events(bench, since)
    assert [event.type for event in found] == [
        "queue_paused",
        "queue_resumed",
        "queue_edited",
        "schedule_put",
        "schedule_paused",
        "schedule_resumed",
        "created",
        "schedule_fired",
        "schedule_deleted",
        "worker_registered",
    ]
    assert found[0].data == {"queue": "mail"}
    assert found[0].actor == "ana"
    assert found[7].data == {"schedule": "daily", "fire_at": at, "outcome": "fired"}
    assert found[7].job == found[6].job


def test_what_changes_nothing_writes_nothing(bench: Bench) -> None:
    (id,) = bench.enqueue()
    token, _ = bench.take()
    since = here(bench)
    bench.beat(id, token)
    bench.claim(5)
    bench.settle(id, "x" * 32)
    bench.expire(5)
    bench.act(Reap(bench.now))
    bench.act(CancelJobs(999))
    assert here(bench) == since
    assert not bench.engine.apply(Batch(bench.tick())).effects.fed


def test_reading_resumes_behind_every_event_with_every_limit(bench: Bench) -> None:
    for count in (1, 3, 200):
        bench.enqueue(count)
        bench.take(count)
    whole = events(bench)
    assert len(whole) == 408
    for start in [*range(0, 12), 100, 406, 407]:
        assert events(bench, whole[start].position) == whole[start + 1 :]
    for limit in (1, 2, 7, 203):
        found: list[Happening] = []
        position: Position | None = None
        while True:
            page = bench.reader.feed(position, limit)
            assert len(page.events) <= limit
            found += page.events
            position = page.position
            if not page.more:
                break
        assert found == whole
    assert here(bench) == Position(whole[-1].position.seq)
    assert events(bench, here(bench)) == []


def test_a_thousand_jobs_are_told_in_a_few_bytes(bench: Bench) -> None:
    ids = bench.enqueue_rows([row(now=bench.now + 1) for _ in range(1000)])
    assert isinstance(ids, list)
    bench.take(1000)
    sizes = [row[0] for row in _query(bench, "SELECT length(facts) FROM feed")]
    assert max(sizes) < 200
    assert len(events(bench)) == 2000


def test_old_rows_are_pruned_in_small_sets_and_the_reader_is_told(bench: Bench) -> None:
    bench.fed = False
    for _ in range(10):
        bench.enqueue()
    middle = events(bench)[4].position
    before = bench.now - 4
    acted = bench.act(PruneFeed(before=before, limit=3))
    assert (acted.count, acted.more) == (3, True)
    while bench.act(PruneFeed(before=before, limit=3)).more:
        pass
    kept = events(bench)
    assert 3 <= len(kept) <= 5
    with pytest.raises(CursorTooOld):
        bench.reader.feed(middle, 10)
    with pytest.raises(CursorTooOld):
        bench.reader.feed(Position(0), 10)
    assert events(bench, Position(kept[0].position.seq - 1)) == kept, "nothing is missing behind the last pruned row"
    bench.act(PruneFeed(before=bench.now + 10**9))
    assert len(events(bench)) == 1, "the newest row stays, so that no number is given twice"
    last = here(bench)
    bench.enqueue()
    assert here(bench).seq == last.seq + 1
    with pytest.raises(CursorTooOld):
        bench.reader.feed(Position(here(bench).seq + 1), 10)


def test_pruned_jobs_are_told(bench: Bench) -> None:
    id, _ = bench.in_state(State.SUCCEEDED)
    since = here(bench)
    bench.act(Prune(queue="default", state="succeeded", before=bench.now + 1))
    assert told(bench, since) == [("job_pruned", id)]
    assert {event.queue for event in events(bench)} == {"default"}, "a filter by queue misses nothing of deleted jobs"
    bench.fed = False
    bench.act(PruneFeed(before=bench.now + 10**9))
    assert [(event.type, event.queue) for event in events(bench)] == [("job_pruned", "default")]
    assert _query(bench, "SELECT count(*) FROM feed_gone") == [(0,)]


def test_the_replayed_feed_is_the_store(bench: Bench) -> None:
    for state in (
        State.SUCCEEDED,
        State.FAILED,
        State.CANCELLED,
        State.HELD,
        State.WAITING,
        State.EXPIRED,
        State.READY,
    ):
        bench.in_state(state)
    replay = Replay()
    replay.read(bench.reader, limit=3)
    replay.check(bench.reader)


def _query(bench: Bench, sql: str) -> list[tuple[Any, ...]]:
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        found: list[tuple[Any, ...]] = session.query(sql, {})
        return found
