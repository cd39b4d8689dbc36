"""The feed's reading side: rows in the order of their commits, never past a number that may still be committed.

A missing number belongs to a transaction that was rolled back, or to one that has not committed yet. Which of them, its
lock tells: whoever draws a number holds a lock on the table from before he draws it until its row is visible. So the
reader remembers who held one after it saw the gap. When they all have ended, what is still missing in a later snapshot
is missing for good. Transactions that have nothing to do with the feed hold nobody up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import pairwise

import msgspec

from roost.domain.feed import GONE, WHOLE, Happening, Position, expand
from roost.engine.session import Session
from roost.engine.work.texts import pack, unpack
from roost.errors import CursorTooOld

ROWS = 64
"""Read with one statement."""
TAIL = 1000
"""How far back from the newest row a gap counts for somebody who starts now."""


class FeedSlice(msgspec.Struct, kw_only=True):
    """Events that follow a position."""

    events: list[Happening]
    start: Position
    """Where it began."""
    position: Position
    """Where to go on."""
    more: bool
    """There is more to read at once."""
    gap: bool
    """Something newer waits behind a transaction whose end is not known yet: look again soon."""


class _Doubt(msgspec.Struct):
    """Numbers up to ``bound`` may still be committed, by ``writers`` and nobody else."""

    bound: int
    writers: set[str]


class FeedReader:
    """Reads the feed through ``session``, each call one snapshot or two; thread-safe."""

    def __init__(self, session: Callable[[], AbstractContextManager[Session]]) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._settled = 0
        """What is missing up to here, in snapshots that begin from now on, is missing for good."""
        self._doubt: _Doubt | None = None

    def newest(self) -> Position:
        """Behind everything that is committed, but before what may still be: a follower from here misses nothing."""
        for _ in range(2):
            with self._lock:
                settled = self._settled
            with self._session() as session:
                recent = [row[0] for row in session.rows("feed_tail", limit=TAIL)]
                newest = recent[0] if recent else 0
                if len(recent) < TAIL:
                    recent.append(session.one("feed_floor"))
                solid = newest
                for later, earlier in pairwise(recent):
                    if later - 1 > max(earlier, settled):
                        solid = earlier
                if solid == newest:
                    break
                self._settle(newest, session)
        return Position(solid)

    def read(self, after: Position | None, limit: int) -> FeedSlice:
        """Up to ``limit`` events behind ``after`` (None: from the oldest that is kept).

        Raises `CursorTooOld` where some of them are kept no more.
        """
        for _ in range(2):
            found = self._read(after, limit)
            if found.events or not found.gap:
                break
        return found

    def _read(self, after: Position | None, limit: int) -> FeedSlice:
        with self._lock:
            # Before the snapshot begins: what is settled later may be missing from it.
            settled = self._settled
        events: list[Happening] = []
        gap = False
        with self._session() as session:
            newest = session.one("feed_newest")
            start = position = _start(after, session.one("feed_floor"), newest)
            while len(events) < limit:
                last = position.seq if position.index >= WHOLE else position.seq - 1
                found = session.rows("feed_rows", after=last, limit=ROWS)
                for seq, at, facts in found:
                    if seq > last + 1 and seq - 1 > settled:
                        gap = True
                        break
                    for happening in expand(seq, at, facts, position):
                        if len(events) == limit:
                            break
                        events.append(happening)
                        position = happening.position
                    else:
                        position = Position(seq)
                        last = seq
                        continue
                    break
                if gap or len(found) < ROWS:
                    break
            self._name(session, events)
            if gap:
                self._settle(newest, session)
        return FeedSlice(
            events=events, start=start, position=position, more=not gap and position < Position(newest), gap=gap
        )

    def _settle(self, newest: int, session: Session) -> None:
        """Look who may still fill a gap, after the snapshot that has it."""
        writers = set(unpack(session.one("feed_writers")))
        with self._lock:
            doubt = self._doubt
            if doubt is None:
                doubt = self._doubt = _Doubt(newest, writers)
            else:
                doubt.writers &= writers
            if not doubt.writers:
                self._settled = max(self._settled, doubt.bound)
                self._doubt = None

    @staticmethod
    def _name(session: Session, events: list[Happening]) -> None:
        """Tell each event its job's queue and kind."""
        ids = sorted({event.job for event in events if event.job is not None})
        if not ids:
            return
        names = {id: (queue, kind) for id, queue, kind in unpack(session.one("feed_jobs", ids=pack(ids)))}
        for event in events:
            if event.job is not None:
                # Of a job that was deleted long after its end only its deletion is told, which says it itself.
                told = (event.data.get("queue"), event.data.get("kind")) if event.type in GONE else (None, None)
                event.queue, event.kind = names.get(event.job, told)


def _start(after: Position | None, floor: int, newest: int) -> Position:
    if after is None:
        return Position(floor)
    if after < Position(floor):
        raise CursorTooOld(
            f"events after {after} are kept no more", path="after", help=f"the oldest position that is kept is {floor}"
        )
    if after.seq > newest:
        raise CursorTooOld(
            f"the feed ends at {newest}, before {after}",
            path="after",
            help="was the store replaced by an older one? start again from its newest event",
        )
    return after
