"""Jobs stored beside the user's rows, in Roost's own database."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime
from typing import Any

import msgspec
import psycopg
import pytest

import roost
from roost.engine.postgres.connection import WRITING
from roost.errors import ConfigurationError, InvalidRequest, RoostError, UniqueConflict
from roost.wire.contract import READY
from roost.wire.jobs import Empty, Job, NewJob
from tests.e2e.stand import ended, working
from tests.outbox.conftest import User
from tests.outbox.jobs import Program

pytestmark = pytest.mark.feature("outbox")


async def count(program: Program) -> int:
    return len((await program.app.client.jobs.list(limit=500)).jobs)


async def test_a_job_is_there_with_the_commit_and_run_at_once(neighbour: User, beside: Program) -> None:
    # A claim of this lease waits for 20 seconds.
    async with working(beside.app, "mail", lease="60s"):
        async with neighbour.transaction() as hands:
            # Once to have everything open and known.
            await hands.outbox(lambda tx: tx.enqueue(beside.greet, 1))
            await hands.commit()
        async with neighbour.transaction() as hands:
            await hands.execute("INSERT INTO account VALUES ('ana')")
            posted = await hands.outbox(lambda tx: tx.enqueue(beside.greet, 7, tenant="acme"))
            assert posted.entry is None
            await asyncio.sleep(0.1)
            assert await count(beside) == 1
            await hands.commit()
            began = time.monotonic()
            assert await posted.handle.result(10) == "hello 7 of acme"
            took = time.monotonic() - began
        job = await ended(beside.app, posted.id)
    assert took < 8, "nobody woke the worker"
    assert job.state == "succeeded"


async def test_a_rollback_leaves_nothing(neighbour: User, beside: Program) -> None:
    once = beside.greet.options(unique=roost.Unique("user"), tags={"a": "b"}, hold=True, delay="1h")
    async with neighbour.transaction() as hands:
        await hands.outbox(lambda tx: tx.enqueue(once, 7))
        await hands.rollback()
    assert await count(beside) == 0
    # Its key is free again.
    assert not (await once.enqueue(7)).duplicate


async def test_a_savepoint_takes_its_own_jobs_back_and_no_others(neighbour: User, beside: Program) -> None:
    async with neighbour.transaction() as hands:
        first = await hands.outbox(lambda tx: tx.enqueue(beside.greet, 1))
        await hands.execute("SAVEPOINT mine")
        await hands.outbox(lambda tx: tx.enqueue_many(beside.greet, [(2,), {"user": 3}]))
        await hands.execute("ROLLBACK TO SAVEPOINT mine")
        last = await hands.outbox(lambda tx: tx.enqueue(beside.greet, 5))
        await hands.commit()
    page = await beside.app.client.jobs.list()
    assert [job.id for job in page.jobs] == [last.id, first.id]


async def test_unique_keys_hold_inside_and_across_transactions(neighbour: User, beside: Program) -> None:
    once = beside.greet.options(unique=roost.Unique("user"))
    before = await once.enqueue(1)
    async with neighbour.transaction() as hands:
        found = await hands.outbox(lambda tx: tx.enqueue(once, 1))
        assert (found.id, found.duplicate) == (before.id, True)
        new = await hands.outbox(lambda tx: tx.enqueue(once, 2))
        again = await hands.outbox(lambda tx: tx.enqueue(once, 2))
        assert (again.id, again.duplicate) == (new.id, True)
        with pytest.raises(UniqueConflict):
            await hands.outbox(lambda tx: tx.enqueue_many(once, [(3,), {"user": 1, "tenant": "other"}]))
        # Refused, it left neither a job nor a broken transaction.
        await hands.execute("INSERT INTO account VALUES ('ana')")
        await hands.commit()
    assert await count(beside) == 2


async def test_what_admission_refuses_is_refused_at_once(neighbour: User, beside: Program) -> None:
    await beside.app.client.queues.edit("mail", roost.QueueRules(timeout="3m"))
    async with neighbour.transaction() as hands:
        with pytest.raises(InvalidRequest, match=r"input\.user"):
            await hands.outbox(lambda tx: tx.enqueue(beside.greet, "seven"))
        with pytest.raises(RoostError, match=r"jobs\[1\]\.tags"):
            await hands.outbox(
                lambda tx: tx.put([NewJob(kind="a"), NewJob(kind="b", tags={"not a name": "x"})]), url=beside.app.url
            )
        kept = await hands.outbox(lambda tx: tx.enqueue(beside.greet, 1))
        await hands.commit()
    # The queue's own rules apply as to any other job.
    assert (await beside.app.client.jobs.get(kept.id)).timeout == "3m"
    assert await count(beside) == 1


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "delay": {"delay": "2h"},
    "expiry": {"delay": "1h", "ttl": "2h", "deadline": "5h"},
    "rules": {"priority": "high", "timeout": "90s", "retry": roost.RetryRule(retries=3, base="7s"), "queue": "other"},
    "words": {"tags": {"team": "blue"}, "owner": "ana"},
    "unique": {"unique": roost.Unique("user", scope="queue")},
    "hold": {"hold": roost.HoldRule(title="really?", expires="2h", on_expiry="approve")},
}
OWN = {"id", "created_at"}
MOMENTS = ("run_at", "expires_at", "deadline_at")


def told(job: Job) -> dict[str, Any]:
    """All that is told of a job but which one it is, and the spans to its moments in whole seconds."""
    fields: dict[str, Any] = msgspec.to_builtins(job, builtin_types=(msgspec.Raw,))
    made = msgspec.convert(fields["created_at"], datetime)
    for name in MOMENTS:
        if fields.get(name) is not None:
            at = msgspec.convert(fields[name], datetime)
            fields[name] = round((at - made).total_seconds())
    return {
        name: bytes(value) if isinstance(value, msgspec.Raw) else value
        for name, value in fields.items()
        if name not in OWN
    }


async def history(program: Program, id: int) -> list[tuple[str, bytes]]:
    """What happened to a job; a hold's number is its own."""
    events = await program.app.client.jobs.events(id)
    return [(event.type, re.sub(rb'"hold":\d+', b"", bytes(event.data or b""))) for event in events]


