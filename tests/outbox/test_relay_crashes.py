"""A relay that dies between any two of its steps, and relays that get into each other's way: one job for each row."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from click.testing import CliRunner

import roost
from roost.cli.main import main
from roost.errors import InvalidRequest, Unavailable
from roost.outboxes import table
from roost.outboxes.links import Link, Parameters, Rows
from roost.outboxes.opening import link_to
from roost.outboxes.places import Place, open_place
from roost.outboxes.relay import Deliver, Relay
from roost.testing import VirtualClock
from roost.wire.jobs import Enqueued, NewJob
from tests.outbox.conftest import connected, elsewhere
from tests.outbox.jobs import Program

pytestmark = pytest.mark.feature("outbox")

JOBS = 7


class Death(BaseException):
    """The relay's process ends here."""


class Fuse:
    """Lets so many steps happen, and then the process dies."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Death


class MortalLink:
    """A connection to the outbox's database on which each statement may be the last."""

    def __init__(self, link: Link, fuse: Fuse) -> None:
        self._link = link
        self._fuse = fuse
        self.dialect = link.dialect

    def rows(self, sql: str, parameters: Parameters) -> Rows:
        self._fuse.burn()
        return self._link.rows(sql, parameters)

    def run(self, sql: str, parameters: Parameters) -> int:
        self._fuse.burn()
        return self._link.run(sql, parameters)


class MortalPlace:
    """An outbox's database; death before a commit takes the transaction along, death after it does not."""

    def __init__(self, place: Place, fuse: Fuse) -> None:
        self._place = place
        self._fuse = fuse

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Link]:
        with self._place.transaction() as link:
            yield MortalLink(link, self._fuse)
            self._fuse.burn()
        self._fuse.burn()

    def wait(self, seconds: float) -> None:
        self._place.wait(seconds)

    def wake(self) -> None:
        self._place.wake()

    def close(self) -> None:
        self._place.close()


