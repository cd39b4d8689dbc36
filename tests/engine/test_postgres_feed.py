"""The feed of concurrent transactions: numbers are drawn and committed in different orders, and nobody skips one."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from roost.domain.feed import Happening, Position
from roost.engine.driver import Transaction
from roost.engine.postgres.address import Address
from roost.engine.postgres.driver import PostgresDriver
from roost.engine.postgres.store import PostgresStore
from roost.engine.work import feed
from tests.engine.postgres_calls import NOW, SUCCESS, claim, enqueue, ids, row, settle
from tests.support.feed import Replay

pytestmark = pytest.mark.feature("events")


@pytest.fixture
def store(postgres_url: str) -> Iterator[PostgresStore]:
    store = PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)
    yield store
    store.close()


class Slow:
    """A transaction that has drawn its number and stays open until it is told how to end."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._driver = PostgresDriver(Address.parse(url))
        self._name = name
        self._drawn = threading.Event()
        self._go = threading.Event()
        self._fails = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._drawn.wait(20)

    def _run(self) -> None:
        def work(transaction: Transaction) -> None:
            transaction.facts.clear()
            feed.tell(transaction, "worker_registered", [], {"worker": self._name})
            feed.write(transaction, NOW)
            # Whatever is asked next is answered behind it.
            ((self._pid,),) = transaction.query("SELECT pg_backend_pid()", {})
            self._drawn.set()
            assert self._go.wait(60)
            if self._fails:
                raise _Failed

        try:
            self._driver.transaction(work)
        except _Failed:
            pass
        finally:
            self._driver.close()

    def end(self, *, fails: bool = False) -> None:
        self._fails = fails
        self._go.set()
        self._thread.join(20)
        if fails:
            # Its connection is given up, and the server learns of that when it looks.
            with psycopg.connect(self._url, autocommit=True) as other:
                deadline = time.monotonic() + 20
                while other.execute("SELECT FROM pg_stat_activity WHERE pid = %s", (self._pid,)).fetchone() is not None:
                    assert time.monotonic() < deadline
                    time.sleep(0.001)


class _Failed(Exception):
    pass


def names(events: list[Happening]) -> list[str]:
    return [event.data["worker"] for event in events]


def test_commits_out_of_order_are_read_in_order(store: PostgresStore, postgres_url: str) -> None:
    start = store.reader.feed_newest()
    first, second, third = (Slow(postgres_url, name) for name in ("first", "second", "third"))
    third.end()
    waiting = store.reader.feed(start, 10)
    assert (waiting.events, waiting.gap, waiting.more) == ([], True, False)
    assert store.reader.feed_newest() == start, "who starts now must not miss what is still to be committed"
    first.end()
    page = store.reader.feed(start, 10)
    assert names(page.events) == ["first"]
    assert page.gap
    second.end()
    rest = store.reader.feed(page.position, 10)
    assert names(rest.events) == ["second", "third"]
    assert not rest.gap
    assert store.reader.feed_newest() == rest.position


def test_a_number_that_was_rolled_back_holds_nobody_up(store: PostgresStore, postgres_url: str) -> None:
    start = store.reader.feed_newest()
    first, second = (Slow(postgres_url, name) for name in ("first", "second"))
    second.end()
    assert store.reader.feed(start, 10).events == []
    first.end(fails=True)
    assert names(store.reader.feed(start, 10).events) == ["second"]
    # A reader of another node, which knows nothing of this gap's past, and one that begins in the middle of it.
    other = PostgresStore.open(postgres_url, "server", rng=lambda: 0.5)
    try:
        assert names(other.reader.feed(Position(start.seq + 1), 10).events) == ["second"]
        assert other.reader.feed_newest() == Position(start.seq + 2)
    finally:
        other.close()


def test_a_gap_ends_although_others_keep_writing(store: PostgresStore, postgres_url: str) -> None:
    """Somebody always holds a number; those who came after the gap do not count."""
    start = store.reader.feed_newest()
    failing, second = Slow(postgres_url, "failing"), Slow(postgres_url, "second")
    second.end()
    others = [Slow(postgres_url, "later")]
    assert store.reader.feed(start, 10).events == []
    failing.end(fails=True)
    for turn in range(3):
        others.append(Slow(postgres_url, f"later {turn}"))
        others.pop(0).end()
        found = store.reader.feed(start, 10)
        if found.events:
            break
    assert names(found.events)[0] == "second"
    for other in others:
        other.end()


def test_strangers_hold_nobody_up(store: PostgresStore, postgres_url: str) -> None:
    """A long transaction of another program, which writes too, is none of the feed's business."""
    with psycopg.connect(Address.parse(postgres_url).url) as stranger:
        stranger.execute("CREATE TABLE stranger (id int)")
        stranger.execute("SELECT pg_current_xact_id()")
        start = store.reader.feed_newest()
        first, second = Slow(postgres_url, "first"), Slow(postgres_url, "second")
        second.end()
        first.end(fails=True)
        assert names(store.reader.feed(start, 10).events) == ["second"]


def test_everything_is_told_once_while_many_write_and_fail(store: PostgresStore, postgres_url: str) -> None:
    """Four writers, some of whose transactions fail, and two readers that follow them all the time."""
    writers, turns = 4, 60
    failed = threading.Event()

    def write(number: int) -> None:
        engine, chance = store.engine(), random.Random(number)
        driver = PostgresDriver(Address.parse(postgres_url))
        try:
            for turn in range(turns):
                enqueue(engine, *(row(n) for n in range(chance.randint(1, 4))))
                answer = claim(engine, chance.randint(1, 5), f"{number}{turn:031d}")
                if found := ids(answer):
                    settle(engine, *((id, answer.token, SUCCESS) for id in found))
                if chance.random() < 0.3:

                    def fail(transaction: Transaction) -> None:
                        transaction.facts.clear()
                        feed.tell(transaction, "worker_registered", [], {"worker": "nobody"})
                        feed.write(transaction, NOW)
                        transaction.one("feed_newest")
                        raise _Failed

                    with pytest.raises(_Failed):
                        driver.transaction(fail)
        except BaseException:
            failed.set()
            raise
        finally:
            engine.close()
            driver.close()

    done = threading.Event()
    replays = [Replay(), Replay()]

    def follow(replay: Replay, limit: int) -> None:
        while True:
            last = done.is_set()
            found = store.reader.feed(replay.position, limit)
            for event in found.events:
                replay.add(event)
            replay.position = found.position
            if last and not found.more and not found.gap:
                return

    readers = [threading.Thread(target=follow, args=pair) for pair in zip(replays, (3, 500), strict=True)]
    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in (*readers, *threads):
        thread.start()
    for thread in threads:
        thread.join(60)
    done.set()
    for thread in readers:
        thread.join(60)
        assert not thread.is_alive()
    assert not failed.is_set()
    for replay in replays:
        replay.check(store.reader)
    assert replays[0].paths == replays[1].paths
    assert replays[0].events == replays[1].events > writers * turns
