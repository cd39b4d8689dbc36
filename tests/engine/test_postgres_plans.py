"""Plans made for an empty table stay good when it has grown: statistics follow later than a burst of jobs."""

from __future__ import annotations

import psycopg

from roost.domain.settle import Ending
from roost.engine.postgres.store import PostgresStore
from roost.engine.protocol import Engine
from tests.engine.postgres_calls import SUCCESS, claim, enqueue, ids, row, settle

GROWN = 10_000
JOBS = 200


def fetched(engine: Engine) -> tuple[int, int]:
    """Rows of `job` that were read by whole scans and through indexes, asked on the engine's own connection."""
    run = engine._driver.transaction  # type: ignore[attr-defined]
    run(lambda transaction: transaction.query("SELECT pg_stat_force_next_flush()", {}))
    read = "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'job'"
    ((scanned, found),) = run(lambda transaction: transaction.query(read, {}))
    return scanned, found


def test_work_costs_no_more_rows_than_it_has(postgres_url: str) -> None:
    store = PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)
    engine = store.engine()
    for turn in range(12):
        # often enough for the server to settle on one plan for each statement
        enqueue(engine, row(turn))
        answer = claim(engine, 1, f"{turn:032d}")
        settle(engine, (ids(answer)[0], answer.token, SUCCESS))
    for _ in range(GROWN // 1000):
        enqueue(engine, *(row(n, queue="default") for n in range(1000)))
    # a thousand leases that others hold: what is running must not be read to find what is claimed
    claim(engine, 1000, "f" * 32)
    before = fetched(engine)
    for turn in range(12):
        answer = claim(engine, JOBS // 10, f"a{turn:031d}")
        assert len(settle(engine, *((id, answer.token, SUCCESS) for id in ids(answer)))) == JOBS // 10
    scanned, found = (after - was for after, was in zip(fetched(engine), before, strict=True))
    engine.close()
    store.close()
    assert scanned == 0
    # candidate, claim, fetch, settle, and the versions of a row that are dead by then
    assert found <= 12 * (JOBS // 10) * 12


def test_statistics_of_a_table_that_was_empty_do_no_harm(postgres_url: str) -> None:
    store = PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)
    engine = store.engine()
    enqueue(engine, *(row(n) for n in range(50)))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        # Pages without rows, as pruning leaves them.
        connection.execute("DELETE FROM job; DELETE FROM job_input; ANALYZE job; ANALYZE job_input")
    for _ in range(GROWN // 1000):
        enqueue(engine, *(row(n) for n in range(1000)))
    answer = claim(engine, JOBS, "f" * 32)
    before = fetched(engine)
    failure = Ending(kind="fail", error='{"type":"ValueError","message":"no"}')
    assert len(settle(engine, *((id, answer.token, failure) for id in ids(answer)))) == JOBS
    scanned, found = (after - was for after, was in zip(fetched(engine), before, strict=True))
    engine.close()
    store.close()
    assert scanned == 0
    assert found <= JOBS * 12
