"""The client: every operation of the API as a method, repeated safely while the answer is "not now"."""

from __future__ import annotations

import asyncio
import importlib
import time
from types import TracebackType
from typing import TypeVar

from roost.errors import ConfigurationError, RoostError
from roost.sdk._async.events import AsyncEvents
from roost.sdk._async.flows import AsyncBatches, AsyncSignals
from roost.sdk._async.http import AsyncHttpTransport
from roost.sdk._async.jobs import AsyncJobs
from roost.sdk._async.resources import (
    AsyncHolds,
    AsyncKinds,
    AsyncLimits,
    AsyncOutboxes,
    AsyncQueues,
    AsyncSchedules,
    AsyncServer,
    AsyncWorkers,
)
from roost.sdk._async.searching import AsyncBulkOperations, AsyncErrors, AsyncIndexes, AsyncViews
from roost.sdk._async.webhooks import AsyncSources, AsyncWebhooks
from roost.sdk.connection import is_store
from roost.sdk.patience import WORTH_REPEATING, Patience, new_operation_id
from roost.sdk.transport import AsyncTransport
from roost.wire.codec import Wire
from roost.wire.contract import Operation

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)


class AsyncClient:
    """The API of one server or store; safe to share.

    Calls are repeated under ``patience`` when the server is overloaded, restarting or out of reach, always with the
    same operation id, so that nothing happens twice. Every refusal is raised as its class of `roost.errors`.
    """

    def __init__(self, transport: AsyncTransport, *, patience: Patience | None = None) -> None:
        self.transport = transport
        self.patience = patience or Patience()
        self.jobs = AsyncJobs(self)
        self.batches = AsyncBatches(self)
        self.signals = AsyncSignals(self)
        self.queues = AsyncQueues(self)
        self.kinds = AsyncKinds(self)
        self.limits = AsyncLimits(self)
        self.schedules = AsyncSchedules(self)
        self.holds = AsyncHolds(self)
        self.webhooks = AsyncWebhooks(self)
        self.sources = AsyncSources(self)
        self.workers = AsyncWorkers(self)
        self.errors = AsyncErrors(self)
        self.views = AsyncViews(self)
        self.indexes = AsyncIndexes(self)
        self.bulk = AsyncBulkOperations(self)
        self.outboxes = AsyncOutboxes(self)
        self.events = AsyncEvents(self)
        self.server = AsyncServer(self)

    @classmethod
    def connect(cls, url: str, *, timeout: float = 30.0, patience: Patience | None = None) -> AsyncClient:
        """A client of the server at ``http://…``, or of a store opened in this process (``sqlite:``, ``postgresql:``).

        ``timeout`` is how many seconds one answer may take. Nothing is sent yet to a server. Raises
        `ConfigurationError` for another URL, and for a store what `roost.engine.opening.open_store` raises.
        """
        if url.startswith(("http://", "https://")):
            return cls(AsyncHttpTransport(url, timeout=timeout), patience=patience)
        if is_store(url):
            # By name: the SDK knows no store; whoever asks for one in this process gets it loaded here.
            embedded = importlib.import_module("roost.embedded")
            return cls(embedded.AsyncLocalTransport.open(url), patience=patience)
        raise ConfigurationError(
            f"{url[:80]!r} is neither a server nor a store",
            path="url",
            help="http://127.0.0.1:7667, sqlite:///jobs.db, sqlite://:memory: or postgresql://user@host/database",
        )

    async def call(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A:
        """One call of the API; ``operation_id`` names it across repetitions (where None, a new one is made)."""
        if operation_id is None and self.transport.repeatable and operation.lane not in ("read", "settle"):
            # Settles, steps and plain heartbeats are fenced by their lease: they need no other name.
            operation_id = new_operation_id()
        try:
            return await self.transport.send(operation, request, operation_id)
        except WORTH_REPEATING as error:
            return await self._repeat(operation, request, operation_id, error)

    async def _repeat(self, operation: Operation[Q, A], request: Q, operation_id: str | None, error: RoostError) -> A:
        began = time.monotonic()
        failures = 1
        while True:
            pause = self.patience.pause(failures, error, time.monotonic() - began)
            if pause is None:
                raise error
            await asyncio.sleep(pause)
            try:
                return await self.transport.send(operation, request, operation_id)
            except WORTH_REPEATING as again:
                error, failures = again, failures + 1

    async def aclose(self) -> None:
        """Give back connections; a store in this process stays open while others use it."""
        await self.transport.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
