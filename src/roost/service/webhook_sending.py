"""Sends one endpoint's due deliveries, a few at a time; nobody else waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from roost.domain.deliveries import Try, retry_after_ms
from roost.domain.signatures import sign
from roost.engine.hooks import Taken, Work, WorkDeliveries
from roost.errors import RoostError
from roost.service.core import Core
from roost.service.webhook_http import Poster, Undelivered
from roost.wire.codec import decode

log = logging.getLogger("roost.service.webhooks")

CONCURRENCY = 8
"""POSTs to one endpoint at a time."""
TAKEN = 4 * CONCURRENCY
"""Deliveries this node has of one endpoint at a time, so that a transaction settles and takes many."""
LOCK_MARGIN_MS = 5_000
"""What is taken is this node's for one POST and so much more: what a node that died had is sent again after it."""
STOP_SECONDS = 2.0
"""What is being sent has so long to end when the node stops."""
_RETRY_SECONDS = 1.0
"""After the store could not be written."""


class Sender:
    """The work of one endpoint on this node, from the first due delivery to the last."""

    def __init__(self, core: Core, poster: Poster, name: str, seconds: float) -> None:
        self._core = core
        self._poster = poster
        self._name = name
        self._seconds = seconds
        self._lock_ms = round(seconds * 1000) + LOCK_MARGIN_MS
        self._work = Work()
        self._queue: deque[tuple[Taken, str, int]] = deque()
        """Deliveries with the token they were taken under, and until when they are ours."""
        self._sending: set[asyncio.Task[Try]] = set()
        self._tries: list[Try] = []
        self._stopping = asyncio.Event()
        self.count = 0
        """Deliveries that were taken."""

    async def run(self) -> None:
        """Send all that is due."""
        while True:
            await self._exchange()
            if not self._queue and not self._sending:
                return
            await self._send()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()
        self._queue.clear()

    async def _exchange(self) -> None:
        """Tell the store what came of sending, and take more."""
        core = self._core
        while True:
            token = core.ids.token()
            here = len(self._queue) + len(self._sending)
            take = 0 if self._stopping.is_set() else max(0, TAKEN - here)
            told = len(self._tries)
            until = core.now() + self._lock_ms
            action = WorkDeliveries(name=self._name, token=token, tries=self._tries, take=take, lock_ms=self._lock_ms)
            try:
                acted = await core.act_for_itself(action)
                break
            except RoostError as error:
                if self._stopping.is_set():
                    raise
                log.warning("deliveries to %s cannot be recorded, trying again: %s", self._name, error)
                await core.clock.wait(self._stopping, _RETRY_SECONDS)
        del self._tries[:told]
        self._work = decode(acted.reply, Work)
        self.count += len(self._work.deliveries)
        self._queue.extend((taken, token, until) for taken in self._work.deliveries)
        if not self._work.url:
            # Disabled or deleted meanwhile: what is left is nobody's.
            self._queue.clear()

    async def _send(self) -> None:
        """Send until half of what is here is done, or all that was begun."""
        while self._queue or self._sending:
            while self._queue and len(self._sending) < CONCURRENCY:
                taken, token, until = self._queue.popleft()
                if self._core.now() + self._seconds * 1000 > until:
                    # Too late to be sure that it is still ours: it is due again when its lock is over.
                    continue
                self._sending.add(asyncio.ensure_future(self._try(taken, token)))
            if not self._sending:
                return
            done = await self._some()
            self._tries += [task.result() for task in done if not task.cancelled()]
            if not self._queue or len(self._tries) >= TAKEN // 2:
                return

    async def _some(self) -> set[asyncio.Task[Try]]:
        """What has ended, at least one; on the way down all, cut short where they take too long."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((*self._sending, stopping), return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.is_set():
                _, late = await asyncio.wait(self._sending, timeout=STOP_SECONDS)
                for task in late:
                    task.cancel()
                await asyncio.wait(self._sending)
        finally:
            stopping.cancel()
        done = {task for task in self._sending if task.done()}
        self._sending -= done
        return done

    async def _try(self, taken: Taken, token: str) -> Try:
        core = self._core
        at, began = core.now(), core.clock.monotonic()
        seconds, body = at // 1000, taken.body.encode()
        headers = {
            "content-type": "application/json",
            "webhook-id": taken.message,
            "webhook-timestamp": str(seconds),
            "webhook-signature": sign(self._work.secrets, taken.message, seconds, body),
        }
        status: int | None = None
        error: str | None = None
        response, retry_after = "", None
        try:
            answer = await self._poster.post(self._work.url, headers, body)
        except Undelivered as reason:
            error = str(reason)[:500]
        else:
            status, response = answer.status, answer.excerpt
            if not 200 <= status < 300:
                error = "redirects are not followed" if 300 <= status < 400 else f"answered {status}"
                retry_after = retry_after_ms(answer.retry_after, core.now())
        duration_ms = max(0, round((core.clock.monotonic() - began) * 1000))
        return Try(taken.id, token, at, duration_ms, status, error, response, retry_after)
