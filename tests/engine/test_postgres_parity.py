"""Both engines give the same answers to the same calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from roost.domain.records import QueueRules
from roost.domain.schedule import ScheduleRule
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine.batch import Batch, BeatRow, ClaimWork, EnqueueWork, Operation, StepRow
from roost.engine.calls import (
    CancelJobs,
    DecideHold,
    DeleteJobs,
    DeleteSchedule,
    ExtendHold,
    Fire,
    FireSchedule,
    Promote,
    Prune,
    PruneOld,
    PutSchedule,
    Reap,
    ReopenJobs,
    SetQueuePaused,
    SetQueueRules,
    SetSchedulePaused,
)
from roost.engine.opening import open_store
from roost.engine.protocol import Engine
from roost.engine.reading import Reader
from roost.engine.store import Store
from roost.engine.workers import RegisterWorker
from roost.wire.holds import ListHolds
from roost.wire.jobs import ListJobs
from tests.engine.postgres_calls import NOW, SUCCESS, act, claim, enqueue, hold_row, ids, row, settle, unique
from tests.support.pgbouncer import PgBouncer

Answers = list[object]


def hot_path(engine: Engine) -> Iterator[object]:
    """Enqueue, claim, settle in every way, repeat, stale tokens."""
    yield enqueue(engine, *(row(n, priority=n % 3) for n in range(12)), row(12, options='{"timeout_ms":5000}'))
    yield enqueue(engine, row(13, state=State.WAITING, reason="scheduled", run_at=NOW + 1000), row(14, queue="other"))
    first = claim(engine, 5, "a" * 32)
    yield first
    one, two, three, four, five = ids(first)
    fail = Ending(kind="fail", error='{"type":"ValueError","message":"né"}')
    yield settle(
        engine,
        (one, first.token, Ending(kind="succeed", result='{"ok": [1, 2.50, null]}')),
        (two, first.token, fail),
        (three, first.token, Ending(kind="snooze", after_ms=500)),
        (four, first.token, Ending(kind="fail", fatal=True, error='{"type":"E","message":"m"}')),
        (five, "b" * 32, SUCCESS),
        (10_000, first.token, SUCCESS),
    )
    # the accepted outcomes again, one that was never accepted, and another outcome than the accepted one
    yield settle(engine, (one, first.token, SUCCESS), (two, first.token, fail), (one, first.token, fail))
    yield settle(engine, (five, first.token, Ending(kind="release")), (five, first.token, SUCCESS))
    yield engine.apply(
        Batch(
            NOW + 1,
            enqueues=[EnqueueWork([row(20)], Operation("op-1", "f1"))],
            claims=[ClaimWork(["default", "other"], 3, "c" * 32, "worker", 1000, Operation("op-2", "f2"))],
        )
    )
    yield engine.apply(
        Batch(
            NOW + 2,
            enqueues=[EnqueueWork([row(20)], Operation("op-1", "f1")), EnqueueWork([row(21)], Operation("op-1", "xx"))],
            claims=[ClaimWork(["default"], 3, "d" * 32, "worker", 1000, Operation("op-2", "f2"))],
        )
    )


def leases(engine: Engine) -> Iterator[object]:
    """Steps, heartbeats, logs, reaping, cancelling."""
    job = enqueue(engine, row(30, queue="leases"))[0].id
    token = "e" * 32
    yield claim(engine, 1, token, queues=("leases",))
    step = StepRow(job, token, "fetch", "code", "hash", '{"a": 1}', '{"tokens":3}', NOW, '{"current":0.5}', '"blob"')
    asked = [step, step, StepRow(job, "f" * 32, "fetch", "code", "hash", "1", None, None)]
    yield engine.apply(Batch(NOW + 1, steps=asked)).steps
    changed = StepRow(job, token, "fetch", "code", "other", "2", None, None)
    second = StepRow(job, token, "second", "code", "hash", "2", None, None)
    yield engine.apply(Batch(NOW + 2, steps=[step, changed, second])).steps
    beats = [
        BeatRow(job, token, 5000, '{"message":"half"}', None, [(NOW, "info", "one %s"), (NOW, "error", "zwei")]),
        BeatRow(job, "f" * 32, 5000),
        BeatRow(99_999, token, 5000),
    ]
    yield engine.apply(Batch(NOW + 3, beats=[beats[:2], beats[2:]])).beaten
    yield act(engine, CancelJobs(job, "ana", "enough"))
    yield engine.apply(Batch(NOW + 4, beats=[beats[:1]])).beaten
    yield settle(engine, (job, token, SUCCESS), now=NOW + 5)
    yield act(engine, ReopenJobs(job, "ana"))
    yield claim(engine, 1, "9" * 32, queues=("leases",))
    yield act(engine, DeleteJobs(job))
    yield act(engine, Reap(NOW + 30_000))
    yield act(engine, Reap(NOW + 30_000))
    yield settle(engine, (job, "9" * 32, SUCCESS))
    yield act(engine, CancelJobs(job))
    yield act(engine, CancelJobs(123_456))


def unique_keys(engine: Engine) -> Iterator[object]:
    """Duplicates, conflicts, rejections, dead holders and periods."""
    keyed = row(40, queue="unique", unique=unique("k\n1"))
    yield enqueue(engine, keyed, keyed, row(41, queue="unique", unique=unique("k\n1", "other")))
    yield enqueue(engine, keyed, row(42, queue="unique", unique=unique("k\n1", reject=True)))
    yield enqueue(engine, row(43, queue="unique", unique=unique("k\n2", until=NOW + 1000)))
    taken = claim(engine, 10, "1" * 32, queues=("unique",))
    yield settle(engine, *((id, taken.token, SUCCESS) for id in ids(taken)))
    yield enqueue(engine, keyed, row(43, queue="unique", unique=unique("k\n2", until=NOW + 1000)), now=NOW + 10)
    yield enqueue(engine, row(43, queue="unique", unique=unique("k\n2", until=NOW + 9000)), now=NOW + 2000)


def holds(engine: Engine) -> Iterator[object]:
    """Held before the start, held by the handler; decided, extended, expired."""
    held = [row(50 + n, queue="holds", state=State.HELD, reason="approval", flags=8, hold=hold_row()) for n in range(2)]
    late = row(53, queue="holds", state=State.HELD, reason="approval", flags=8, hold=hold_row(deadline=NOW + 100))
    yield enqueue(engine, *held, late)
    seen = hold_row().subject_hash
    yield act(engine, DecideHold(id=1, decision="approve", subject_hash="wrong", actor="bo", note=""))
    for _ in range(2):
        yield act(engine, DecideHold(id=1, decision="approve", subject_hash=seen, actor="bo", note="fine"))
    yield act(engine, DecideHold(id=1, decision="deny", subject_hash=seen, actor="bo", note=""))
    yield act(engine, DecideHold(id=2, decision="deny", subject_hash=seen, actor="", note=""))
    yield act(engine, ExtendHold(id=3, by_ms=200, actor="bo"))
    yield act(engine, Promote(), now=NOW + 150)
    yield act(engine, Promote(), now=NOW + 250)
    yield act(engine, DecideHold(id=77, decision="deny", subject_hash=seen, actor="", note=""))
    answer = claim(engine, 1, "7" * 32, queues=("holds",))
    asking = Ending(kind="hold", hold=hold_row("question"))
    yield settle(engine, *((id, answer.token, asking) for id in ids(answer)))
    decision = DecideHold(id=4, decision="answer", subject_hash=seen, actor="bo", note="", answer='{"yes": true}')
    yield act(engine, decision)
    yield act(engine, CancelJobs(ids(answer)[0]))


def schedules(engine: Engine) -> Iterator[object]:
    """Stored, fired once, raced, queued, paused, deleted."""
    put = PutSchedule(
        name="daily",
        rule=ScheduleRule(every="1h"),
        job='{"kind":"noop","input":{}}',
        paused=None,
        remove_after_last=False,
        next_fire=NOW + 10,
        actor="ana",
    )
    yield act(engine, put)
    fire = FireSchedule(
        name="daily",
        expected=NOW + 10,
        fires=[Fire(NOW, "missed", None), Fire(NOW + 10, "fired", row(60, queue="scheduled"))],
        next_fire=NOW + 20,
        queued=True,
    )
    yield act(engine, fire, operation=Operation("fire-1", "f"))
    yield act(engine, fire)
    run = Fire(NOW + 15, "run_now", row(61, queue="scheduled"))
    yield act(engine, FireSchedule(name="daily", expected=None, fires=[run], next_fire=None))
    yield act(engine, FireSchedule(name="none", expected=None, fires=[run], next_fire=None))
    yield act(engine, SetSchedulePaused("daily", True, "ana"))
    yield act(engine, msgspec.structs.replace(fire, expected=NOW + 20, was_queued=True))
    yield act(engine, SetSchedulePaused("none", True))
    yield act(engine, put)
    yield act(engine, DeleteSchedule("other"))


def upkeep(engine: Engine) -> Iterator[object]:
    """Queues, workers, expiry, deadlines, pruning."""
    yield act(engine, SetQueuePaused("paused", True, "ana"))
    yield enqueue(
        engine,
        row(70, queue="paused"),
        row(71, queue="upkeep", expires_at=NOW + 5),
        row(72, queue="upkeep", deadline_at=NOW + 6),
        row(73, queue="upkeep", deadline_at=NOW + 6, priority=9),
    )
    yield claim(engine, 5, "2" * 32, queues=("paused",))
    yield act(engine, SetQueuePaused("paused", False))
    yield act(engine, SetQueueRules("paused", QueueRules(timeout="5m"), "ana"))
    yield claim(engine, 1, "3" * 32, queues=("upkeep",))
    yield act(engine, Promote(limit=1), now=NOW + 10)
    yield act(engine, Promote(), now=NOW + 2000)
    data = '{"id":"w1","host":"h","pid":1,"queues":["default"],"kinds":[],"concurrency":2,"version":"1"}'
    yield act(engine, RegisterWorker("w1", data))
    for state in ("succeeded", "cancelled", "expired", "failed"):
        yield act(engine, Prune(queue="upkeep", state=state, before=NOW + 10_000))
        yield act(engine, Prune(queue="unique", state=state, before=NOW + 10_000, limit=1))
    yield act(engine, PruneOld(before=NOW - 1))


def told(reader: Reader) -> Iterator[object]:
    """All that can be read afterwards."""
    page = reader.jobs(ListJobs(limit=7))
    yield page
    yield reader.jobs(ListJobs(limit=100, cursor=page.cursor, state=[State.SUCCEEDED, State.READY]))
    numbers = [job.id for job in reader.jobs(ListJobs(limit=200)).jobs]
    for id in numbers:
        yield reader.history(id, NOW - 1)
        yield reader.logs(id, 0, 10)
    yield sorted(reader.states(numbers).items())
    yield reader.queues(NOW + 20)
    yield reader.queue_rules()
    yield reader.schedules()
    yield reader.schedule_facts("daily")
    yield reader.due_schedules(NOW + 100_000, 10)
    yield reader.runs("daily", 2, None)
    yield reader.holds(ListHolds(limit=2, all=True))
    yield reader.holds(ListHolds(limit=2))
    yield reader.workers(NOW - 5)
    yield reader.due()
    yield sorted(reader.finished_queues())


def everything(store: Store, next_part: Callable[[], object] = lambda: None) -> Answers:
    engine = store.engine()
    answers: Answers = []
    for part in (hot_path, leases, unique_keys, holds, schedules, upkeep):
        answers.extend((part.__name__, answer) for answer in part(engine))
        next_part()
    answers.extend(("told", answer) for answer in told(store.reader))
    engine.close()
    return answers


@pytest.fixture
def expected(sqlite_path: Path) -> Answers:
    """What the SQLite engine answers."""
    store = open_store(f"sqlite:///{sqlite_path}", "server", rng=lambda: 0.5, durable=False)
    try:
        return everything(store)
    finally:
        store.close()


def everything_postgres(url: str, database: str) -> Answers:
    """What PostgreSQL answers at ``url``, which reaches ``database``."""
    store = open_store(url, "server", rng=lambda: 0.5)
    with psycopg.connect(database, autocommit=True) as connection:

        def return_ids() -> None:
            # A call that is repeated draws ids before it is known to be one: nobody's, and never given again.
            connection.execute("SELECT setval('job_id', (SELECT max(id) FROM job))")

        try:
            return everything(store, return_ids)
        finally:
            store.close()


def compare(found: Answers, expected: Answers) -> None:
    assert len(found) == len(expected)
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert msgspec.json.encode(one) == msgspec.json.encode(other), f"answer {place}"


def test_answers_are_those_of_sqlite(postgres_url: str, expected: Answers) -> None:
    compare(everything_postgres(postgres_url, postgres_url), expected)


def test_answers_are_the_same_through_pgbouncer(postgres_url: str, pgbouncer: PgBouncer, expected: Answers) -> None:
    compare(everything_postgres(pgbouncer.url_of(postgres_url), postgres_url), expected)
