"""Statements that travel together: how often a transaction waits for the server, and what a failure there means."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest

from roost.domain.schedule import ScheduleRule
from roost.engine.batch import Batch, ClaimWork, EnqueueWork, Operation, SettleRow
from roost.engine.calls import Fire, FireSchedule, FireSchedules, PutSchedule
from roost.engine.driver import Transaction
from roost.engine.postgres.address import Address
from roost.engine.postgres.driver import PostgresDriver
from roost.engine.postgres.pipeline import Pipeline, Reply
from roost.engine.postgres.store import PostgresStore
from roost.engine.sqlengine import SqlEngine
from roost.engine.work.texts import pack
from roost.errors import Conflict, InvalidRequest, OutcomeUnknown, Unavailable
from roost.wire.jobs import ListJobs
from tests.engine.postgres_calls import NOW, SUCCESS, act, claim, enqueue, ids, row
from tests.support.pgbouncer import PgBouncer

KILL = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE pid = %s"


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    store = PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)
    yield store
    store.close()


@pytest.fixture
def driver(store: PostgresStore, postgres_url: str) -> Iterator[PostgresDriver]:
    driver = PostgresDriver(Address.parse(postgres_url))
    driver.transaction(lambda _: None)
    yield driver
    driver.close()


def stored(store: PostgresStore) -> int:
    return len(store.reader.jobs(ListJobs(limit=100)).jobs)


def send_job(transaction: Transaction) -> None:
    """One job, and nobody looks whether the server took it."""
    (id,) = transaction.allocate(1)
    shape = ("default", "noop", "ready", None, 5, 0, None, None, None)
    transaction.send("job_insert", shapes=pack([shape]), places=pack({id: 0}), now=NOW)
    transaction.send("input_insert", inputs=pack({id: "{}"}))


def pid_of(driver: PostgresDriver) -> int:
    assert driver._writer is not None
    return driver._writer.session.connection.info.backend_pid


def round_trips(engine: SqlEngine, work: Callable[[], object]) -> int:
    pipeline = engine._driver._writer.pipeline  # type: ignore[attr-defined]
    before: int = pipeline.round_trips
    work()
    return int(pipeline.round_trips) - before


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "pooled"])
def test_a_plain_batch_waits_for_the_server_as_seldom_as_it_must(
    postgres_url: str, pgbouncer: PgBouncer, pooled: bool
) -> None:
    url = pgbouncer.url_of(postgres_url) if pooled else postgres_url
    store = PostgresStore.open(url, "server", rng=lambda: 0.5)
    engine = store.engine()
    assert isinstance(engine, SqlEngine)
    # Which paths are indexed is read once in a while.
    enqueue(engine, row(0), operation=Operation("first", "f"))

    def enqueues(name: str) -> list[EnqueueWork]:
        return [EnqueueWork([row(n) for n in range(5)], Operation(f"{name} {n}", "f")) for n in range(3)]

    def claims(name: str) -> list[ClaimWork]:
        return [ClaimWork(["default"], 4, name * 32, "worker", 30_000, Operation(name, "f"))]

    # [BEGIN, ids, known operations] [jobs, inputs, operations, feed, COMMIT]
    assert round_trips(engine, lambda: engine.apply(Batch(NOW, enqueues=enqueues("put")))) == 2
    # [BEGIN, known operations] [candidates] [claim, what the worker is sent, operations, feed, COMMIT]
    assert round_trips(engine, lambda: engine.apply(Batch(NOW, claims=claims("a")))) == 3
    held = [SettleRow(id, "b" * 32, SUCCESS) for id in ids(claim(engine, 2, "b" * 32))]
    # [BEGIN, settle] [feed, COMMIT]
    assert round_trips(engine, lambda: engine.apply(Batch(NOW + 1, settles=[held]))) == 2
    held = [SettleRow(id, "c" * 32, SUCCESS) for id in ids(claim(engine, 2, "c" * 32))]
    everything = Batch(NOW + 2, enqueues=enqueues("more"), settles=[held], claims=claims("d"))
    applied = []
    assert round_trips(engine, lambda: applied.append(engine.apply(everything))) == 4
    (answer,) = applied[0].claimed
    assert (answer.count, len(ids(answer))) == (4, 4)
    # A call that is repeated is answered as before: [BEGIN, ids, known operations] [touch, COMMIT]
    again: list[object] = []
    assert (
        round_trips(engine, lambda: again.extend(engine.apply(Batch(NOW + 3, enqueues=enqueues("more"))).enqueued)) == 2
    )
    assert again == applied[0].enqueued
    engine.close()
    store.close()


def test_many_schedules_fire_as_fast_as_one(store: PostgresStore) -> None:
    engine = store.engine()
    assert isinstance(engine, SqlEngine)
    rule = ScheduleRule(every="1m")
    enqueue(engine, row(0))
    fires: list[FireSchedule] = []
    for name in (f"schedule {n}" for n in range(20)):
        put = PutSchedule(
            name=name, rule=rule, job='{"kind":"noop"}', paused=None, remove_after_last=False, next_fire=NOW
        )
        act(engine, put)
        fires.append(FireSchedule(name=name, expected=NOW, fires=[Fire(NOW, "fired", row(1))], next_fire=NOW + 60_000))
    counts: list[int] = []
    # [BEGIN, advance] [ids] [jobs, inputs, fires, last jobs, feed, COMMIT]
    assert round_trips(engine, lambda: counts.append(act(engine, FireSchedules(fires)).count)) == 3
    assert round_trips(engine, lambda: counts.append(act(engine, FireSchedules(fires)).count)) == 2
    assert counts == [20, 0]
    assert stored(store) == 21
    engine.close()


def test_what_fails_on_the_way_to_the_commit_leaves_nothing(store: PostgresStore, driver: PostgresDriver) -> None:
    pid = pid_of(driver)

    def work(transaction: Transaction) -> None:
        transaction.send("input_insert", inputs="no JSON")
        # Behind the failure: neither stored nor prepared.
        send_job(transaction)

    def sent_behind(transaction: Transaction) -> None:
        send_job(transaction)
        transaction.send("result_put", rows="no JSON")

    for failing in (work, sent_behind):
        with pytest.raises(InvalidRequest):
            driver.transaction(failing)
        assert stored(store) == 0
    driver.transaction(send_job)
    assert stored(store) == 1
    assert pid_of(driver) == pid


def test_who_meets_another_on_the_way_to_the_commit_begins_again(store: PostgresStore, driver: PostgresDriver) -> None:
    engine = store.engine()
    enqueue(engine, row(1), operation=Operation("taken", "f"))
    engine.close()
    turns: list[int] = []

    def work(transaction: Transaction, name: str) -> None:
        turns.append(1)
        send_job(transaction)
        transaction.send("operations_put", rows=pack([(name, "f", "[]")]), now=NOW)

    driver.transaction(lambda transaction: work(transaction, "taken" if len(turns) < 2 else "free"))
    assert (len(turns), stored(store)) == (3, 2)
    with pytest.raises(Unavailable):
        driver.transaction(lambda transaction: work(transaction, "taken"))
    assert stored(store) == 2


def test_a_refusal_undoes_what_is_still_on_its_way(store: PostgresStore, driver: PostgresDriver) -> None:
    pid = pid_of(driver)

    def work(transaction: Transaction) -> None:
        send_job(transaction)
        transaction.send("result_put", rows="no JSON")
        raise Conflict("no")

    with pytest.raises(Conflict):
        driver.transaction(work)
    assert stored(store) == 0
    driver.transaction(send_job)
    assert (stored(store), pid_of(driver)) == (1, pid)


def test_a_connection_lost_while_the_commit_may_be_on_its_way_leaves_the_outcome_unknown(
    store: PostgresStore, driver: PostgresDriver, postgres_url: str
) -> None:
    turns: list[int] = []

    def work(transaction: Transaction) -> None:
        turns.append(1)
        send_job(transaction)
        with psycopg.connect(postgres_url, autocommit=True) as other:
            other.execute(KILL, (pid_of(driver),))

    with pytest.raises(OutcomeUnknown):
        driver.transaction(work)
    # Done again by nobody: whoever asked does, with the operation id it has.
    assert len(turns) == 1
    driver.transaction(send_job)
    assert stored(store) == 1


@pytest.mark.parametrize(
    ("cut", "told"),
    [(psycopg.OperationalError("cut"), OutcomeUnknown), (KeyboardInterrupt(), KeyboardInterrupt)],
    ids=["lost", "interrupted"],
)
def test_a_commit_whose_answer_nobody_reads_is_not_done_again(
    store: PostgresStore,
    driver: PostgresDriver,
    monkeypatch: pytest.MonkeyPatch,
    cut: BaseException,
    told: type[BaseException],
) -> None:
    """Also where the connection looks well."""
    pid, turns = pid_of(driver), []
    exchange = Pipeline._exchange

    def read(self: Pipeline, waiting: list[Reply]) -> None:
        if turns:
            raise cut
        exchange(self, waiting)

    def work(transaction: Transaction) -> None:
        send_job(transaction)
        turns.append(1)

    with monkeypatch.context() as patch:
        patch.setattr(Pipeline, "_exchange", read)
        with pytest.raises(told):
            driver.transaction(work)
    assert len(turns) == 1
    driver.transaction(send_job)
    assert pid_of(driver) != pid


def test_large_statements_and_large_answers_pass_each_other(store: PostgresStore) -> None:
    """More goes each way than the sockets hold; nobody waits for the other to read first."""
    engine = store.engine()
    text = '{"text": "' + "x" * 200_000 + '"}'
    put = [EnqueueWork([row(n, input=text) for n in range(10)]) for _ in range(3)]
    engine.apply(Batch(NOW, enqueues=put))
    work = ClaimWork(["default"], 30, "a" * 32, "worker", 30_000)
    (answer,) = engine.apply(Batch(NOW, enqueues=put, claims=[work])).claimed
    assert len(answer.jobs) > 30 * 200_000  # type: ignore[union-attr]
    assert len(ids(answer)) == 30  # type: ignore[arg-type]
    engine.close()
