"""How batches count their members: by what the members are now, so that counting twice changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from roost.domain.flow import COUNTERS, Counted
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack, unpack


class Member(NamedTuple):
    """A job of a batch that is not finished."""

    job: int
    batch: int
    position: int
    counted: Counted | None
    chain: int


def members_of(transaction: Transaction, ids: list[int]) -> list[Member]:
    """Those of these jobs that belong to an unfinished batch."""
    return [Member(*row) for row in unpack(transaction.one("batch_members", ids=pack(ids)))]


def recount(transaction: Transaction, now_counted: Mapping[int, Counted | None]) -> list[int]:
    """Count these jobs in their unfinished batches as said, None as pending; the batches they belong to."""
    ids = sorted(now_counted)
    batches: list[int] = unpack(transaction.one("batch_members_lock", ids=pack(ids)))
    if not batches:
        return []
    changed: list[tuple[int, Counted | None]] = []
    differences: dict[int, dict[str | None, int]] = {}
    for member in members_of(transaction, ids):
        counted = now_counted[member.job]
        if counted != member.counted:
            changed.append((member.job, counted))
            difference = differences.setdefault(member.batch, {})
            difference[member.counted] = difference.get(member.counted, 0) - 1
            difference[counted] = difference.get(counted, 0) + 1
    if changed:
        transaction.send("member_count", rows=pack(changed))
        counts = [
            (batch, *(difference.get(counter, 0) for counter in (None, *COUNTERS)))
            for batch, difference in sorted(differences.items())
        ]
        transaction.send("batch_count", rows=pack(counts))
    return sorted(batches)