@pytest.mark.parametrize("name", OPTIONS)
async def test_a_job_is_what_an_ordinary_enqueue_makes_of_it(name: str, postgres_store: str, beside: Program) -> None:
    job = beside.greet.options(**OPTIONS[name])
    plain = await job.enqueue(1, tenant="acme")
    expected = told(await beside.app.client.jobs.get(plain.id))
    before = await history(beside, plain.id)
    await beside.app.client.jobs.cancel(plain.id)
    await beside.app.client.jobs.delete(plain.id)

    with psycopg.connect(postgres_store) as connection, roost.outbox(connection) as tx:
        direct = tx.enqueue(job, 1, tenant="acme")
    assert direct.id is not None
    assert told(await beside.app.client.jobs.get(direct.id)) == expected
    assert await history(beside, direct.id) == before
    await beside.app.client.jobs.cancel(direct.id)
    await beside.app.client.jobs.delete(direct.id)

    with psycopg.connect(postgres_store) as connection:
        roost.outbox.create_table(connection)
        with roost.outbox(connection, url="http://127.0.0.1:1") as tx:
            # Nobody can say that the server there keeps its jobs here: they wait for a relay.
            assert tx.enqueue(job, 1, tenant="acme").id is None
    assert await asyncio.to_thread(roost.outbox.Relay(postgres_store, postgres_store).run_until_empty) == 1
    [relayed] = (await beside.app.client.jobs.list()).jobs
    assert told(await beside.app.client.jobs.get(relayed.id)) == expected


