"""What keys allow, set by people."""

from __future__ import annotations

from roost.engine import rows
from roost.engine.batch import Effects
from roost.engine.calls import Acted, SetLimit
from roost.engine.driver import Transaction
from roost.engine.work import limiting
from roost.engine.work.moves import record
from roost.wire.codec import encode


def edit(transaction: Transaction, action: SetLimit, now: int) -> Acted:
    """Set what a key allows; who waits for it is let go at once where it allows more."""
    effects = Effects()
    limiting.put_numbers(transaction, {action.key: action.numbers}, now, effects, anything=True)
    said = {"key": action.key, "concurrency": action.numbers.concurrency, "rate": action.numbers.rate}
    record(transaction, [(None, "limit_edited", action.actor, {**said, "burst": action.numbers.burst})], now)
    return Acted(encode(rows.limiter(transaction.row("limiter_row", key=action.key), now)).decode(), effects, 1)
