"""Batches of outboxes: each is stored once, however often it is sent."""

from __future__ import annotations

from roost.engine.batch import Effects
from roost.engine.calls import Acted, DeliverBatch
from roost.engine.driver import Retry, Transaction
from roost.engine.work import enqueues
from roost.errors import Conflict
from roost.wire.codec import encode
from roost.wire.jobs import Enqueued, EnqueuedJobs


def deliver(transaction: Transaction, action: DeliverBatch, now: int) -> Acted:
    """Store the batch's jobs, or say what was said when they were; count 0 then. Raises `Conflict` for an old batch."""
    for number, contents, reply in transaction.rows("outbox_last", outbox=action.outbox):
        if number == action.number and contents == action.contents:
            transaction.send("outbox_touch", outbox=action.outbox, now=now)
            return Acted(reply, Effects(), 0)
        if number >= action.number:
            raise Conflict(
                f"batch {action.number} of the outbox was passed: {number} was stored",
                path="number",
                help="another relay was faster; or the outbox is a copy, or was restored from a backup",
            )
    effects = Effects()
    stored = iter(enqueues.insert(transaction, [row for row in action.rows if row is not None], now, effects))
    answers = []
    for row, refused in zip(action.rows, action.refused, strict=True):
        if row is None:
            answers.append(Enqueued(id=0, error=refused))
        else:
            answer = next(stored)
            answers.append(Enqueued(id=answer.id, duplicate=answer.duplicate, error=answer.problem))
    text = encode(EnqueuedJobs(jobs=answers)).decode()
    if not transaction.run(
        "outbox_put", outbox=action.outbox, number=action.number, contents=action.contents, reply=text, now=now
    ):
        # Another relay stored this number, or a later one, since we looked: look again.
        raise Retry
    return Acted(text, effects, len(action.rows))