async def test_the_users_names_and_settings_stay_the_users(postgres_store: str, beside: Program) -> None:
    """A table of the user's with a name of Roost's, first in the search path, is neither read nor written."""
    with psycopg.connect(postgres_store, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("CREATE SCHEMA mine")
        connection.execute("CREATE TABLE mine.job (id int, title text)")
        connection.execute("SET search_path TO mine, public")
        connection.commit()
        with roost.outbox(connection) as tx:
            posted = tx.enqueue(beside.greet, 1)
        assert connection.execute("SHOW search_path").fetchone() == {"search_path": "mine, public"}
        assert connection.execute("SELECT count(*) AS n FROM job").fetchone() == {"n": 0}
        connection.commit()
    assert (await beside.app.client.jobs.get(posted.id or 0)).kind == "greet"


async def test_a_user_without_rights_is_told_so(postgres_store: str, beside: Program) -> None:
    with psycopg.connect(postgres_store, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS outsider")
        connection.execute("CREATE ROLE outsider LOGIN")
    try:
        with psycopg.connect(postgres_store, user="outsider") as connection, roost.outbox(connection) as tx:
            with pytest.raises(ConfigurationError, match="may not write the tables of Roost"):
                tx.enqueue(beside.greet, 1)
            # The transaction goes on.
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        with psycopg.connect(postgres_store, autocommit=True) as connection:
            connection.execute("DROP OWNED BY outsider; DROP ROLE outsider")


async def test_two_transactions_with_one_key_make_one_job(postgres_store: str, beside: Program) -> None:
    once = beside.greet.options(unique=roost.Unique("user"))

    def enqueue() -> tuple[int | None, bool]:
        with psycopg.connect(postgres_store) as connection, roost.outbox(connection) as tx:
            posted = tx.enqueue(once, 1)
            time.sleep(0.05)
            connection.commit()
            return posted.id, posted.duplicate

    answers = await asyncio.gather(*(asyncio.to_thread(enqueue) for _ in range(6)))
    assert len({id for id, _ in answers}) == 1
    assert sorted(duplicate for _, duplicate in answers) == [False, *[True] * 5]
    assert await count(beside) == 1


async def test_an_open_transaction_stops_nobody_but_those_who_want_its_key(
    postgres_store: str, beside: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WRITING, "lock_timeout", "50ms")
    keyed = beside.greet.options(unique=roost.Unique("user"))
    once = keyed.options(queue="nobodys")
    limited = beside.other.options(limits=[roost.Concurrency("account:{number}", 1)], queue="mail")
    async with working(beside.app, "mail"), await psycopg.AsyncConnection.connect(postgres_store) as connection:
        async with roost.outbox(connection) as tx:
            await tx.enqueue(once, 1)
            await tx.enqueue(limited, 7)
        # More of them than the node has connections to write on.
        waiting = [asyncio.create_task(once.enqueue(1)) for _ in range(8)]
        async with asyncio.timeout(20):
            assert await (await beside.greet.enqueue(2)).result() == "hello 2 of none"
            assert await (await limited.enqueue(8)).result() == 8
            assert await (await keyed.enqueue(3)).result() == "hello 3 of none"
        assert not any(task.done() for task in waiting)
        await beside.app.client.call(READY, Empty())
        await connection.commit()
        async with asyncio.timeout(20):
            handles = await asyncio.gather(*waiting)
        assert len({handle.id for handle in handles}) == 1
        assert all(handle.duplicate for handle in handles)


async def test_a_cancelled_task_leaves_the_connection_usable(postgres_store: str, beside: Program) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_store) as connection, roost.outbox(connection) as tx:
        for pause in (0.0, 0.002, 0.01):
            task = asyncio.ensure_future(tx.enqueue_many(beside.other, [(n,) for n in range(200)]))
            await asyncio.sleep(pause)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await connection.rollback()
        await tx.enqueue(beside.greet, 1)
        await connection.commit()
    assert await count(beside) == 1
