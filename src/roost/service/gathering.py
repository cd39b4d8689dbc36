"""Many calls into one batch, one answer into many."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from roost.domain.states import State
from roost.engine.batch import (
    Applied,
    Batch,
    BeatenRow,
    BeatRow,
    ClaimAnswer,
    ClaimWork,
    EnqueuedRow,
    EnqueueWork,
    SettledRow,
    SettleRow,
    StepAnswer,
    StepRow,
)
from roost.service.hub import Hub
from roost.service.lane import Lane, Waiting
from roost.wire.problems import Problem

Enqueue = Waiting[EnqueueWork, "list[EnqueuedRow] | Problem"]
GiveBack = Callable[[ClaimAnswer], None]


class Gathered:
    """The calls of one batch."""

    __slots__ = ("beats", "claims", "enqueues", "settles", "steps", "was_contended")

    def __init__(self, enqueues: list[Enqueue]) -> None:
        self.settles: list[Waiting[list[SettleRow], list[SettledRow]]] = []
        self.beats: list[Waiting[list[BeatRow], list[BeatenRow]]] = []
        self.steps: list[Waiting[StepRow, StepAnswer]] = []
        self.claims: list[Waiting[ClaimWork, ClaimAnswer | Problem]] = []
        self.enqueues = enqueues
        self.was_contended = False
        """Whether an open transaction stood in its way."""

    @classmethod
    def take(cls, lanes: Lanes, rows: int, size: int) -> Gathered:
        """What waits, as much as fits."""
        # What is never shed goes first; every lane gets at least one call into a batch, so that none starves another.
        gathered = cls([])
        gathered.settles = lanes.settles.take(rows, size)
        gathered.beats = lanes.beats.take(rows, size)
        gathered.steps = lanes.steps.take(rows, size)
        gathered.claims = lanes.claims.take(rows, size)
        gathered.enqueues = lanes.enqueues.take(rows, size)
        return gathered

    def apart(self) -> list[Gathered]:
        """The same calls in several batches, none where that is the batch it is already.

        First what is never shed, then claims and jobs without a unique key, then each call with keys alone.
        """
        self.was_contended = True
        first, rest = Gathered([]), Gathered([])
        first.settles, first.beats, first.steps, rest.claims = self.settles, self.beats, self.steps, self.claims
        alone: list[Gathered] = []
        for call in self.enqueues:
            if any(row.unique is not None for row in call.work.rows):
                alone.append(Gathered([call]))
            else:
                rest.enqueues.append(call)
        parts = [part for part in (first, rest, *alone) if part]
        return parts if len(parts) > 1 else []

    def __bool__(self) -> bool:
        return bool(self.enqueues or self.claims or self.settles or self.beats or self.steps)

    @property
    def keys(self) -> set[str]:
        """The unique keys its jobs wish for."""
        return {row.unique.key for call in self.enqueues for row in call.work.rows if row.unique is not None}

    def invite(self, hub: Hub) -> None:
        """Let idle claims of the queues that this batch feeds join it: their workers save a commit's time."""
        if not self.enqueues or not hub.has_idle:
            return
        ready: dict[str, int] = {}
        for call in self.enqueues:
            for row in call.work.rows:
                shape = row.shape
                if shape.state is State.READY:
                    ready[shape.queue] = ready.get(shape.queue, 0) + 1
        self.claims += hub.join(ready)

    def batch(self, now: int) -> Batch:
        """The transaction's work."""
        return Batch(
            now=now,
            enqueues=[call.work for call in self.enqueues],
            settles=[call.work for call in self.settles],
            beats=[call.work for call in self.beats],
            steps=[call.work for call in self.steps],
            claims=[call.work for call in self.claims],
        )

    def deliver(self, applied: Applied, give_back: GiveBack) -> int:
        """Hand the answers over; the longest lease that was granted, in milliseconds (0: none)."""
        for enqueue, stored in zip(self.enqueues, applied.enqueued, strict=True):
            enqueue.answer(stored)
        for settle, settled in zip(self.settles, applied.settled, strict=True):
            settle.answer(settled)
        for beat, beaten in zip(self.beats, applied.beaten, strict=True):
            beat.answer(beaten)
        for step, recorded in zip(self.steps, applied.steps, strict=True):
            step.answer(recorded)
        granted = 0
        for claim, leased in zip(self.claims, applied.claimed, strict=True):
            if isinstance(leased, ClaimAnswer) and leased.count:
                granted = max(granted, leased.lease_ms)
                self._count_taken(claim.work, leased, applied.effects.ready)
                if not claim.answer(leased):
                    give_back(leased)
            else:
                claim.answer(leased)
        return granted

    def refuse(self, error: BaseException) -> None:
        """Tell every caller that the batch failed."""
        for call in chain[Waiting[Any, Any]](self.enqueues, self.claims, self.settles, self.beats, self.steps):
            call.refuse(error)

    @staticmethod
    def _count_taken(work: ClaimWork, leased: ClaimAnswer, ready: dict[str, int]) -> None:
        """Jobs that became ready and were claimed in this very batch wake nobody."""
        if len(work.queues) != 1 or work.queues[0] not in ready:
            # Which of several queues the jobs came from is not told; waking one claim too many does no harm.
            return
        left = ready[work.queues[0]] - leased.count
        if left > 0:
            ready[work.queues[0]] = left
        else:
            del ready[work.queues[0]]


class Lanes:
    """All that waits for a batch."""

    def __init__(self) -> None:
        self.enqueues: Lane[EnqueueWork, list[EnqueuedRow] | Problem] = Lane()
        self.claims: Lane[ClaimWork, ClaimAnswer | Problem] = Lane()
        self.settles: Lane[list[SettleRow], list[SettledRow]] = Lane()
        self.beats: Lane[list[BeatRow], list[BeatenRow]] = Lane()
        self.steps: Lane[StepRow, StepAnswer] = Lane()

    def __bool__(self) -> bool:
        return bool(self.enqueues or self.claims or self.settles or self.beats or self.steps)
