"""Heartbeats from a thread of their own: a handler that hogs the event loop does not lose its lease by that.

All leases of a worker are renewed in one call about every third of a lease. What handlers tell (progress, log lines,
saved state) travels along; when there is something to tell, a heartbeat leaves a moment later instead of waiting.

What was told is said once: a call that was not answered is repeated as it was, under the same operation id, before
anything newer of its attempts. Only the server's word that a lease is lost, or the lease's own end, stops a handler.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from roost.errors import LeaseLost, RoostError, Unavailable
from roost.sdk.attempt import Attempt
from roost.sdk.notes import CHARACTERS_PER_BEAT, MESSAGE_LENGTH, Told
from roost.sdk.patience import Patience, new_operation_id
from roost.sdk.transport import Calls
from roost.wire.attempts import Beat, Heartbeat, HeartbeatReply, NewLogLine
from roost.wire.contract import HEARTBEAT
from roost.wire.problems import Problem

logger = logging.getLogger("roost.worker")

BEATS_PER_CALL = 500
CHARACTERS_PER_CALL = 2 * CHARACTERS_PER_BEAT
"""Of log lines and state in one call: a busy worker splits what it tells rather than being refused as too large."""
TELL_AFTER = 0.2
"""Seconds between heartbeats that only carry what handlers tell."""
OF_THE_CONTENT = (400, 413, 422)
"""Refusals of what a call says; it would be refused again. Every other one may pass."""


@dataclass(slots=True, eq=False)
class _Call:
    """One heartbeat of several attempts, under one name however often it is sent."""

    beats: list[tuple[Attempt, Told | None]]
    operation_id: str

    @property
    def tells(self) -> bool:
        """Whether it says something that must be said, and only once."""
        return any(told is not None for _, told in self.beats)


class Heart:
    """Renews leases until it is stopped; `add`, `remove` and `flush` belong to the worker's loop."""

    def __init__(
        self,
        worker: str,
        lease: str,
        lease_seconds: float,
        transport: Calls,
        on_cancel: Callable[[Attempt], None],
        on_lost: Callable[[Attempt], None],
        on_drain: Callable[[], None],
    ) -> None:
        """``on_cancel``, ``on_lost`` and ``on_drain`` are called on the loop that `start` ran on."""
        self._worker = worker
        self._lease = lease
        self._seconds = lease_seconds
        self._transport = transport
        self._on_cancel = on_cancel
        self._on_lost = on_lost
        self._on_drain = on_drain
        self._patience = Patience(seconds=float("inf"), base=0.1, cap=lease_seconds / 6)
        self._attempts: dict[tuple[int, str], Attempt] = {}
        self._condition = threading.Condition()
        self._nudged = False
        self._flushes: list[tuple[Attempt, asyncio.Future[None]]] = []
        self._stopped = False
        self._last = 0.0
        self._next: float | None = None
        self._failures = 0
        self._quiet_until = 0.0
        """The server asked to be left alone until then."""
        self._unanswered: list[_Call] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name=f"roost-heart-{worker}", daemon=True)

    def start(self) -> None:
        """On the worker's loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def stop(self) -> None:
        """Carry nothing any more; returns when the thread has ended."""
        with self._condition:
            self._stopped = True
            self._condition.notify()
        await asyncio.to_thread(self._thread.join)

    def add(self, attempts: Iterable[Attempt]) -> None:
        """Renew these leases from now on."""
        # Under the lock: the thread must not come to rest over an empty dictionary that is being filled.
        with self._condition:
            for attempt in attempts:
                self._attempts[attempt.id, attempt.token] = attempt
            if self._next is None and self._attempts:
                self._next = time.monotonic() + self._seconds / 3
                self._condition.notify()

    def remove(self, attempt: Attempt) -> None:
        """Its lease is over, one way or another."""
        self._attempts.pop((attempt.id, attempt.token), None)

    def nudge(self) -> None:
        """A handler has something to tell; from any thread."""
        with self._condition:
            self._nudged = True
            self._condition.notify()

    async def flush(self, attempt: Attempt) -> None:
        """Return when all that the attempt told has arrived, or cannot arrive any more."""
        if attempt.notes is None or not attempt.notes.pending:
            return
        done = asyncio.get_running_loop().create_future()
        with self._condition:
            if self._stopped:
                return
            self._flushes.append((attempt, done))
            self._condition.notify()
        await done

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            flushes, everything = self._wait()
            if self._stopped:
                self._release([done for _, done in flushes])
                return
            try:
                self._round([attempt for attempt, _ in flushes], everything)
            except Exception:  # a heart that stops beating would lose every lease
                logger.exception("a heartbeat failed unexpectedly; the next one follows")
                self._plan(self._seconds / 6)
            self._finish(flushes)

    def _wait(self) -> tuple[list[tuple[Attempt, asyncio.Future[None]]], bool]:
        """Until it is time: what has to be flushed, and whether all leases are to be renewed."""
        with self._condition:
            while not self._stopped:
                now = time.monotonic()
                due = self._next
                if self._nudged or self._flushes:
                    # Told again and again to a server that does not answer, it would only be told more often.
                    soon = self._last if self._flushes and not self._failures else self._last + TELL_AFTER
                    soon = max(soon, self._quiet_until)
                    due = soon if due is None else min(soon, due)
                if due is not None and due <= now:
                    break
                self._condition.wait(None if due is None else due - now)
            self._nudged = False
            flushes, self._flushes = self._flushes, []
            return flushes, self._next is not None and self._next <= time.monotonic()

    def _round(self, flushes: Sequence[Attempt], everything: bool) -> None:
        now = time.monotonic()
        self._last = now
        with self._condition:
            attempts = list(self._attempts.values())
            if everything:
                self._next = now + self._seconds / 3 if attempts else None
        for attempt in attempts:
            if attempt.lease_until <= now and not attempt.ended:
                self._tell_loop(self._on_lost, attempt)
        tried = self._repeat(now)
        chosen = [
            attempt
            for attempt in attempts
            if attempt.lease_until > now
            and (attempt.stale_at is None or now < attempt.stale_at)
            and ((everything and attempt not in tried) or (attempt.notes is not None and attempt.notes.waiting))
        ]
        beats: list[tuple[Attempt, Told | None]] = []
        size = 0
        for attempt in chosen:
            told = None if attempt.notes is None else attempt.notes.take()
            length = _length(told)
            if beats and (len(beats) >= BEATS_PER_CALL or size + length > CHARACTERS_PER_CALL):
                self._beat(beats)
                beats, size = [], 0
            beats.append((attempt, told))
            size += length
        if beats:
            self._beat(beats)

    def _repeat(self, now: float) -> set[Attempt]:
        """Say again what was not answered; the attempts of those calls: they have had their heartbeat."""
        calls, self._unanswered = self._unanswered, []
        tried: set[Attempt] = set()
        for call in calls:
            tried.update(attempt for attempt, _ in call.beats)
            if any(self._beats(attempt) and attempt.lease_until > now for attempt, _ in call.beats):
                self._try(call)
            else:
                self._over(call)
        return tried

    def _beats(self, attempt: Attempt) -> bool:
        return (attempt.id, attempt.token) in self._attempts

    def _beat(self, beats: list[tuple[Attempt, Told | None]]) -> None:
        self._try(_Call(beats, new_operation_id()))

    def _try(self, call: _Call) -> None:
        sent_at = time.monotonic()
        try:
            reply = self._send(call)
        except RoostError as error:
            if error.status in OF_THE_CONTENT:
                self._one_by_one(call, error)
            else:
                self._failed(call, error)
            return
        except Exception as error:  # a heart that stops beating would lose every lease
            logger.exception("a heartbeat failed unexpectedly")
            self._failed(call, Unavailable(repr(error)))
            return
        self._failures = 0
        self._renewed(call.beats, reply, sent_at)
        if reply.drain:
            self._tell_loop(self._on_drain)

    def _failed(self, call: _Call, error: RoostError) -> None:
        """Not heard, or not now: what it tells is said again, under the same name."""
        self._failures += 1
        if call.tells:
            self._unanswered.append(call)
        pause = min(self._patience.pause(self._failures, error, 0.0) or self._seconds / 6, self._seconds / 6)
        self._quiet_until = time.monotonic() + pause
        self._plan(pause)
        logger.warning("heartbeat for %d jobs failed, again in %.1f s: %s", len(call.beats), pause, error)

    def _one_by_one(self, call: _Call, error: RoostError) -> None:
        """A refused call: what one handler told is to blame; that alone is dropped, and no lease is lost by it."""
        if len(call.beats) > 1:
            for beat in call.beats:
                self._beat([beat])
            return
        attempt, told = call.beats[0]
        if told is None:
            logger.error("the heartbeat of %r was refused: %s", attempt, error, extra=attempt.tag)
            return
        if not self._in_parts(attempt, told, Problem.of(error)):
            self._beat([(attempt, None)])

    def _in_parts(self, attempt: Attempt, told: Told, problem: Problem) -> bool:
        """Tell what was refused in parts, or drop what has none; whether there were any."""
        notes = attempt.notes
        if notes is None:
            return False
        parts = told.parts()
        if len(parts) > 1:
            notes.divided(len(parts))
            for part in parts:
                self._beat([(attempt, part)])
            return True
        logger.error("what %r told was refused and is dropped: %s", attempt, problem.message, extra=attempt.tag)
        if not told.logs:
            # For whoever misses it there; a log that is refused itself cannot say so.
            message = f"what the handler told was refused and is dropped: {problem.message}"[:MESSAGE_LENGTH]
            notes.log(NewLogLine(message=message, level="error"))
        notes.sent()
        return False

    def _over(self, call: _Call) -> None:
        for attempt, told in call.beats:
            if told is not None and attempt.notes is not None:
                attempt.notes.sent()

    def _send(self, call: _Call) -> HeartbeatReply:
        wire = []
        for attempt, told in call.beats:
            beat = Beat(id=attempt.id, token=attempt.token)
            if told is not None:
                beat.progress, beat.saved, beat.logs = told.progress, told.saved, told.logs
            wire.append(beat)
        named = call.operation_id if call.tells and self._transport.repeatable else None
        return self._transport.send(HEARTBEAT, Heartbeat(worker=self._worker, lease=self._lease, beats=wire), named)

    def _renewed(self, beats: list[tuple[Attempt, Told | None]], reply: HeartbeatReply, sent_at: float) -> None:
        for (attempt, told), answer in zip(beats, reply.beats, strict=True):
            lost = answer.error is not None and answer.error.code == LeaseLost.code
            if told is not None and answer.error is not None and not lost:
                self._in_parts(attempt, told, answer.error)
            elif told is not None and attempt.notes is not None:
                attempt.notes.sent()
            if lost:
                attempt.lease_until = 0.0
                self._tell_loop(self._on_lost, attempt)
                continue
            # A part that was told meanwhile may have renewed it already.
            attempt.lease_until = max(attempt.lease_until, sent_at + self._seconds)
            if answer.cancel:
                self._tell_loop(self._on_cancel, attempt)

    def _finish(self, flushes: list[tuple[Attempt, asyncio.Future[None]]]) -> None:
        """Answer the flushes that are done; the others stay for the next round."""
        now = time.monotonic()
        done: list[tuple[Attempt, asyncio.Future[None]]] = []
        left: list[tuple[Attempt, asyncio.Future[None]]] = []
        for attempt, future in flushes:
            open_ = attempt.notes is not None and attempt.notes.pending and attempt.lease_until > now
            (left if open_ else done).append((attempt, future))
        if left:
            with self._condition:
                self._flushes[:0] = left
        self._release([future for _, future in done])

    def _plan(self, seconds: float) -> None:
        with self._condition:
            self._next = time.monotonic() + seconds

    def _release(self, futures: list[asyncio.Future[None]]) -> None:
        for future in futures:
            self._tell_loop(_resolve, future)

    def _tell_loop(self, function: Callable[..., None], *args: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _length(told: Told | None) -> int:
    return 0 if told is None else told.length