class MortalDelivery:
    """A server whose answer the relay may not live to see."""

    def __init__(self, deliver: Deliver, fuse: Fuse) -> None:
        self._deliver = deliver
        self._fuse = fuse

    def deliver(self, outbox: str, number: int, contents: str, jobs: Sequence[NewJob]) -> Sequence[Enqueued]:
        self._fuse.burn()
        answers = self._deliver.deliver(outbox, number, contents, jobs)
        self._fuse.burn()
        return answers


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty Roost of either engine, not in the user's database."""
    return elsewhere(request.param, request, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a user's database with an outbox."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "user.db")) as connection:
            roost.outbox.create_table(connection)
            connection.commit()
        return f"sqlite:///{tmp_path}/user.db"
    url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(url) as plain:
        roost.outbox.create_table(plain)
    return url


def write(database: str, program: Program, numbers: Sequence[int], **options: Any) -> None:
    with connected(database) as connection:
        with roost.outbox(connection) as tx:
            tx.enqueue_many(program.other.options(**options), [(number,) for number in numbers])
        connection.commit()


def brought(program: Program) -> list[int]:
    client = program.app.sync_client
    summaries = client.jobs.list(kind=["other"], limit=500).jobs
    return [msgspec.json.decode(client.jobs.get(one.id).input)["number"] for one in reversed(summaries)]


def waiting(database: str) -> int:
    with connected(database) as connection:
        return table.status(link_to(connection)).waiting


def test_every_step_may_be_the_last(database: str, here: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.outboxes.relay.ROWS", 3)
    place = open_place(database)
    expected: list[int] = []
    steps = 0
    survived = False
    while not survived:
        numbers = [steps * 100 + place_in for place_in in range(JOBS)]
        write(database, here, numbers)
        expected += numbers
        fuse = Fuse(steps)
        mortal = Relay(
            MortalPlace(place, fuse),
            here.app.url,
            deliver=MortalDelivery(here.app.sync_client.outboxes, fuse),
            name="one",
        )
        try:
            mortal.run_until_empty()
            survived = True
        except Death:
            # Its successor has the same name, so that it need not wait for the dead one's lease.
            Relay(place, here.app.url, deliver=here.app.sync_client.outboxes, name="one").run_until_empty()
        steps += 1
        if steps % 5 == 0 or survived:
            assert brought(here)[-JOBS:] == numbers
        assert waiting(database) == 0
    place.close()
    assert steps > 20, "the relay has more steps than that: the fuse is not where it should be"
    page, found = None, 0
    while page is None or page.cursor is not None:
        page = here.app.sync_client.jobs.list(limit=500, cursor=None if page is None else page.cursor)
        found += len(page.jobs)
    assert found == len(expected)


def test_a_batch_is_known_long_after_every_operation_id_is_forgotten(database: str, here: Program) -> None:
    write(database, here, range(JOBS), ttl="1h")
    place = open_place(database)
    clock = VirtualClock()

    class Lost(MortalDelivery):
        def deliver(self, outbox: str, number: int, contents: str, jobs: Sequence[NewJob]) -> Sequence[Enqueued]:
            self._deliver.deliver(outbox, number, contents, jobs)
            raise Unavailable("the answer is lost")

    with pytest.raises(Unavailable):
        Relay(
            place, here.app.url, clock=clock, deliver=Lost(here.app.sync_client.outboxes, Fuse(0)), name="one"
        ).run_until_empty()
    # A month later the jobs would be refused, as they would expire before they start; but they are stored.
    clock.advance("30d")
    late = Relay(place, here.app.url, clock=clock, deliver=here.app.sync_client.outboxes, name="two")
    assert late.run_until_empty() == JOBS
    place.close()
    assert brought(here) == [*range(JOBS)]
    assert waiting(database) == 0


def test_a_killed_process_is_followed_by_another(database: str, store_url: str, here: Program, tmp_path: Path) -> None:
    """kill -9 in the middle of everything, again and again, with a writer at work."""
    total = 0
    for turn in range(3):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.outbox.relay_process", database, store_url, f"turn-{turn}"],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        for _ in range(4):
            write(database, here, range(total, total + 12))
            total += 12
        # Whatever it is doing at this moment.
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        with connected(database) as connection:
            # Nobody waits here for the dead one's lease to be over.
            table.release(link_to(connection), f"turn-{turn}")
            connection.commit()
    Relay(database, here.app.url).run_until_empty()
    assert all_brought(here) == [*range(total)]
    assert waiting(database) == 0


def all_brought(program: Program) -> list[int]:
    client = program.app.sync_client
    ids: list[int] = []
    cursor = None
    while True:
        page = client.jobs.list(limit=500, cursor=cursor)
        ids += [one.id for one in page.jobs]
        cursor = page.cursor
        if cursor is None:
            return [msgspec.json.decode(client.jobs.get(id).input)["number"] for id in sorted(ids)]


def test_two_relays_at_once(database: str, here: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lease that spares them the trouble, both send every batch they find."""
    monkeypatch.setattr("roost.outboxes.relay.LEASE_MS", 0)
    monkeypatch.setattr("roost.outboxes.relay.ROWS", 5)
    relays = [Relay(database, here.app.url, name=f"relay-{number}") for number in range(2)]
    errors: list[BaseException] = []

    def work(relay: Relay) -> None:
        try:
            relay.run_sync()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(relay,)) for relay in relays]
    for thread in threads:
        thread.start()
    for turn in range(20):
        write(database, here, range(turn * 10, turn * 10 + 10))
    _until(lambda: waiting(database) == 0)
    for relay in relays:
        relay.stop()
    for thread in threads:
        thread.join()
    assert errors == []
    assert all_brought(here) == [*range(200)]


def test_a_relay_stands_by_while_another_works(database: str, here: Program) -> None:
    write(database, here, range(3))
    place = open_place(database)
    client = here.app.sync_client.outboxes
    first = Relay(place, here.app.url, deliver=client, name="first")
    second = Relay(place, here.app.url, deliver=client, name="second")
    assert first.step(place, client) == 3
    write(database, here, range(3, 5))
    assert second.step(place, client) == 0
    with place.transaction() as link:
        table.release(link, "first")
    assert second.step(place, client) == 2
    place.close()
    assert brought(here) == [0, 1, 2, 3, 4]


def test_a_late_relay_cannot_bring_an_old_batch_again(database: str, here: Program) -> None:
    write(database, here, range(3))
    place = open_place(database)
    client = here.app.sync_client.outboxes
    asleep: list[Callable[[], Any]] = []

    class Sleeper(MortalDelivery):
        def deliver(self, outbox: str, number: int, contents: str, jobs: Sequence[NewJob]) -> Sequence[Enqueued]:
            asleep.append(lambda: client.deliver(outbox, number, contents, jobs))
            raise Unavailable("fell asleep before it sent anything")

    with pytest.raises(Unavailable):
        Relay(place, here.app.url, deliver=Sleeper(client, Fuse(0)), name="one").run_until_empty()
    other = Relay(place, here.app.url, deliver=client, name="one")
    other.run_until_empty()
    write(database, here, range(3, 5))
    other.run_until_empty()
    with pytest.raises(roost.errors.Conflict):
        asleep[0]()
    place.close()
    assert brought(here) == [0, 1, 2, 3, 4]


def test_a_database_brought_back_from_a_backup_goes_on_under_a_new_name(database: str, here: Program) -> None:
    write(database, here, [1])
    Relay(database, here.app.url).run_until_empty()
    with connected(database) as connection:
        link = link_to(connection)
        before = table.status(link)
        # The state of before the batch that the server has.
        link.run("UPDATE roost_outbox_relay SET number = 0 WHERE one = 1", {})
        connection.commit()
    write(database, here, [2])
    place = open_place(database)
    relay = Relay(place, here.app.url, deliver=here.app.sync_client.outboxes)
    relay.run_until_empty()
    with place.transaction() as link:
        assert table.status(link).outbox != before.outbox
    place.close()
    assert brought(here) == [1, 2]


def test_a_batch_the_server_refuses_whole_is_taken_apart(database: str, here: Program) -> None:
    """One row is at fault: its neighbours are brought, and the refused number can never be stored later."""
    write(database, here, range(4))
    client = here.app.sync_client.outboxes
    seen: list[tuple[int, int]] = []

    class Strict(MortalDelivery):
        def deliver(self, outbox: str, number: int, contents: str, jobs: Sequence[NewJob]) -> Sequence[Enqueued]:
            seen.append((number, len(jobs)))
            if any(bytes(job.input) == b'{"number":2}' for job in jobs):
                raise InvalidRequest("not this one", path="jobs[2].input")
            return client.deliver(outbox, number, contents, jobs)

    relay = Relay(database, here.app.url, deliver=Strict(client, Fuse(0)))
    assert relay.run_until_empty() == 3
    assert relay.refused == 1
    assert brought(here) == [0, 1, 3]
    with connected(database) as connection:
        [left] = table.entries(link_to(connection), refused=True, limit=10)
    assert left.error is not None
    assert left.error.message == "not this one"
    assert seen == [(1, 4), (1, 0), (2, 1), (3, 1), (4, 1), (4, 0), (5, 1)]


def test_a_row_that_cannot_be_read_blocks_nobody(database: str, here: Program) -> None:
    """As a newer program writes it for an older relay, or a hand does."""
    write(database, here, [0])
    with connected(database) as connection:
        for text in ('{"kind": "later", "input": {}, "of_a_later_version": 1}', "no JSON"):
            table.put(link_to(connection), [(f"row {len(text)}", text)], 1)
        connection.commit()
    write(database, here, [1])
    late = CliRunner().invoke(main, ["doctor", "--url", here.app.url, "--outbox", database])
    assert (late.exit_code, "no relay was ever at work" in late.stdout) == (1, True)
    relay = Relay(database, here.app.url)
    assert (relay.run_until_empty(), relay.refused) == (2, 2)
    assert brought(here) == [0, 1]
    with connected(database) as connection:
        left = table.entries(link_to(connection), refused=True, limit=10)
    assert [(row.kind, row.error is not None) for row in left] == [("later", True), ("", True)]


def _until(look: Callable[[], bool]) -> None:
    async def wait() -> None:
        async with asyncio.timeout(30):
            while not look():
                await asyncio.sleep(0.02)

    asyncio.run(wait())
