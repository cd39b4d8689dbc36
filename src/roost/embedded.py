"""A store in this process: the same service a server runs, on a thread of its own, reached without a network.

There is one for each store and process, however many applications, threads and event loops use it. It accepts work at
once; its background loops (due jobs, lost leases, schedules, retention) run only where a worker does.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast
from urllib.parse import unquote

import msgspec

from roost import __version__
from roost.domain.admission import INPUT_LIMIT, PAYLOAD_LIMIT_MAX
from roost.engine.opening import open_store
from roost.engine.store import Store
from roost.errors import ConfigurationError, StoreError
from roost.sdk.transport import AsyncStream, Stream
from roost.service.clock import Clock, SystemClock
from roost.service.ids import SystemIds, system_rng
from roost.service.runtime import CallInfo, Runtime, RuntimeSettings
from roost.wire.attempts import Claimed, Lease, RawClaimed
from roost.wire.codec import Wire
from roost.wire.contract import Operation
from roost.wire.requests import as_received
from roost.wire.streams import Message

T = TypeVar("T")
Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)

STOP_SECONDS = 10.0
"""How long closing waits for work that was accepted."""

_leases = msgspec.json.Decoder(list[Lease])


class Embedded:
    """One open store and the thread that serves it; made by `open`, given back by `release`."""

    _all: ClassVar[dict[tuple[int, str], Embedded]] = {}
    """By process and store: after a fork the parent's stay here untouched, or closing them would disturb the parent."""
    _guard: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, url: str, *, clock: Clock | None = None, durable: bool = True) -> None:
        """Open ``url`` now; raises what `roost.engine.opening.open_store` does."""
        self.url = url
        self.pid = os.getpid()
        self._users = 1
        self._clock = clock or SystemClock()
        self._durable = durable
        self._loops = False
        self.loop = asyncio.new_event_loop()
        self._store: Store | None = None
        self._runtime: Runtime | None = None
        self._thread = threading.Thread(target=self._run, name="roost-embedded", daemon=True)
        self._thread.start()
        try:
            self.run(self._start())
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, url: str) -> Embedded:
        """The store at ``url``, shared with whoever has it open in this process; one in memory is never shared.

        Raises `StoreOwned` with the server's URL where a server has the file, `ConfigurationError`, `Unavailable`.
        """
        if is_memory(url):
            return cls(url)
        key = (os.getpid(), _identity(url))
        with cls._guard:
            found = cls._all.get(key)
            if found is None:
                found = cls._all[key] = cls(url)
            else:
                found._users += 1
            return found

    def share(self) -> Embedded:
        """The same store for one more user."""
        with self._guard:
            self._users += 1
        return self

    def async_transport(self) -> AsyncLocalTransport:
        """A way to it from any event loop, to be closed by its user."""
        return AsyncLocalTransport(self.share())

    def transport(self) -> LocalTransport:
        """A way to it without an event loop, to be closed by its user."""
        return LocalTransport(self.share())

    @property
    def store(self) -> Store:
        """What is served; raises `StoreError` where it is closed."""
        if self._store is None:
            raise StoreError("the store was closed", help="open it again")
        return self._store

    @property
    def runtime(self) -> Runtime:
        """The service; raises `StoreError` where the store is closed."""
        if self._runtime is None:
            raise StoreError("the store was closed", help="open it again")
        return self._runtime

    def release(self) -> None:
        """Give it back; with its last user the store is closed, after what was accepted is done."""
        with self._guard:
            self._users -= 1
            if self._users > 0 or self.pid != os.getpid():
                return
            self._all.pop((self.pid, _identity(self.url)), None)
        self.close()

    def close(self) -> None:
        """Close the store whoever uses it; twice does no harm."""
        if self._thread.is_alive():
            with contextlib.suppress(TimeoutError):
                self.run(self._stop(), STOP_SECONDS)
            self._end()

    def run(self, work: Coroutine[Any, Any, T], seconds: float | None = None) -> T:
        """Run ``work`` on the store's thread and wait for it here."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    async def there(self, work: Awaitable[T]) -> T:
        """Run ``work`` on the store's thread and wait for it on this loop; cancelled here, it is cancelled there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_awaited(work), self.loop))

    async def start_loops(self) -> None:
        """Run the background loops from now on; twice does no harm."""
        if not self._loops:
            self._loops = True
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.runtime.start_loops(), self.loop))

    async def _start(self) -> None:
        self._store = store = open_store(self.url, "embedded", rng=system_rng, durable=self._durable)
        # SQLite commits in this very thread, which has nothing else to do: a hop less for every job. A database on a
        # network is waited for in threads.
        self._runtime = Runtime(
            store,
            clock=self._clock,
            ids=SystemIds(),
            rng=system_rng,
            host="inline" if store.info.engine == "sqlite" else "thread",
            settings=_settings(),
            version=__version__,
        )
        await self._runtime.start(loops=False)

    async def _stop(self) -> None:
        runtime, store, self._runtime, self._store = self._runtime, self._store, None, None
        if runtime is not None:
            await runtime.stop()
        if store is not None:
            store.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        # Nobody shall wait for ever: what was asked for at the last moment is still told that it is too late.
        self.loop.run_until_complete(asyncio.sleep(0.01))
        self.loop.close()

    def _end(self) -> None:
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(STOP_SECONDS)


