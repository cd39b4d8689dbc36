"""What a job's change of state means for everything else: the one place every path goes through.

Settles, reaped leases, cancels, expiries, decisions and deletions end here, however the job came and however it was
acknowledged; only the plain success of a job whose end concerns nobody (`settle_plain`) does not need to.
"""

from __future__ import annotations

import msgspec

from roost.domain.flow import QUARANTINE
from roost.domain.records import Flag
from roost.domain.states import TERMINAL, State
from roost.engine.batch import Effects
from roost.engine.driver import Transaction
from roost.engine.work import limiting
from roost.engine.work.dues import note_due as note_due
from roost.engine.work.feed import tell_changes
from roost.engine.work.members import recount
from roost.engine.work.ordering import rank_again
from roost.engine.work.texts import pack


class Change(msgspec.Struct, frozen=True):
    """One job's move from a state to another."""

    id: int
    queue: str
    before: State
    after: State
    reason: str | None
    flags: int


_APART = (State.WAITING, State.HELD)


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
    placed = [change.id for change in changes if _needs_place(change)]
    if placed:
        rank_again(transaction, placed, now)
    limited = [change for change in changes if change.flags & Flag.LIMITED and change.after is not change.before]
    if limited:
        left = [limiting.Left(change.id, change.queue, change.before, change.after) for change in limited]
        limiting.leave(transaction, left, now, effects)
    concerned = [change for change in changes if change.flags & Flag.FLOW]
    if concerned:
        _tell_flow(transaction, concerned, effects)


def _needs_place(change: Change) -> bool:
    """Whether it goes to the ready jobs from elsewhere, and its queue may order them otherwise than by priority."""
    if change.before in TERMINAL:
        return change.after not in TERMINAL
    return bool(change.flags & Flag.FAIR) and change.after is State.READY and change.before in _APART


def _tell_flow(transaction: Transaction, changes: list[Change], effects: Effects) -> None:
    """Ends are noted for `roost.engine.actions.flow` to carry on; members that live again count as pending at once."""
    ended = [change.id for change in changes if change.after in TERMINAL or change.reason == QUARANTINE]
    if ended:
        transaction.send("flow_todo_put", ids=pack(ended))
        effects.flow = True
    alive = [
        change.id
        for change in changes
        if (change.before in TERMINAL or change.before is State.HELD) and change.after not in TERMINAL
    ]
    if alive:
        recount(transaction, dict.fromkeys(alive))
