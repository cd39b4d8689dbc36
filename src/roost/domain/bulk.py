"""Bulk operations: one action on everything that matches, carried out in sets."""

from __future__ import annotations

from typing import Literal

import msgspec

from roost.domain.states import TERMINAL, State

BulkAction = Literal["retry", "cancel", "delete", "move", "priority", "hold", "approve", "tag"]
BulkState = Literal["running", "paused", "done", "aborted", "failed"]

ENDED: frozenset[str] = frozenset({"done", "aborted", "failed"})
SET = 500
"""Jobs of one transaction."""

_LIVE = frozenset(set(State) - TERMINAL)
_NOT_STARTED = frozenset(_LIVE - {State.RUNNING})
TAKEN: dict[BulkAction, frozenset[State]] = {
    "retry": TERMINAL,
    "cancel": _LIVE,
    "delete": frozenset(set(State) - {State.RUNNING}),
    "move": _NOT_STARTED,
    "priority": _NOT_STARTED,
    "hold": frozenset({State.WAITING, State.READY}),
    "approve": frozenset({State.HELD}),
    "tag": frozenset(State),
}
"""The states in which a job can be meant; others are skipped."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to each job."""

    action: BulkAction
    now: int
    """The moment the query's relative times count from."""
    note: str = ""
    queue: str | None = None
    """Of move: where to; of retry too."""
    priority: int | None = None
    title: str = "held by hand"
    """Of hold."""
    tags: dict[str, str] | None = None
    untag: list[str] = []
    rate: float | None = None
    """Jobs a second at most."""
    last_hold: int | None = None
    """Of approve: the last of the holds that were quoted; what a job asks later, nobody has seen."""


def set_size(work: Work, limit: int = SET) -> int:
    """How many jobs the next set has: no more than a second's share of the rate."""
    return limit if work.rate is None else max(1, min(limit, int(work.rate)))


def pause_ms(work: Work, jobs: int) -> int:
    """How long to wait after a set of so many jobs."""
    return 0 if work.rate is None else round(jobs / work.rate * 1000)