def _settings() -> RuntimeSettings:
    """What a server takes from its settings and a program in whose process the store is may set, too."""
    targets = os.environ.get("ROOST_WEBHOOK_ALLOW", "").split(",")
    limit = os.environ.get("ROOST_PAYLOAD_LIMIT", str(INPUT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit) <= PAYLOAD_LIMIT_MAX):
        raise ConfigurationError(
            f"{limit[:40]!r} is no limit", path="ROOST_PAYLOAD_LIMIT", help=f"1 to {PAYLOAD_LIMIT_MAX} bytes"
        )
    return RuntimeSettings(webhook_allow=tuple(target for target in targets if target), payload_limit=int(limit))


class _Local:
    """What both transports share: the store, opened again in a child that was forked."""

    def __init__(self, embedded: Embedded) -> None:
        self.embedded = embedded
        # Only a database on a network can leave a commit's fate unknown.
        self.repeatable = not embedded.url.startswith("sqlite:")
        self._closed = False

    def _current(self) -> Embedded:
        if self._closed:
            raise StoreError("the store was closed", help="open it again")
        if self.embedded.pid != os.getpid():
            if is_memory(self.embedded.url):
                raise StoreError(
                    "a store in memory stays in the process that made it", help="use a file, or do not fork"
                )
            self.embedded = Embedded.open(self.embedded.url)
        _ = self.embedded.runtime
        return self.embedded

    def _release(self) -> Embedded | None:
        if self._closed:
            return None
        self._closed = True
        return self.embedded


