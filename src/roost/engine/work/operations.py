"""Operation ids: a call repeated with the same id gets the answer it got, and nothing happens again."""

from __future__ import annotations

import msgspec

from roost.engine.driver import Transaction
from roost.engine.protocol import Batch, ClaimAnswer, EnqueuedRow, Operation
from roost.engine.work.texts import pack, unpack
from roost.errors import OperationMismatch
from roost.wire.problems import Problem


class Known(msgspec.Struct):
    """What earlier calls with these ids were answered; ``answer`` gives it, or the refusal of another request."""

    answers: dict[str, tuple[str, str]]

    def answer(self, operation: Operation | None) -> str | Problem | None:
        """None: not known, do the work."""
        found = self.answers.get(operation.id) if operation else None
        if found is None or operation is None:
            return None
        fingerprint, answer = found
        if fingerprint != operation.fingerprint:
            return Problem.of(
                OperationMismatch(
                    f"the operation id {operation.id} was used for another request",
                    help="make a new id for each request",
                )
            )
        return answer


NONE = Known({})


def look_up(transaction: Transaction, ids: list[str], now: int) -> Known:
    """The answers to these ids; those found are touched, so that repeating an answer is a write like the first was."""
    rows = unpack(transaction.one("operations_known", ids=pack(ids)))
    if rows:
        transaction.run("operations_touch", ids=pack([row[0] for row in rows]), now=now)
    return Known({id: (fingerprint, answer) for id, fingerprint, answer in rows})


def known(transaction: Transaction, batch: Batch) -> Known:
    """What is known of a batch's operation ids; no statement where there are none."""
    operations = [work.operation for work in batch.enqueues] + [work.operation for work in batch.claims]
    ids = [operation.id for operation in operations if operation]
    return look_up(transaction, ids, batch.now) if ids else NONE


def remember(
    transaction: Transaction,
    batch: Batch,
    known: Known,
    enqueued: list[list[EnqueuedRow] | Problem],
    claimed: list[ClaimAnswer | Problem],
) -> None:
    """Store the answers of the batch's new operations; another transaction with one of the ids makes it start again.

    A claim that got nothing is not worth a write: repeated, it is a new claim.
    """
    rows: dict[str, tuple[str, str, str]] = {}
    for work, answer in zip(batch.enqueues, enqueued, strict=True):
        operation = work.operation
        if operation and operation.id not in known.answers and not isinstance(answer, Problem):
            rows.setdefault(operation.id, (operation.id, operation.fingerprint, pack(answer)))
    for claim, got in zip(batch.claims, claimed, strict=True):
        operation = claim.operation
        if operation and operation.id not in known.answers and isinstance(got, ClaimAnswer) and got.count:
            rows.setdefault(operation.id, (operation.id, operation.fingerprint, claim.token))
    if rows:
        transaction.run("operations_put", rows=pack(list(rows.values())), now=batch.now)
