# Generated from src/roost/sdk/_async/client.py by scripts/generate_sync.py; do not edit.
"""The client: every operation of the API as a method, repeated safely while the answer is "not now"."""

from __future__ import annotations

import importlib
import time
from types import TracebackType
from typing import TypeVar

from roost.errors import ConfigurationError, RoostError
from roost.sdk._sync.events import Events
from roost.sdk._sync.flows import Batches, Signals
from roost.sdk._sync.http import HttpTransport
from roost.sdk._sync.jobs import Jobs
from roost.sdk._sync.resources import (
    Holds,
    Kinds,
    Limits,
    Outboxes,
    Queues,
    Schedules,
    Server,
    Workers,
)
from roost.sdk._sync.searching import BulkOperations, Errors, Indexes, Views
from roost.sdk._sync.webhooks import Sources, Webhooks
from roost.sdk.connection import is_store
from roost.sdk.patience import WORTH_REPEATING, Patience, new_operation_id
from roost.sdk.transport import Transport
from roost.wire.codec import Wire
from roost.wire.contract import Operation

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)


class Client:
    """The API of one server or store; safe to share.

    Calls are repeated under ``patience`` when the server is overloaded, restarting or out of reach, always with the
    same operation id, so that nothing happens twice. Every refusal is raised as its class of `roost.errors`.
    """

    def __init__(self, transport: Transport, *, patience: Patience | None = None) -> None:
        self.transport = transport
        self.patience = patience or Patience()
        self.jobs = Jobs(self)
        self.batches = Batches(self)
        self.signals = Signals(self)
        self.queues = Queues(self)
        self.kinds = Kinds(self)
        self.limits = Limits(self)
        self.schedules = Schedules(self)
        self.holds = Holds(self)
        self.webhooks = Webhooks(self)
        self.sources = Sources(self)
        self.workers = Workers(self)
        self.errors = Errors(self)
        self.views = Views(self)
        self.indexes = Indexes(self)
        self.bulk = BulkOperations(self)
        self.outboxes = Outboxes(self)
        self.events = Events(self)
        self.server = Server(self)

    @classmethod
    def connect(cls, url: str, *, timeout: float = 30.0, patience: Patience | None = None) -> Client:
        """A client of the server at ``http://…``, or of a store opened in this process (``sqlite:``, ``postgresql:``).

        ``timeout`` is how many seconds one answer may take. Nothing is sent yet to a server. Raises
        `ConfigurationError` for another URL, and for a store what `roost.engine.opening.open_store` raises.
        """
        if url.startswith(("http://", "https://")):
            return cls(HttpTransport(url, timeout=timeout), patience=patience)
        if is_store(url):
            # By name: the SDK knows no store; whoever asks for one in this process gets it loaded here.
            embedded = importlib.import_module("roost.embedded")
            return cls(embedded.LocalTransport.open(url), patience=patience)
        raise ConfigurationError(
            f"{url[:80]!r} is neither a server nor a store",
            path="url",
            help="http://127.0.0.1:7667, sqlite:///jobs.db, sqlite://:memory: or postgresql://user@host/database",
        )

    def call(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A:
        """One call of the API; ``operation_id`` names it across repetitions (where None, a new one is made)."""
        if operation_id is None and self.transport.repeatable and operation.lane not in ("read", "settle"):
            # Settles, steps and plain heartbeats are fenced by their lease: they need no other name.
            operation_id = new_operation_id()
        try:
            return self.transport.send(operation, request, operation_id)
        except WORTH_REPEATING as error:
            return self._repeat(operation, request, operation_id, error)

    def _repeat(self, operation: Operation[Q, A], request: Q, operation_id: str | None, error: RoostError) -> A:
        began = time.monotonic()
        failures = 1
        while True:
            pause = self.patience.pause(failures, error, time.monotonic() - began)
            if pause is None:
                raise error
            time.sleep(pause)
            try:
                return self.transport.send(operation, request, operation_id)
            except WORTH_REPEATING as again:
                error, failures = again, failures + 1

    def close(self) -> None:
        """Give back connections; a store in this process stays open while others use it."""
        self.transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
