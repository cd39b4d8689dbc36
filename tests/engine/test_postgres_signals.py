"""Hints reach the other nodes, and nothing depends on them."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psycopg

from roost.engine.batch import Effects
from roost.engine.postgres.listen import PAYLOAD_LIMIT, Hint, PostgresSignals, encode
from roost.engine.postgres.store import PostgresStore
from tests.support.pgbouncer import PgBouncer

WAIT = 30.0
Heard = queue.Queue[Effects | None]


@contextmanager
def node(url: str) -> Iterator[tuple[PostgresStore, Heard]]:
    """An open store that listens; what it first hears (look at all) is taken out."""
    store = PostgresStore.open(url, "server", rng=lambda: 0.5)
    heard: Heard = queue.Queue()
    try:
        store.signals.start(heard.put)
        assert heard.get(timeout=WAIT) is None
        yield store, heard
    finally:
        store.close()


def test_the_other_node_hears_and_the_own_does_not(postgres_url: str) -> None:
    told = Effects(ready={"default": 3}, ended=[7], due_at=5, schedules=True)
    with node(postgres_url) as (first, own), node(postgres_url) as (second, others):
        first.signals.announce(Effects())
        first.signals.announce(told)
        assert others.get(timeout=WAIT) == told
        second.signals.announce(Effects(ended=[8]))
        # what comes first to the first node is the second's: its own was not told to it
        assert own.get(timeout=WAIT) == Effects(ended=[8])


def test_hints_of_a_moment_are_told_as_one(postgres_url: str) -> None:
    with node(postgres_url) as (first, _), node(postgres_url) as (_, others):
        for number in range(1, 401):
            first.signals.announce(Effects(ready={"q": 1}, due_at=1000 - number))
        total, messages, due = 0, 0, 1000
        while total < 400:
            effects = others.get(timeout=WAIT)
            assert effects is not None
            total += effects.ready["q"]
            messages += 1
            due = min(due, effects.due_at or due)
        assert (total, due) == (400, 600)
        assert messages < 100


def test_too_much_to_tell_is_look_at_all(postgres_url: str) -> None:
    wide = Effects(ready={f"{number:0200d}": 1 for number in range(60)})
    assert encode(Hint("n", wide)) == '["n",null]'
    assert len(msgspec.json.encode(Hint("n", wide))) > PAYLOAD_LIMIT
    with node(postgres_url) as (first, _), node(postgres_url) as (_, others):
        first.signals.announce(wide)
        assert others.get(timeout=WAIT) is None
        first.signals.announce(Effects(ended=list(range(501))))
        assert others.get(timeout=WAIT) is None


def test_a_lost_connection_is_made_again_and_everything_looked_at(postgres_url: str) -> None:
    with node(postgres_url) as (first, _), node(postgres_url) as (_, others):
        first.signals.announce(Effects(ended=[1]))
        assert others.get(timeout=WAIT) == Effects(ended=[1])
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert others.get(timeout=WAIT) is None
        # the announcer's connection is gone too: a hint may be lost with it, the next one is not
        first.signals.announce(Effects(ended=[2]))
        first.signals.announce(Effects(ended=[3]))
        first.signals.stop()
        with node(postgres_url) as (third, _):
            third.signals.announce(Effects(ended=[4]))
            heard = others.get(timeout=WAIT)
            while heard != Effects(ended=[4]):
                heard = others.get(timeout=WAIT)


def test_behind_pgbouncer_a_node_tells_but_does_not_listen(postgres_url: str, pgbouncer: PgBouncer) -> None:
    pooled = PostgresStore.open(pgbouncer.url_of(postgres_url), "server", rng=lambda: 0.5)
    heard: Heard = queue.Queue()
    with node(postgres_url) as (direct, others):
        pooled.signals.start(heard.put)
        pooled.signals.announce(Effects(ended=[1]))
        assert others.get(timeout=WAIT) == Effects(ended=[1])
        direct.signals.announce(Effects(ended=[2]))
        direct.signals.stop()
        pooled.close()
    assert isinstance(pooled.signals, PostgresSignals)
    assert heard.empty()
