"""Brings what waits in an outbox table to Roost, in order, each row exactly once; docs/decisions/0011 says why once.

Three steps, each safe to be the last: the next rows get a batch's number, committed; the batch is sent, and the
server stores a number once; the answered rows are taken away, committed. Whoever comes after a crash finds the number
and sends the same batch again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Sequence
from typing import Protocol

import msgspec

from roost.domain.duration import format_duration, parse_duration, to_milliseconds
from roost.errors import Conflict, Overloaded, RequestTimeout, RoostError
from roost.outboxes import table
from roost.outboxes.links import Link
from roost.outboxes.places import Place, open_place
from roost.outboxes.table import Batch, Row
from roost.sdk.outcome import DurationLike
from roost.sdk.patience import Patience
from roost.service.clock import Clock, SystemClock
from roost.service.ids import SystemIds
from roost.wire.jobs import Enqueued, NewJob
from roost.wire.problems import Problem

log = logging.getLogger("roost.outbox")

ROWS = 500
"""In one batch."""
BYTES = 512 * 1024
"""Of jobs in one batch: what a server takes in one body, with room to spare."""
LEASE_MS = 15_000
"""How long a relay that is not heard of keeps the others away."""
SAFETY_SECONDS = 1.0
"""How often the table is looked at although nothing was heard."""
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
FORGET_EVERY_MS = 60_000


class Deliver(Protocol):
    """Where batches go: ``client.outboxes``."""

    def deliver(self, outbox: str, number: int, contents: str, jobs: Sequence[NewJob]) -> Sequence[Enqueued]: ...


class Relay:
    """One relay of one outbox; any number may run, of which one works at a time and the others stand by.

    ``database`` is where the outbox table is (``postgresql://…``, ``sqlite:///file``), ``server`` the Roost the jobs
    go to: a server's URL, or a store's, which is opened in this process. ``keep`` is how long delivered rows stay, with
    the ids of their jobs; None deletes them at once.
    """

    def __init__(
        self,
        database: str | Place,
        server: str,
        *,
        keep: DurationLike | None = None,
        name: str | None = None,
        clock: Clock | None = None,
        deliver: Deliver | None = None,
    ) -> None:
        """Nothing is opened yet. Raises `InvalidDuration`."""
        self._database = database
        self._server = server
        self._keep_ms = None if keep is None else to_milliseconds(keep, path="keep")
        self.name = name or f"relay-{SystemIds().token()[:12]}"
        self._clock = clock or SystemClock()
        self._deliver = deliver
        self._place: Place | None = None
        self._stopped = threading.Event()
        self._forgot_at = 0
        self.delivered = 0
        """Jobs brought since the start."""
        self.refused = 0
        """Rows set aside since the start."""

    async def run(self) -> None:
        """Bring rows until `stop` (or until the task is cancelled), in a thread of its own; see `run_sync`."""
        task = asyncio.ensure_future(asyncio.to_thread(self.run_sync))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            self.stop()
            await asyncio.wait([task])
            raise

    def run_sync(self) -> None:
        """Bring rows until `stop` is called; what cannot be reached is tried again.

        Raises `ConfigurationError`, `NotFound` and `StoreOwned` where trying again cannot help at the start.
        """
        with _opened(self) as (place, deliver):
            with place.transaction() as link:
                table.require(link)
            try:
                self._bring(place, deliver)
            finally:
                self._release(place)

    def run_until_empty(self) -> int:
        """Bring what waits now and return how many jobs that were; raises what stands in the way."""
        with _opened(self) as (place, deliver):
            with place.transaction() as link:
                table.require(link)
            before = self.delivered
            try:
                while self.step(place, deliver):
                    pass
            finally:
                self._release(place)
            return self.delivered - before

    def stop(self) -> None:
        """End `run` after the step that is under way; from any thread."""
        self._stopped.set()
        place = self._place
        if place is not None:
            place.wake()

    def _bring(self, place: Place, deliver: Deliver) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                if self.step(place, deliver) == 0:
                    place.wait(SAFETY_SECONDS)
                failures = 0
            except RoostError as error:
                failures += 1
                # Another one may reach what this one cannot.
                self._release(place)
                pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(failures, 10))
                log.warning("the outbox is not emptied, trying again in %.1f s: %s", pause, error)
                self._stopped.wait(pause)

    def step(self, place: Place, deliver: Deliver) -> int:
        """Bring one batch; how many rows were in it. Raises what stands in the way: the batch is sent again then."""
        with place.transaction() as link:
            self._forget(link)
            batch = None
            if table.has_work(link):
                batch = table.compose(link, self.name, self._clock.now(), lease_ms=LEASE_MS, limit=ROWS, size=BYTES)
        if batch is None:
            return 0
        try:
            # A row that this Roost cannot read is refused like one the server cannot.
            jobs = [_aged(row, self._clock.now()) for row in batch.rows]
            answers = deliver.deliver(batch.outbox, batch.number, batch.contents, jobs)
        except (Overloaded, RequestTimeout):
            raise
        except RoostError as error:
            if error.status >= 500:
                raise
            self._refused(place, deliver, batch, error)
        else:
            self._answered(place, batch, answers)
        return len(batch.rows)

    def _answered(self, place: Place, batch: Batch, answers: Sequence[Enqueued]) -> None:
        if not answers:
            # A relay before us had to give this number up.
            self._give_up(place, batch, None)
            return
        pairs = list(zip(batch.rows, answers, strict=True))
        refused = {row.id: answer.error for row, answer in pairs if answer.error is not None}
        delivered = {row.id: answer.id for row, answer in pairs if answer.error is None}
        with place.transaction() as link:
            if refused:
                table.set_aside(link, batch, refused)
            if delivered:
                table.acknowledge(link, batch, delivered, self._clock.now(), self._keep_ms is not None)
        self.delivered += len(delivered)
        self._tell_refused(refused)

    def _refused(self, place: Place, deliver: Deliver, batch: Batch, error: RoostError) -> None:
        """The server refused the batch as a whole: see to it that it never takes it, then go on without it."""
        if isinstance(error, Conflict) and error.path == "number":
            with place.transaction() as link:
                renamed = table.rename(link, batch)
            if renamed:
                log.warning("the outbox is an older state or a copy of another: it goes on under a new name: %s", error)
            return
        answers = deliver.deliver(batch.outbox, batch.number, batch.contents, [])
        if answers:
            # An earlier sending of the same batch was stored after all.
            self._answered(place, batch, answers)
        else:
            self._give_up(place, batch, Problem.of(error))

    def _give_up(self, place: Place, batch: Batch, problem: Problem | None) -> None:
        """The batch's number is used up and nothing of it is stored: one row is at fault, and is found alone."""
        with place.transaction() as link:
            if len(batch.rows) > 1 or problem is None:
                table.send_singly(link, batch)
                return
            refused = {batch.rows[0].id: problem}
            table.set_aside(link, batch, refused)
        self._tell_refused(refused)

    def _tell_refused(self, refused: dict[str, Problem]) -> None:
        self.refused += len(refused)
        for id, problem in refused.items():
            log.warning("row %s of the outbox is set aside: %s: %s", id, problem.code, problem.message)

    def _release(self, place: Place) -> None:
        """Let the others have the outbox; where the database is away, the lease's end does."""
        with contextlib.suppress(RoostError), place.transaction() as link:
            table.release(link, self.name)

    def _forget(self, link: Link) -> None:
        now = self._clock.now()
        if self._keep_ms is not None and now - self._forgot_at >= min(FORGET_EVERY_MS, self._keep_ms):
            self._forgot_at = now
            table.forget(link, now - self._keep_ms)


class _opened:
    """The relay's database and client, open for a block; what it was given stays its giver's."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay

    def __enter__(self) -> tuple[Place, Deliver]:
        from roost.sdk._sync.client import Client

        relay = self._relay
        self._client: Client | None = None
        database = relay._database
        relay._place = self._place = open_place(database) if isinstance(database, str) else database
        if relay._deliver is not None:
            return self._place, relay._deliver
        try:
            # The relay's own loop is patient: it looks whether it was stopped.
            self._client = Client.connect(relay._server, patience=Patience(seconds=2.0))
        except BaseException:
            self.__exit__()
            raise
        return self._place, self._client.outboxes

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
        if isinstance(self._relay._database, str):
            self._relay._place = None
            self._place.close()


def _aged(row: Row, now: int) -> NewJob:
    """The row's job; durations that count from its enqueue are what is left of them."""
    job = row.new_job()
    age = max(0, now - row.created_at)
    changes: dict[str, object] = {}
    if job.deadline is not None:
        changes["deadline"] = format_duration(max(1, parse_duration(job.deadline) - age))
    if job.unique is not None and job.unique.within is not None:
        left = max(1, parse_duration(job.unique.within) - age)
        changes["unique"] = msgspec.structs.replace(job.unique, within=format_duration(left))
    if job.hold is not None and job.hold.expires is not None:
        left = max(1, parse_duration(job.hold.expires) - age)
        changes["hold"] = msgspec.structs.replace(job.hold, expires=format_duration(left))
    return msgspec.structs.replace(job, **changes) if changes else job
