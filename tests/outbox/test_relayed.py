"""Jobs for a Roost elsewhere: written with the user's rows, brought by a relay."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine

import roost
from roost.cli.main import main
from roost.errors import ConfigurationError, InvalidDuration, InvalidRequest, Unavailable
from roost.outboxes import table
from roost.outboxes.opening import link_to
from roost.outboxes.places import open_place
from roost.outboxes.relay import Relay
from roost.wire.jobs import NewJob, Unique
from tests.e2e.stand import eventually, http_server
from tests.outbox.conftest import User, connected
from tests.outbox.jobs import Program, program

pytestmark = pytest.mark.feature("outbox")


def rows(user: User) -> list[table.Entry]:
    """What others see in the outbox, beside the transaction that is open."""
    with connected(user.database) as connection:
        return table.entries(link_to(connection), refused=False, limit=1000)


async def kinds_and_inputs(program: Program) -> list[tuple[str, bytes]]:
    page = await program.app.client.jobs.list(limit=500)
    jobs = [await program.app.client.jobs.get(summary.id) for summary in page.jobs]
    return [(job.kind, bytes(job.input)) for job in reversed(jobs)]


async def test_a_job_is_brought_with_the_commit_and_not_before(user: User, here: Program) -> None:
    relay = Relay(user.database, here.app.url)
    async with user.transaction() as hands:
        posted = await hands.outbox(lambda tx: tx.enqueue(here.greet, 7, tenant="acme"))
        assert posted.id is None
        assert posted.entry is not None
        await hands.execute("INSERT INTO account VALUES ('ana')")
        assert rows(user) == []
        await hands.commit()
    assert await asyncio.to_thread(relay.run_until_empty) == 1
    assert await kinds_and_inputs(here) == [("greet", b'{"tenant":"acme","user":7}')]
    assert rows(user) == []
    assert await asyncio.to_thread(relay.run_until_empty) == 0


async def test_a_rollback_leaves_nothing(user: User, here: Program) -> None:
    async with user.transaction() as hands:
        await hands.outbox(lambda tx: tx.enqueue(here.greet, 7))
        await hands.rollback()
    assert rows(user) == []


async def test_a_savepoint_takes_its_own_jobs_back_and_no_others(user: User, here: Program) -> None:
    async with user.transaction() as hands:
        await hands.execute("INSERT INTO account VALUES ('ana')")
        await hands.outbox(lambda tx: tx.enqueue(here.greet, 1))
        await hands.execute("SAVEPOINT mine")
        await hands.outbox(lambda tx: tx.enqueue_many(here.greet, [(2,), {"user": 3}, here.greet.arguments(4)]))
        await hands.execute("ROLLBACK TO SAVEPOINT mine")
        await hands.outbox(lambda tx: tx.enqueue(here.greet, 5))
        await hands.commit()
    await asyncio.to_thread(Relay(user.database, here.app.url).run_until_empty)
    assert await kinds_and_inputs(here) == [("greet", b'{"user":1}'), ("greet", b'{"user":5}')]


async def test_order_is_kept(user: User, here: Program) -> None:
    async with user.transaction() as hands:
        await hands.outbox(lambda tx: tx.enqueue_many(here.other, [(number,) for number in range(1200)]))
        await hands.commit()
    async with user.transaction() as hands:
        await hands.outbox(lambda tx: tx.enqueue(here.other, 1200))
        await hands.commit()
    await asyncio.to_thread(Relay(user.database, here.app.url).run_until_empty)
    found: list[int] = []
    cursor = None
    while True:
        page = await here.app.client.jobs.list(limit=500, cursor=cursor)
        found += [summary.id for summary in page.jobs]
        cursor = page.cursor
        if cursor is None:
            break
    inputs = [msgspec.json.decode((await here.app.client.jobs.get(id)).input) for id in sorted(found)[::100]]
    assert len(found) == 1201
    assert inputs == [{"number": number} for number in range(0, 1201, 100)]


async def test_what_cannot_be_is_refused_before_anything_is_written(user: User, here: Program) -> None:
    late = here.greet.options(deadline="1h", unique=roost.Unique("user", within="3d"))
    async with user.transaction() as hands:
        with pytest.raises(InvalidRequest, match=r"input\.user"):
            await hands.outbox(lambda tx: tx.enqueue(here.greet, "seven"))
        with pytest.raises(InvalidRequest, match=r"jobs\[1\]\.input\.user"):
            await hands.outbox(lambda tx: tx.enqueue_many(here.greet, [(1,), ("two",)]))
        with pytest.raises(InvalidDuration):
            await hands.outbox(lambda tx: tx.put([NewJob(kind="a"), NewJob(kind="b", delay="soon")]), url=here.app.url)
        with pytest.raises(ConfigurationError, match="which Roost"):
            await hands.outbox(lambda tx: tx.put([NewJob(kind="a")]))
        await hands.outbox(lambda tx: tx.enqueue(late, 1))
        await hands.commit()
    assert [row.kind for row in rows(user)] == ["greet"]


async def test_durations_count_from_the_enqueue_and_not_from_the_relay(user: User, here: Program) -> None:
    late = here.greet.options(delay="1h", ttl="2h", deadline="5h", unique=roost.Unique("user", within="4h"))
    async with user.transaction() as hands:
        before = time.time()
        await hands.outbox(lambda tx: tx.enqueue(late, 1))
        after = time.time()
        await hands.commit()
    await asyncio.sleep(0.3)
    await asyncio.to_thread(Relay(user.database, here.app.url).run_until_empty)
    [summary] = (await here.app.client.jobs.list()).jobs
    job = await here.app.client.jobs.get(summary.id)
    spans = {"run_at": 3600, "expires_at": 3 * 3600, "deadline_at": 5 * 3600}
    for name, seconds in spans.items():
        at = msgspec.convert(getattr(job, name), datetime)
        assert before - 0.001 <= at.timestamp() - seconds <= after + 0.001, name


async def test_a_running_relay_is_prompt(user: User, here: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is woken: it does not look because it is time.
    monkeypatch.setattr("roost.outboxes.relay.SAFETY_SECONDS", 60.0)
    relay = Relay(user.database, here.app.url)
    running = asyncio.create_task(relay.run())
    client = here.app.client
    await client.server.info()
    try:
        # The first one finds the relay started.
        for number in (1, 2):
            async with user.transaction() as hands:
                await hands.outbox(lambda tx, number=number: tx.enqueue(here.greet, number))
                await hands.commit()

            async def arrived(wanted: int = number) -> bool:
                return len((await client.jobs.list()).jobs) == wanted

            await eventually(arrived, "the job arrives")
    finally:
        relay.stop()
        await asyncio.wait_for(running, 10)


async def test_delivered_rows_can_be_kept_with_their_jobs(user: User, here: Program) -> None:
    async with user.transaction() as hands:
        posted = await hands.outbox(lambda tx: tx.enqueue_many(here.greet, [(1,), (2,)]))
        await hands.commit()
    await asyncio.to_thread(Relay(user.database, here.app.url, keep="1d").run_until_empty)
    kept = rows(user)
    assert [row.id for row in kept] == [one.entry for one in posted]
    assert [row.state for row in kept] == ["delivered", "delivered"]
    jobs = [await here.app.client.jobs.get(row.job_id or 0) for row in kept]
    assert [bytes(job.input) for job in jobs] == [b'{"user":1}', b'{"user":2}']
    forgetful = Relay(user.database, here.app.url, keep="1ms")
    await asyncio.sleep(0.01)
    await asyncio.to_thread(forgetful.run_until_empty)
    assert rows(user) == []


async def test_a_poison_row_is_set_aside_and_blocks_nobody(user: User, here: Program) -> None:
    held = here.other.options(unique=roost.Unique(scope="global"), queue="taken")
    await held.enqueue(1)
    async with user.transaction() as hands:
        await hands.outbox(lambda tx: tx.enqueue(here.greet, 1))
        # The key of the whole input is the same, the kind is not: a conflict only the server can see.
        await hands.outbox(
            lambda tx: tx.put(
                [NewJob(kind="greet", input=msgspec.Raw(b"{}"), unique=Unique(key="number=1", scope="global"))]
            ),
            url=here.app.url,
        )
        await hands.outbox(lambda tx: tx.enqueue(here.greet, 2))
        await hands.commit()
    relay = Relay(user.database, here.app.url)
    assert await asyncio.to_thread(relay.run_until_empty) == 2
    assert relay.refused == 1
    [left] = rows(user)
    assert left.state == "refused"
    assert left.error is not None
    assert left.error.code == "unique_conflict"
    place = open_place(user.database)
    with place.transaction() as link:
        assert table.status(link).refused == 1
        assert table.retry(link, [left.id]) == 1
    assert await asyncio.to_thread(relay.run_until_empty) == 0
    told = CliRunner().invoke(main, ["doctor", "--url", here.app.url, "--outbox", user.database, "-o", "json"])
    checks = {check["check"]: check for check in json.loads(told.stdout)}
    assert (checks["outbox"]["verdict"], checks["outbox"]["found"].partition(";")[0]) == ("ok", "0 rows wait")
    assert (checks["outbox refusals"]["verdict"], checks["outbox refusals"]["found"]) == (
        "warn",
        "1 rows were set aside",
    )
    with place.transaction() as link:
        assert table.discard(link, []) == 1
    place.close()
    assert rows(user) == []


async def test_a_server_far_away_is_reached_and_may_be_away(user: User, store_url: str) -> None:
    """Written while nobody serves; brought over HTTP as soon as somebody does."""
    there = program("http://127.0.0.1:1")
    async with user.transaction() as hands:
        await hands.outbox(lambda tx: tx.enqueue_many(there.greet, [(1,), (2,)]))
        await hands.commit()
    with pytest.raises(Unavailable):
        await asyncio.to_thread(Relay(user.database, there.app.url).run_until_empty)
    with http_server(store_url) as url:
        assert await asyncio.to_thread(Relay(user.database, url).run_until_empty) == 2
        client = roost.App(url)
        assert len((await client.client.jobs.list()).jobs) == 2
        await client.aclose()


def test_the_file_of_roost_itself_is_refused(tmp_path: Path) -> None:
    app = roost.App(f"sqlite:///{tmp_path}/roost.db")
    job = app.job(_nothing, name="nothing")
    job.enqueue_sync()
    app.close()
    refused = pytest.raises(ConfigurationError, match="no other SQLite library may write")
    with closing(sqlite3.connect(tmp_path / "roost.db")) as connection, roost.outbox(connection) as tx, refused:
        tx.enqueue(job)


def test_connections_that_cannot_carry_an_outbox_are_refused(tmp_path: Path, postgres_url: str) -> None:
    job = roost.App("http://127.0.0.1:1").job(_nothing, name="nothing")
    with closing(sqlite3.connect(tmp_path / "user.db", isolation_level=None)) as connection:
        with roost.outbox(connection) as tx, pytest.raises(ConfigurationError, match="in no transaction"):
            tx.enqueue(job)
        connection.execute("BEGIN")
        with roost.outbox(connection) as tx, pytest.raises(ConfigurationError, match="no outbox table"):
            tx.enqueue(job)
        with pytest.raises(ConfigurationError, match="left already"):
            tx.enqueue(job)
    with roost.outbox(object()) as nothing, pytest.raises(ConfigurationError, match="no connection an outbox knows"):
        nothing.enqueue(job)
    alone = create_engine(f"sqlite:///{tmp_path}/user.db", isolation_level="AUTOCOMMIT")
    refused = pytest.raises(ConfigurationError, match="in no transaction")
    with alone.connect() as connection, roost.outbox(connection) as tx, refused:
        tx.enqueue(job)
    alone.dispose()
    with psycopg.connect(postgres_url, autocommit=True) as plain:
        roost.outbox.create_table(plain)
        with roost.outbox(plain) as tx, pytest.raises(ConfigurationError, match="in no transaction"):
            tx.enqueue(job)
        assert table.entries(link_to(plain), refused=False, limit=10) == []
        with plain.transaction(), roost.outbox(plain) as tx:
            tx.enqueue(job)
        assert len(table.entries(link_to(plain), refused=False, limit=10)) == 1


def _nothing() -> None:
    """A job that does nothing."""


def test_a_table_that_was_taken_away_is_missed(user: User) -> None:
    with connected(user.database) as connection:
        roost.outbox.drop_table(connection)
        connection.commit()
    with (
        connected(user.database) as connection,
        pytest.raises(ConfigurationError, match="no outbox table"),
        roost.outbox(connection, url="http://127.0.0.1:1") as tx,
    ):
        tx.put([NewJob(kind="k")])
