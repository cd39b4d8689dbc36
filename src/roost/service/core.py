"""What every use case works with."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, ParamSpec, TypeVar

import msgspec

from roost.domain.admission import INPUT_LIMIT
from roost.engine.batch import Operation
from roost.engine.calls import Acted, Action, Call
from roost.engine.reading import Reader
from roost.engine.store import Store
from roost.errors import Overloaded
from roost.service.clock import Clock
from roost.service.committer import Budget, Committer
from roost.service.facets import FacetCache
from roost.service.feed import Feed
from roost.service.health import Health
from roost.service.hub import Hub
from roost.service.ids import Ids, Rng
from roost.service.rules import Rules
from roost.service.seen import Seen
from roost.wire.codec import Wire, encode
from roost.wire.lenient import decode_reply

log = logging.getLogger("roost.service")

P = ParamSpec("P")
T = TypeVar("T")

HostKind = Literal["inline", "thread", "process"]


class RuntimeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The service's bounds; every default is meant for production."""

    budget: Budget = Budget()
    readers: int = 4
    """Threads that read."""
    waiting_reads: int = 256
    """Reads beyond this many are shed."""
    grace_ms: int = 15_000
    """No lease is reaped for this long after start, after a lost store came back, after a jump of the clock."""
    safety_seconds: float = 10.0
    """How often the loops look at the store although nothing told them to."""
    prune_seconds: float = 60.0
    """How often old jobs are looked for, at most."""
    payload_limit: int = INPUT_LIMIT
    """Bytes an input, a result or a result's chunk may have."""
    retention_ms: int = 7 * 86_400_000
    """How long succeeded, cancelled and expired jobs are kept where their queue says nothing."""
    retention_failed_ms: int = 30 * 86_400_000
    """The same for failed jobs."""
    feed_retention_ms: int = 3 * 86_400_000
    """How long events can be read again; a reader that was away for longer is told that it missed some."""

    webhook_allow: tuple[str, ...] = ()
    """Internal targets that webhooks may be sent to; see `roost.domain.targets.Allowed`."""
    webhook_seconds: float = 10.0
    """How long one POST to an endpoint may take."""


class CallInfo(msgspec.Struct, frozen=True):
    """What a call carries beside its request."""

    operation_id: str | None = None
    actor: str = ""


class Core:
    """The store, the clock, the committer and the hub, held together."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ids: Ids,
        rng: Rng,
        settings: RuntimeSettings,
        committer: Committer,
        hub: Hub,
        health: Health,
        rules: Rules,
        threaded: bool,
    ) -> None:
        self.store = store
        self.reader: Reader = store.reader
        self.clock = clock
        self.ids = ids
        self.rng = rng
        self.settings = settings
        self.committer = committer
        self.hub = hub
        self.health = health
        self.rules = rules
        self.seen = Seen()
        self.facets = FacetCache()
        self.feed = Feed(self)
        self.version = ""
        self.url = ""
        self.started_at = 0
        self._readers = ThreadPoolExecutor(settings.readers, "roost-reader") if threaded else None
        self._reading = threading.BoundedSemaphore(settings.waiting_reads)
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> int:
        """Milliseconds since the epoch, on the clock that all nodes of the store share."""
        return self.clock.now() + self.store.now_offset()

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the reader, off the loop's thread; raises `Overloaded` where too many wait for it."""
        if self._readers is None:
            return function(*args, **kwargs)
        if not self._reading.acquire(blocking=False):
            raise Overloaded("too many reads are waiting", help="try again later", retry_after=1.0)
        future = self._readers.submit(function, *args, **kwargs)
        future.add_done_callback(lambda _: self._reading.release())
        return await asyncio.wrap_future(future)

    async def act(
        self, action: Action, reply: type[T], *, name: str, request: Wire, call: CallInfo, now: int | None = None
    ) -> T:
        """Carry out a caller's action; its reply, or the problem raised as its error."""
        operation = operation_of(name, request, call)
        acted = await self.committer.act(Call(self.now() if now is None else now, action, operation))
        if acted.problem is not None:
            raise acted.problem.error()
        # The answer to a repeated call may be one that a newer node stored.
        return decode_reply(acted.reply, reply)

    async def act_for_itself(self, action: Action, now: int | None = None) -> Acted:
        """Carry out an action of a loop: never shed; raises its problem as an error."""
        acted = await self.committer.act(Call(self.now() if now is None else now, action), reserved=True)
        if acted.problem is not None:
            raise acted.problem.error()
        return acted

    async def read_rules(self) -> None:
        """Read the queues' rules again."""
        at = self.clock.monotonic()
        self.rules.replace(await self.read(self.reader.queue_rules), await self.read(self.reader.kind_schemas), at)
        self.seen.draining = await self.read(self.reader.draining)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` beside everything else; `close` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_done)

    async def close(self) -> None:
        """Wait for what runs beside, and end the reading threads."""
        if self._tasks:
            await asyncio.wait(list(self._tasks))
        if self._readers is not None:
            await asyncio.to_thread(self._readers.shutdown, wait=True)

    def _spawned_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("something beside the calls failed: %s", error, exc_info=error)


def operation_of(name: str, request: Wire, call: CallInfo) -> Operation | None:
    """The call's operation id with the fingerprint of what it asks for; None where it has none."""
    if call.operation_id is None:
        return None
    digest = hashlib.sha256(name.encode())
    digest.update(b"\0")
    digest.update(encode(request))
    return Operation(call.operation_id, digest.hexdigest())
