"""Many connections at once: nothing is done twice, whoever comes first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from roost.domain.schedule import ScheduleRule
from roost.engine.batch import Batch, EnqueueWork, Operation
from roost.engine.calls import Fire, FireSchedule, PutSchedule
from roost.engine.postgres.store import PostgresStore
from roost.engine.protocol import Engine
from roost.wire.jobs import ListJobs
from tests.engine.postgres_calls import NOW, SUCCESS, act, claim, enqueue, ids, row, settle, unique

T = TypeVar("T")
THREADS = 4


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    store = PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)
    yield store
    store.close()


def race(store: PostgresStore, work: Callable[[int, Engine], T]) -> list[T]:
    """``work(number, engine)`` in threads that start together; its answers."""
    engines = [store.engine() for _ in range(THREADS)]
    barrier = threading.Barrier(THREADS, timeout=30)
    answers: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait()
            answers[number] = work(number, engines[number])
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for engine in engines:
        engine.close()
    assert not errors, errors
    return [answers[number] for number in range(THREADS)]


def test_no_job_is_claimed_twice(store: PostgresStore) -> None:
    engine = store.engine()
    wanted = [answer.id for answer in enqueue(engine, *(row(n) for n in range(400)))]

    def take(number: int, mine: Engine) -> list[int]:
        taken: list[int] = []
        for turn in range(200):
            answer = claim(mine, 7, f"{number}{turn:031d}")
            found = ids(answer)
            assert found == sorted(found)
            if not found:
                break
            assert len(settle(mine, *((id, answer.token, SUCCESS) for id in found))) == len(found)
            taken += found
        return taken

    taken = race(store, take)
    assert sorted(id for ids in taken for id in ids) == wanted
    engine.close()


def test_a_claim_passes_over_rows_another_transaction_holds(store: PostgresStore, postgres_url: str) -> None:
    import psycopg

    engine = store.engine()
    first, second = (answer.id for answer in enqueue(engine, row(1), row(2)))
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT id FROM job WHERE id = %s FOR UPDATE", (first,))
        assert ids(claim(engine, 5, "a" * 32)) == [second]
    assert ids(claim(engine, 5, "b" * 32)) == [first]
    engine.close()


def test_one_unique_key_makes_one_job(store: PostgresStore) -> None:
    def put(number: int, engine: Engine) -> list[tuple[int, bool]]:
        # in another order in each thread, as callers come
        keys = [(number * 7 + place) % 20 for place in range(20)]
        answers = enqueue(engine, *(row(key, unique=unique(f"k\n{key}")) for key in keys))
        return sorted((key, answer.id, answer.duplicate) for key, answer in zip(keys, answers, strict=True))  # type: ignore[misc]

    answers = race(store, put)
    assert len({tuple((key, id) for key, id, _ in found) for found in answers}) == 1  # type: ignore[misc]
    assert sum(not duplicate for found in answers for *_, duplicate in found) == 20
    assert len(store.reader.jobs(ListJobs(limit=100)).jobs) == 20


def test_one_operation_id_has_one_answer(store: PostgresStore) -> None:
    def put(number: int, engine: Engine) -> object:
        work = EnqueueWork([row(1), row(2)], Operation("one", "same"))
        return engine.apply(Batch(NOW, enqueues=[work])).enqueued

    answers = race(store, put)
    assert all(answer == answers[0] for answer in answers)
    assert len(store.reader.jobs(ListJobs(limit=100)).jobs) == 2


def test_one_fire_makes_one_job(store: PostgresStore) -> None:
    engine = store.engine()
    rule = ScheduleRule(every="1m")
    put = PutSchedule(name="s", rule=rule, job='{"kind":"noop"}', paused=None, remove_after_last=False, next_fire=NOW)
    act(engine, put)
    engine.close()

    def fire(number: int, mine: Engine) -> int:
        fires = [Fire(NOW, "fired", row(1))]
        return act(mine, FireSchedule(name="s", expected=NOW, fires=fires, next_fire=NOW + 60_000)).count

    assert sorted(race(store, fire)) == [0, 0, 0, 1]
    assert len(store.reader.jobs(ListJobs(limit=100)).jobs) == 1
    assert store.reader.schedule_facts("s").next_fire == NOW + 60_000


def test_ids_of_one_call_ascend_and_none_is_given_twice(store: PostgresStore) -> None:
    def put(number: int, engine: Engine) -> list[int]:
        return [answer.id for _ in range(5) for answer in enqueue(engine, *(row(n) for n in range(50)))]

    answers = race(store, put)
    assert all(found == sorted(found) for found in answers)
    assert len({id for found in answers for id in found}) == THREADS * 250
