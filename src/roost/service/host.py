"""Where a store's writing side runs: in the loop's thread, in threads of its own, or in child processes.

A transaction that was handed to a host is carried to its end: cancelling the caller never cancels a COMMIT, because a
commit that is cut short may have happened all the same.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import Protocol, overload

from roost.engine.batch import Applied, Batch
from roost.engine.calls import Acted, Call
from roost.engine.protocol import Engine
from roost.engine.store import Store
from roost.errors import Unavailable


class Host(Protocol):
    """Carries work to an engine."""

    @overload
    async def submit(self, work: Batch) -> Applied: ...
    @overload
    async def submit(self, work: Call) -> Acted: ...
    async def submit(self, work: Batch | Call) -> Applied | Acted:
        """The engine's answer after a durable commit; raises what the engine raises. Cancelling it cancels nothing."""
        ...

    async def close(self) -> None:
        """Finish what was submitted, then give the engines back."""
        ...


def carry_out(engine: Engine, work: Batch | Call) -> Applied | Acted:
    """Do ``work`` now, in this thread."""
    return engine.apply(work) if isinstance(work, Batch) else engine.act(work)


class InlineHost:
    """Runs every transaction in the loop's own thread: fewest moving parts, for tests and small programs."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine()

    @overload
    async def submit(self, work: Batch) -> Applied: ...
    @overload
    async def submit(self, work: Call) -> Acted: ...
    async def submit(self, work: Batch | Call) -> Applied | Acted:
        return carry_out(self._engine, work)

    async def close(self) -> None:
        self._engine.close()


class _Order:
    """One piece of work on its way to a thread, and the loop that waits for it."""

    __slots__ = ("future", "loop", "work")

    def __init__(self, work: Batch | Call, loop: asyncio.AbstractEventLoop) -> None:
        self.work = work
        self.loop = loop
        self.future: asyncio.Future[Applied | Acted] = loop.create_future()

    def answer(self, result: Applied | Acted | None, error: BaseException | None) -> None:
        """Tell the loop, from the thread."""
        try:
            self.loop.call_soon_threadsafe(self._resolve, result, error)
        except RuntimeError:
            # The loop was closed while the commit ran: nobody is left to be told.
            return

    def _resolve(self, result: Applied | Acted | None, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is not None:
            self.future.set_exception(error)
        elif result is not None:
            self.future.set_result(result)


class ThreadHost:
    """One thread for each writing side of the store; the loop goes on while they wait for the disk."""

    def __init__(self, store: Store) -> None:
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, args=(store.engine(),), name=f"roost-engine-{number}", daemon=True)
            for number in range(store.concurrency)
        ]
        for thread in self._threads:
            thread.start()

    @overload
    async def submit(self, work: Batch) -> Applied: ...
    @overload
    async def submit(self, work: Call) -> Acted: ...
    async def submit(self, work: Batch | Call) -> Applied | Acted:
        if self._closed:
            raise Unavailable("the store is closing", help="try again, or on another node")
        order = _Order(work, asyncio.get_running_loop())
        self._orders.put(order)
        return await order.future

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for _ in self._threads:
            self._orders.put(None)
        for thread in self._threads:
            await asyncio.to_thread(thread.join)

    def _run(self, engine: Engine) -> None:
        while (order := self._orders.get()) is not None:
            try:
                result = carry_out(engine, order.work)
            except BaseException as error:
                order.answer(None, error)
            else:
                order.answer(result, None)
            # The last order must not keep a batch of megabytes alive while the thread waits for the next.
            del order
        engine.close()