class AsyncLocalTransport(_Local):
    """Calls to a store in this process from an event loop; `AsyncTransport`."""

    @classmethod
    def open(cls, url: str) -> AsyncLocalTransport:
        """See `Embedded.open`."""
        return cls(Embedded.open(url))

    async def send(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A:
        """One call; raises what it is refused with. Cancelled, it is cancelled on the other side too."""
        embedded, request = self._current(), as_received(request)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[A] = loop.create_future()
        call = _Call(embedded, operation, request, operation_id, _tell(loop, answer))
        embedded.loop.call_soon_threadsafe(call.begin)
        try:
            return await answer
        except asyncio.CancelledError:
            embedded.loop.call_soon_threadsafe(call.cancel)
            raise

    async def stream(self, operation: Operation[Q, A], request: Q, last_id: str) -> AsyncStream[list[Message]]:
        """The messages of a stream, straight from the service."""
        embedded, request = self._current(), as_received(request)
        pieces = embedded.runtime.follow(operation, request, last_id or None)
        try:
            while (piece := await embedded.there(anext(pieces, None))) is not None:
                yield piece
        finally:
            await embedded.there(pieces.aclose())

    def blocking(self) -> LocalTransport:
        """Another way to the same store, without an event loop; to be closed by its user."""
        return self._current().transport()

    async def aclose(self) -> None:
        """Give the store back."""
        embedded = self._release()
        if embedded is not None:
            await asyncio.to_thread(embedded.release)


class LocalTransport(_Local):
    """Calls to a store in this process without an event loop; `Transport`."""

    @classmethod
    def open(cls, url: str) -> LocalTransport:
        """See `Embedded.open`."""
        return cls(Embedded.open(url))

    def send(self, operation: Operation[Q, A], request: Q, operation_id: str | None = None) -> A:
        """One call; raises what it is refused with."""
        embedded, request = self._current(), as_received(request)
        told: list[tuple[A | None, BaseException | None]] = []
        done = threading.Lock()
        done.acquire()

        def tell(value: A | None, error: BaseException | None) -> None:
            told.append((value, error))
            done.release()

        embedded.loop.call_soon_threadsafe(_Call(embedded, operation, request, operation_id, tell).begin)
        done.acquire()
        value, error = told[0]
        if error is not None:
            raise error
        return cast("A", value)

    def start_loops(self) -> None:
        """Let the store's background loops run in this process from now on."""
        embedded = self._current()
        embedded.run(embedded.start_loops())

    def stream(self, operation: Operation[Q, A], request: Q, last_id: str) -> Stream[list[Message]]:
        """The messages of a stream, straight from the service."""
        embedded, request = self._current(), as_received(request)
        pieces = embedded.runtime.follow(operation, request, last_id or None)
        try:
            while (piece := embedded.run(_awaited(anext(pieces, None)))) is not None:
                yield piece
        finally:
            embedded.run(pieces.aclose(), STOP_SECONDS)

    def close(self) -> None:
        """Give the store back."""
        embedded = self._release()
        if embedded is not None:
            embedded.release()


async def _awaited(work: Awaitable[T]) -> T:
    return await work


class _Call:
    """One call on the store's thread."""

    __slots__ = ("_embedded", "_operation", "_operation_id", "_request", "_task", "_tell")

    def __init__(
        self,
        embedded: Embedded,
        operation: Operation[Any, Any],
        request: Wire,
        operation_id: str | None,
        tell: Callable[[Any, BaseException | None], None],
    ) -> None:
        self._embedded = embedded
        self._operation = operation
        self._request = request
        self._operation_id = operation_id
        self._tell = tell
        self._task: asyncio.Task[Any] | None = None

    def begin(self) -> None:
        try:
            runtime = self._embedded.runtime
        except StoreError as error:
            self._tell(None, error)
            return
        work = runtime.handle(self._operation, self._request, CallInfo(operation_id=self._operation_id))
        self._task = self._embedded.loop.create_task(work)
        self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            self._tell(None, StoreError("the store was closed", help="open it again"))
            return
        error = task.exception()
        if error is not None:
            self._tell(None, error)
            return
        reply = task.result()
        if isinstance(reply, RawClaimed):
            jobs = _leases.decode(reply.jobs)
            reply = Claimed(token=reply.token, lease_ms=reply.lease_ms, jobs=jobs)
        self._tell(reply, None)


def _tell(loop: asyncio.AbstractEventLoop, answer: asyncio.Future[A]) -> Callable[[A, BaseException | None], None]:
    def resolve(value: A, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(value)

    def tell(value: A, error: BaseException | None) -> None:
        # A loop that was closed meanwhile has nobody left to tell.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(resolve, value, error)

    return tell


def is_memory(url: str) -> bool:
    """Whether ``url`` names a store that lives and dies with its process."""
    return url in ("sqlite://:memory:", "sqlite:///:memory:")


def _identity(url: str) -> str:
    """The same for every way of writing one file's path."""
    if url.startswith("sqlite:///"):
        return str(Path(unquote(url.removeprefix("sqlite:///"))).resolve())
    return url


def _close_all() -> None:
    for (pid, _), embedded in list(Embedded._all.items()):
        if pid == os.getpid():
            # Nothing acknowledged depends on it: this only spares the next opener the recovery.
            with contextlib.suppress(RuntimeError):
                embedded.close()


def _after_fork() -> None:
    Embedded._guard = threading.Lock()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_after_fork)
