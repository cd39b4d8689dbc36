"""Operation ids: a call repeated with the same id gets the answer it got, and nothing happens again."""

from __future__ import annotations

from roost.engine.batch import Batch, EnqueuedRow, Operation
from roost.engine.driver import Answer, Transaction
from roost.engine.work.claimed import Claimed, Taken
from roost.engine.work.texts import pack, unpack
from roost.errors import OperationMismatch
from roost.wire.problems import Problem


class Known:
    """What earlier calls with these ids were answered; it is waited for when somebody looks."""

    def __init__(self, transaction: Transaction, ids: list[str], now: int) -> None:
        self._transaction = transaction
        self._now = now
        self._answers: dict[str, tuple[str, str]] = {}
        self._asked: Answer | None = transaction.ask("operations_known", ids=pack(ids)) if ids else None

    @property
    def answers(self) -> dict[str, tuple[str, str]]:
        """Fingerprint and answer by id; what is found is touched: repeating an answer is a write like the first was."""
        if self._asked is not None:
            rows = unpack(self._asked.row()[0])
            self._asked = None
            if rows:
                self._transaction.send("operations_touch", ids=pack([row[0] for row in rows]), now=self._now)
            self._answers = {id: (fingerprint, answer) for id, fingerprint, answer in rows}
        return self._answers

    def answer(self, operation: Operation | None) -> str | Problem | None:
        """The answer given before, or the refusal of another request; None: not known, do the work."""
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


def known(transaction: Transaction, batch: Batch) -> Known:
    """What is known of a batch's operation ids; no statement where there are none."""
    operations = [work.operation for work in batch.enqueues] + [work.operation for work in batch.claims]
    return Known(transaction, [operation.id for operation in operations if operation], batch.now)


def remember(
    transaction: Transaction,
    batch: Batch,
    known: Known,
    enqueued: list[list[EnqueuedRow] | Problem],
    claimed: list[Claimed],
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
        if operation and isinstance(got, Taken) and got.ids and operation.id not in known.answers:
            rows.setdefault(operation.id, (operation.id, operation.fingerprint, claim.token))
    if rows:
        transaction.send("operations_put", rows=pack(list(rows.values())), now=batch.now)
