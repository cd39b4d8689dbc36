"""The worker: claims jobs in batches, runs their handlers, keeps their leases, settles their outcomes."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Literal

from roost import __version__
from roost.domain.duration import format_duration, parse_duration
from roost.domain.names import check_name
from roost.errors import ConfigurationError, RoostError
from roost.sdk._async.client import AsyncClient
from roost.sdk.attempt import Attempt
from roost.sdk.beating import beat_transport
from roost.sdk.claiming import Pace
from roost.sdk.context import Context, SyncContext, make_context
from roost.sdk.executors import Executor
from roost.sdk.executors.loop import LoopExecutor
from roost.sdk.executors.process import ProcessExecutor
from roost.sdk.executors.thread import ThreadExecutor
from roost.sdk.heartbeat import Heart
from roost.sdk.lanes import Lanes
from roost.sdk.notes import Notes
from roost.sdk.patience import Patience, may_pass, new_operation_id
from roost.sdk.ports import Port, ServerPort, Tell, ThreadPort
from roost.sdk.registry import Handler, Registry
from roost.sdk.settling import Settler
from roost.sdk.supervision import Supervisor
from roost.wire.attempts import Claimed, ClaimJobs, Outcome, Register
from roost.wire.codec import milliseconds
from roost.wire.contract import CLAIM

logger = logging.getLogger("roost.worker")

CLAIM_WAIT_MS = 20_000
"""How long a claim waits at most; less where the leases are short, for they are counted from before the claim."""
CLAIM_MOST = 1000
BACKLOG_SECONDS = 1.0
"""A claimed job that no handler was free for in this time goes back: another worker may be idle."""
LAST_CLAIM_SECONDS = 0.25
"""A claim sent so shortly before the stop is waited for: under load it has an answer, which must not get lost."""
DRAIN_HEEDED_AFTER = 15.0
"""Seconds after its registration in which a worker takes a wish to drain for one that was meant for its name before."""
UNKNOWN_KIND_SECONDS = 5.0
"""Pause after a claim that brought nothing but kinds without a handler."""


class Worker:
    """Runs the handlers of a registry for the jobs of some queues; one `run` per worker."""

    def __init__(
        self,
        registry: Registry,
        client: AsyncClient,
        *,
        queues: Sequence[str] | Mapping[str, int],
        concurrency: int = 10,
        lease: str = "15s",
        name: str | None = None,
        grace: float = 10.0,
    ) -> None:
        """``queues`` in strict order, ``concurrency`` handlers at a time, ``grace`` seconds for them to end at a stop.

        Queues with weights (a mapping) give their shares instead, and what one does not have goes to the others.
        Raises `ConfigurationError` for a handler that cannot run, and what is wrong with the other arguments.
        """
        if concurrency < 1 or not queues:
            raise ConfigurationError("a worker needs a queue and a concurrency of at least 1", path="concurrency")
        self.name = check_name(name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}", "name")
        self.queues = [check_name(queue, "queues") for queue in queues]
        self.weights = dict(queues) if isinstance(queues, Mapping) else None
        self.concurrency = concurrency
        self._registry = registry
        self._client = client
        self._lease = lease
        self._lease_seconds = parse_duration(lease, path="lease") / 1000
        self._grace = grace
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        """It is to end within the grace, whether it drains or not."""
        self._draining = False
        self._registered_at: float | None = None
        self._until_idle = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._done = 0
        self._pace = Pace(time.monotonic)
        self._patience = Patience(seconds=float("inf"), base=0.1, cap=10.0)
        self._settler = Settler(client.transport, self._flush, self._settled)
        self._threads = ThreadExecutor(partial(self._context, blocking=True))
        self._processes = ProcessExecutor(self._port, self._tell)
        self._on_loop = LoopExecutor(partial(self._context, blocking=False))
        self._lanes = Lanes(
            registry,
            concurrency,
            self._executor,
            self._server_now,
            self._ended,
            partial(Supervisor, grace, self._lease_seconds),
        )
        self._supervisor = self._lanes.supervisor
        self._heart: Heart | None = None
        registry.check()
        for handler in registry:
            if handler.isolate == "process":
                ProcessExecutor.check(handler)

    @property
    def running(self) -> int:
        """How many handlers run now."""
        return len(self._lanes.running)

    def stop(self) -> None:
        """Claim no more, let handlers end within the grace, release the rest; `run` returns then. From any thread."""
        if self._loop is None or self._loop.is_closed():
            self._stop.set()
        else:
            self._loop.call_soon_threadsafe(self._begin_stop)

    async def run(self, until: Literal["stopped", "idle"] = "stopped") -> None:
        """Work until `stop`, or until there is nothing to claim and nothing runs.

        Cancelled, it stops as `stop` says and raises the cancellation when that is done. Raises what the server refuses
        for good, such as a lease that is no duration.
        """
        self._loop = asyncio.get_running_loop()
        self._until_idle = until == "idle"
        transport = beat_transport(self._client.transport, self._lease_seconds / 3)
        self._heart = Heart(
            self.name,
            self._lease,
            self._lease_seconds,
            transport,
            self._cancel_requested,
            self._lost,
            self._drain_requested,
        )
        self._heart.start()
        # Handlers of several applications may share a worker: what their handlers share lives as long as it.
        scopes = {id(handler.surroundings): handler.surroundings.scope for handler in self._registry}
        for scope in scopes.values():
            scope.enter()
        helpers = [asyncio.create_task(self._register()), asyncio.create_task(self._return_stale())]
        claiming = asyncio.create_task(self._claim_all())
        try:
            await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._begin_stop()
            await claiming
            raise
        finally:
            try:
                await self._shut_down()
            finally:
                for helper in helpers:
                    helper.cancel()
                for scope in scopes.values():
                    await scope.leave()
                await self._heart.stop()
                transport.close()
                self._loop = None

    # --- claiming -----------------------------------------------------------------------------------------------------

    async def _claim_all(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            room = self._room()
            if room <= 0:
                await self._wake.wait()
                continue
            done = self._done
            claimed, sent_at = await self._claim(room)
            taken = 0 if claimed is None else self._take(claimed, sent_at)
            if claimed is not None and claimed.drain:
                self._drain_requested()
            if claimed is None or taken:
                continue
            if not self._until_idle:
                if claimed.jobs:
                    await self._pause(UNKNOWN_KIND_SECONDS)
            elif self.running:
                await self._wake.wait()
            else:
                await self._settler.drain()
                if done == self._done:
                    return

    def _room(self) -> int:
        """How many jobs to ask for now; 0 while enough of them wait here."""
        ahead = self._pace.ahead()
        waiting = self._lanes.waiting
        if waiting > ahead // 2:
            return 0
        return min(CLAIM_MOST, self._lanes.free + ahead - waiting)

    async def _claim(self, limit: int) -> tuple[Claimed | None, float]:
        """The answer and when its claim was sent; None where the worker is stopping."""
        wait = format_duration(0 if self._until_idle else min(CLAIM_WAIT_MS, int(self._lease_seconds * 1000) // 3))
        request = ClaimJobs(
            worker=self.name, queues=self.queues, weights=self.weights, limit=limit, lease=self._lease, wait=wait
        )
        transport = self._client.transport
        operation_id = new_operation_id() if transport.repeatable else None
        sent_at = time.monotonic()
        failures = 0
        while True:
            sending = asyncio.create_task(transport.send(CLAIM, request, operation_id))
            stopped = asyncio.create_task(self._give_up_claim(time.monotonic()))
            try:
                await asyncio.wait([sending, stopped], return_when=asyncio.FIRST_COMPLETED)
                return (sending.result() if sending.done() else None), sent_at
            except RoostError as error:
                if not may_pass(error):
                    raise
                failures += 1
                pause = self._patience.pause(failures, error, 0.0) or self._patience.cap
                logger.warning("claiming failed, again in %.1f s: %s", pause, error)
                if await self._pause(pause):
                    return None, sent_at
            finally:
                stopped.cancel()
                sending.cancel()

    async def _give_up_claim(self, began: float) -> None:
        """Returns when the worker is stopping and the claim in flight is not worth waiting for."""
        await self._stop.wait()
        await asyncio.sleep(max(0.0, began + LAST_CLAIM_SECONDS - time.monotonic()))

    def _take(self, claimed: Claimed, sent_at: float) -> int:
        """Start what was claimed; how many of the jobs have a handler here."""
        now = time.monotonic()
        until = sent_at + claimed.lease_ms / 1000
        attempts = [Attempt(lease, claimed.token, now, until) for lease in claimed.jobs]
        unknown = [one for one in attempts if self._registry.get(one.lease.kind) is None]
        known = [one for one in attempts if one not in unknown] if unknown else attempts
        for kind in sorted({one.lease.kind for one in unknown}):
            logger.error("worker %s has no handler for %r: its jobs are given back", self.name, kind)
        if until <= now:
            logger.warning("the answer to a claim came after its leases ran out: %d jobs are given back", len(attempts))
        if self._stop.is_set() or until <= now:
            unknown, known = attempts, []
        for attempt in unknown:
            self._release(attempt)
        if self._heart is not None:
            self._heart.add(known)
        self._lanes.put(known)
        return len(known)

    def _release(self, attempt: Attempt) -> None:
        attempt.end()
        self._settler.add(attempt, Outcome(id=attempt.id, token=attempt.token, outcome="release"))

    async def _return_stale(self) -> None:
        while True:
            await asyncio.sleep(BACKLOG_SECONDS / 2)
            backlog = self._lanes.backlog
            while backlog and backlog[0].claimed_at < time.monotonic() - BACKLOG_SECONDS:
                self._release(backlog.popleft())

    # --- what befalls an attempt --------------------------------------------------------------------------------------

    def _ended(self, attempt: Attempt, outcome: Outcome | None) -> None:
        self._done += 1
        self._pace.ended()
        self._wake.set()
        if outcome is None:
            logger.warning("the lease of %r is lost, its result is dropped", attempt, extra=attempt.tag)
            self._settled(attempt)
        else:
            self._settler.add(attempt, outcome)

    def _settled(self, attempt: Attempt) -> None:
        if self._heart is not None:
            self._heart.remove(attempt)

    def _cancel_requested(self, attempt: Attempt) -> None:
        if self._lanes.drop(attempt):
            attempt.end()
            self._settler.add(attempt, Outcome(id=attempt.id, token=attempt.token, outcome="cancel"))
        else:
            self._supervisor.cancel(attempt)

    def _lost(self, attempt: Attempt) -> None:
        if self._lanes.drop(attempt):
            attempt.end()
            self._ended(attempt, None)
        else:
            self._supervisor.interrupt(attempt, "lost")

    # --- what handlers run with ---------------------------------------------------------------------------------------

    def _executor(self, handler: Handler[Any]) -> Executor:
        if handler.isolate == "process":
            return self._processes
        return self._on_loop if handler.is_async else self._threads

    def _port(self, attempt: Attempt) -> Port:
        if self._heart is not None:
            attempt.notes = Notes(self._heart.nudge)
        return ServerPort(attempt, self._client, self._flush, self.name, self._lease)

    def _context(self, attempt: Attempt, *, blocking: bool) -> Context | SyncContext:
        port = self._port(attempt)
        if blocking and self._loop is not None:
            port = ThreadPort(port, self._loop, attempt)
        return make_context(attempt.lease, port, partial(self._tell, attempt), attempt.watch(), blocking=blocking)

    def _tell(self, attempt: Attempt, tell: Tell) -> None:
        """From any thread; a handler that was given up is not listened to."""
        notes = attempt.notes
        if notes is None or attempt.ended:
            return
        if tell.log is not None:
            notes.log(tell.log)
        if tell.progress is not None:
            notes.progress(tell.progress)
        if tell.saved is not None:
            notes.save(tell.saved)

    async def _flush(self, attempt: Attempt) -> None:
        if self._heart is not None:
            await self._heart.flush(attempt)

    async def _server_now(self) -> int:
        """Milliseconds by the server's clock, by which deadlines are set."""
        return milliseconds(datetime.fromisoformat((await self._client.server.info()).now), "now")

    # --- beginning and end --------------------------------------------------------------------------------------------

    async def _register(self) -> None:
        """Tell the server who works here; nothing depends on it, so a refusal is only logged."""
        who = Register(
            id=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self.queues,
            kinds=self._registry.kinds,
            concurrency=self.concurrency,
            version=__version__,
        )
        try:
            await self._client.workers.register(who)
            self._registered_at = time.monotonic()
        except RoostError as error:
            logger.warning("worker %s could not register: %s", self.name, error)

    async def _pause(self, seconds: float) -> bool:
        """Wait, but not beyond the stop; whether the worker is stopping."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self._stop.is_set()

    def _drain_requested(self) -> None:
        """Somebody asked this worker to end with its last job; `stop` still ends it sooner."""
        known = self._registered_at
        # An earlier run under this name may have been meant, as long as not every node has heard of this one.
        if self._draining or known is None or time.monotonic() < known + DRAIN_HEEDED_AFTER:
            return
        logger.info("worker %s was asked to drain: it ends with the last of %d jobs", self.name, self.running)
        self._draining = True
        self._stop.set()
        self._wake.set()

    def _begin_stop(self) -> None:
        self._lanes.stopping = True
        self._hurry.set()
        self._stop.set()
        self._wake.set()

    async def _shut_down(self) -> None:
        """Give back what has not started, wait for what runs, interrupt it after the grace, settle everything."""
        self._stop.set()
        lanes = self._lanes
        while lanes.backlog:
            self._release(lanes.backlog.popleft())
        while self._draining and lanes.running and not self._hurry.is_set():
            hurried = asyncio.create_task(self._hurry.wait())
            await asyncio.wait([hurried, *lanes.running], return_when=asyncio.FIRST_COMPLETED)
            hurried.cancel()
        if lanes.running:
            await asyncio.wait([*lanes.running], timeout=self._grace)
        for attempt in lanes.attempts():
            self._supervisor.interrupt(attempt, "shutdown")
        while lanes.running:
            # A handler that does not react is given up by the supervisor, which takes its lane out.
            await asyncio.wait([*lanes.running], timeout=0.1)
        await self._settler.drain()
        self._threads.close()
        await self._processes.close()
