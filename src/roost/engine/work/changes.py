"""What a job's change of state means for everything else: the one place every path goes through.

Settles, reaped leases, cancels, expiries, decisions and deletions end here, however the job came and however it was
acknowledged; only the plain success of a job whose end concerns nobody (`settle_plain`) does not need to.
"""

from __future__ import annotations

import msgspec

from roost.domain.records import Flag
from roost.domain.states import TERMINAL, State
from roost.engine.driver import Transaction
from roost.engine.protocol import Effects
from roost.engine.work.feed import tell_changes


class Change(msgspec.Struct, frozen=True):
    """One job's move from a state to another."""

    id: int
    queue: str
    before: State
    after: State
    reason: str | None
    flags: int


def follow_up(transaction: Transaction, changes: list[Change], now: int, effects: Effects) -> None:
    """Carry on what these changes (already written) mean for those who wait, in the same transaction."""
    tell_changes(transaction, [(each.id, each.after, each.reason) for each in changes if each.after is not each.before])
    for change in changes:
        if change.after is State.READY:
            effects.ready[change.queue] = effects.ready.get(change.queue, 0) + 1
        elif change.after in TERMINAL:
            effects.ended.append(change.id)
            if change.flags & Flag.WATCHED:
                effects.schedules = True


def note_due(effects: Effects, at: int) -> None:
    """Something stored now wants attention at ``at``."""
    if effects.due_at is None or at < effects.due_at:
        effects.due_at = at
