"""How many jobs have ended: counted up by a loop behind the hot path, counted down by those who forget jobs."""

from __future__ import annotations

from roost.engine.driver import Transaction


def uncount(transaction: Transaction, ids: str) -> None:
    """Jobs (ids as JSON) are about to be forgotten, or to live again: those that were counted as ended count no more.

    The counts are locked before it is looked what they hold: another transaction may be counting.
    """
    if transaction.one("count_lock_of", ids=ids):
        transaction.send("count_subtract", ids=ids)
