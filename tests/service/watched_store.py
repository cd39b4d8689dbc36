"""A real store whose transactions a test can count, hold up and make fail."""

from __future__ import annotations

import threading

from roost.engine.batch import Applied, Batch
from roost.engine.calls import Acted, Call
from roost.engine.protocol import Engine
from roost.engine.store import Store


class WatchedStore:
    """Delegates to ``store``; `batches` and `calls` are what its engines were given."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.info = store.info
        self.reader = store.reader
        self.signals = store.signals
        self.concurrency = store.concurrency
        self.spec = store.spec
        self.batches: list[Batch] = []
        self.calls: list[Call] = []
        self.failures: list[Exception | None] = []
        """Raised one after the other by the next transactions, before they begin; None lets one go on."""
        self._open = threading.Event()
        self._open.set()
        self._entered = threading.Event()

    def engine(self) -> Engine:
        return _WatchedEngine(self, self._store.engine())

    def now_offset(self) -> int:
        return self._store.now_offset()

    def publish_url(self, url: str) -> None:
        self._store.publish_url(url)

    def close(self) -> None:
        self._store.close()

    def hold_up(self) -> None:
        """Let the next transaction begin and wait for `let_go`; only for a host with threads."""
        self._entered.clear()
        self._open.clear()

    def let_go(self) -> None:
        """Let transactions go on."""
        self._open.set()

    def wait_until_one_is_in_flight(self) -> None:
        """Block until a transaction waits in the engine."""
        assert self._entered.wait(10), "no transaction was begun"

    def enter(self) -> None:
        """A transaction begins."""
        self._entered.set()
        assert self._open.wait(30), "the test never let the transaction go on"
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure


class _WatchedEngine:
    def __init__(self, store: WatchedStore, engine: Engine) -> None:
        self._store = store
        self._engine = engine

    def apply(self, batch: Batch) -> Applied:
        self._store.batches.append(batch)
        self._store.enter()
        return self._engine.apply(batch)

    def act(self, call: Call) -> Acted:
        self._store.calls.append(call)
        self._store.enter()
        return self._engine.act(call)

    def close(self) -> None:
        self._engine.close()
