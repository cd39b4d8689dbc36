"""The service as one object: every operation of the API goes through `Runtime.handle`."""

from __future__ import annotations

import asyncio
import re
from typing import TypeVar, cast

from roost.engine.batch import Effects
from roost.engine.store import Store
from roost.errors import InvalidRequest, NotFound, Unavailable
from roost.service.clock import Clock, SystemClock
from roost.service.committer import Committer
from roost.service.core import CallInfo, Core, HostKind, RuntimeSettings
from roost.service.feed import Feed
from roost.service.following import Stream, follow
from roost.service.health import Health
from roost.service.host import Host, InlineHost, ThreadHost
from roost.service.host_process import ProcessHost
from roost.service.hub import Hub
from roost.service.ids import Ids, Rng, SystemIds, system_rng
from roost.service.loops import Loops
from roost.service.operations import USE_CASES
from roost.service.rules import Rules
from roost.wire.codec import Wire
from roost.wire.contract import OPERATION_PATTERN, Operation

__all__ = ["CallInfo", "Runtime", "RuntimeSettings"]

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)

_is_operation_id = re.compile(OPERATION_PATTERN).fullmatch
_DEFAULTS = RuntimeSettings()
_ANONYMOUS = CallInfo()


class Runtime:
    """Roost without its network: the use cases, the committer and the background loops over one store.

    The store stays its opener's: close it after `stop`. ``host`` says where transactions run: ``inline`` in the loop's
    own thread (reads too), ``thread`` in threads of their own, ``process`` in child processes.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        ids: Ids | None = None,
        rng: Rng = system_rng,
        host: HostKind = "thread",
        settings: RuntimeSettings = _DEFAULTS,
        version: str = "",
        url: str = "",
    ) -> None:
        clock = clock or SystemClock()
        self._store = store
        self._health = Health()
        self._host = _open_host(store, host)
        self._hub = Hub(clock)
        self._committer = Committer(
            self._host,
            hub=self._hub,
            now=lambda: clock.now() + store.now_offset(),
            concurrency=store.concurrency,
            budget=settings.budget,
            health=self._health,
            heed=self._heed,
        )
        self._core = Core(
            store=store,
            clock=clock,
            ids=ids or SystemIds(),
            rng=rng,
            settings=settings,
            committer=self._committer,
            hub=self._hub,
            health=self._health,
            rules=Rules(settings.payload_limit),
            threaded=host != "inline",
        )
        self._core.version = version
        self._core.url = url
        self._loops: Loops | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state = "new"

    @property
    def fatal(self) -> asyncio.Event:
        """Set when the store failed for good: acknowledge nothing more, end the process with code 70."""
        return self._health.fatal

    @property
    def url(self) -> str:
        """Where this node is reached; may be set once the socket is bound."""
        return self._core.url

    @url.setter
    def url(self, url: str) -> None:
        self._core.url = url

    @property
    def waiting(self) -> int:
        """How many jobs, outcomes and calls wait for their commit to begin."""
        return self._committer.waiting

    async def start(self, loops: bool = True) -> None:
        """Begin to answer calls, and with ``loops`` to do what time asks for; raises `Unavailable`, `StoreError`."""
        self._loop = asyncio.get_running_loop()
        if isinstance(self._host, ProcessHost):
            await self._host.start()
        self._core.started_at = self._core.now()
        await self._core.read_rules()
        self._store.signals.start(self._hear)
        self._state = "running"
        if loops:
            await self.start_loops()

    async def start_loops(self) -> None:
        """Begin to promote, reap, plan and prune; once is enough."""
        if self._loops is None:
            self._loops = Loops(self._core)
            self._loops.start()

    async def quiesce(self) -> None:
        """Say not ready, and end all long polls with what they have; other calls are still answered."""
        if self._state == "running":
            self._state = "stopping"
            self._hub.close()
            self._core.feed.close()

    async def stop(self) -> None:
        """Finish what was accepted, stop the loops, give the engines back. Twice does no harm."""
        if self._state == "stopped":
            return
        await self.quiesce()
        self._state = "stopped"
        if self._loops is not None:
            await self._loops.stop()
        await self._committer.close()
        self._store.signals.stop()
        await self._core.close()
        await self._host.close()

    def ready(self) -> None:
        """Raises `Unavailable` where calls should go to another node."""
        if self._state != "running":
            raise Unavailable("the server is not ready: it is " + self._state, help="try again, or on another node")
        self._health.check()

    def check_room(self, operation: Operation[Q, A]) -> None:
        """Raises `Overloaded` where a call would be shed whatever it asks for: refusing must cost less than doing."""
        if operation.lane == "enqueue":
            self._committer.check_room()

    async def handle(self, operation: Operation[Q, A], request: Q, call: CallInfo = _ANONYMOUS) -> A:
        """Carry out one call of the API; raises `RoostError`.

        The reply is ``operation.reply``, but a claim's is `roost.wire.attempts.RawClaimed`: its jobs are JSON already.
        """
        if call.operation_id is not None and _is_operation_id(call.operation_id) is None:
            raise InvalidRequest(
                "the operation id is malformed", path="operation-id", help="1 to 64 characters of A-Z a-z 0-9 . _ : -"
            )
        if self._state == "new":
            raise Unavailable("the server is starting", help="try again")
        use_case = USE_CASES.get(operation.name)
        if use_case is None:
            raise NotFound(f"there is no operation {operation.name!r}", help="see /docs")
        core = self._core
        if core.rules.stale(core.clock.monotonic()):
            core.spawn(core.read_rules())
        return cast(A, await use_case(core, request, call))

    def follow(self, operation: Operation[Q, A], request: Q, last_id: str | None = None) -> Stream:
        """The messages of one of `roost.wire.streams.STREAMS`, in pieces, until the node goes down; close it."""
        if self._state != "running":
            self.ready()
        return follow(self._core, operation, request, last_id)

    @property
    def feed(self) -> Feed:
        """The node's feed."""
        return self._core.feed

    # --- what commits mean --------------------------------------------------------------------------------------------

    def _heed(self, effects: Effects, granted_ms: int) -> None:
        """A commit of this node."""
        self._hub.feed(effects)
        if effects.fed:
            self._core.feed.heed()
        if self._loops is not None:
            self._loops.heed(effects, self._core.now() + granted_ms if granted_ms else None, granted_ms)
        timed = effects.due_at is not None or effects.schedules or effects.chores
        if effects.fed or effects.ready or effects.ended or timed:
            self._store.signals.announce(effects)

    def _hear(self, effects: Effects | None) -> None:
        """A hint from another node, in any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._heed_others, effects)

    def _heed_others(self, effects: Effects | None) -> None:
        if effects is None:
            self._hub.wake_all()
            self._core.feed.heed()
            self._core.rules.expire()
            if self._loops is not None:
                self._loops.wake()
        else:
            self._hub.feed(effects)
            if effects.fed:
                self._core.feed.heed()
            if effects.rules:
                self._core.rules.expire()
            if self._loops is not None:
                self._loops.heed(effects, None, 0)


def _open_host(store: Store, kind: HostKind) -> Host:
    if kind == "inline":
        return InlineHost(store)
    return ThreadHost(store) if kind == "thread" else ProcessHost(store)
