"""Claims: candidates in order, one update, and the worker's JSON written by the database."""

from __future__ import annotations

from roost.domain.feed import EventType
from roost.engine.batch import Batch, ClaimWork, Effects
from roost.engine.driver import Transaction
from roost.engine.work import limiting
from roost.engine.work.claimed import Claimed, Taken
from roost.engine.work.feed import tell
from roost.engine.work.operations import Known
from roost.engine.work.texts import pack, unpack
from roost.wire.problems import Problem


def apply(transaction: Transaction, batch: Batch, known: Known, effects: Effects) -> list[Claimed]:
    """What a batch's claims got; the number of statements grows with the claims, never with the jobs."""
    answers: list[Claimed] = []
    exhausted: set[str] = set()
    for work in batch.claims:
        before = known.answer(work.operation)
        if isinstance(before, Problem):
            answers.append(before)
        elif before is not None:
            again: list[int] = unpack(transaction.one("claimed_before", token=before))
            answers.append(_fetch(transaction, work, before, again))
        else:
            answers.append(_claim(transaction, work, batch.now, exhausted, effects))
    return answers


def _claim(transaction: Transaction, work: ClaimWork, now: int, exhausted: set[str], effects: Effects) -> Taken:
    claim = _Claim(transaction, work, now, exhausted, effects)
    if work.shares is not None:
        for queue, share in zip(work.queues, work.shares, strict=True):
            claim.take(queue, share)
    # What a queue has not used of its share is the others', and without shares the first queue's jobs all go first.
    for queue in work.queues:
        claim.take(queue, work.limit)
    if claim.ids:
        claim.start()
        tell(transaction, EventType.STARTED, claim.ids, {"worker": work.worker})
    return _fetch(transaction, work, work.token, claim.ids)


class _Claim:
    """One claim being answered."""

    def __init__(
        self, transaction: Transaction, work: ClaimWork, now: int, exhausted: set[str], effects: Effects
    ) -> None:
        self.ids: list[int] = []
        self._transaction = transaction
        self._work = work
        self._now = now
        self._exhausted = exhausted
        self._effects = effects
        self._waiting: dict[str, list[int]] = {}
        """Found, to be started in the end."""

    def take(self, queue: str, most: int) -> None:
        """Find ``most`` more jobs of a queue, as far as there is room for them."""
        most = min(most, self._work.limit - len(self.ids))
        if most <= 0 or queue in self._exhausted:
            return
        # What was found before is still there until it is started.
        mine = self._waiting.get(queue, [])
        asked = most + len(mine)
        text, limited, own = self._transaction.row("claim_candidates", queue=queue, now=self._now, limit=asked)
        found: list[int] = unpack(text)
        over = len(found) < asked
        if mine:
            found = [id for id in found if id not in mine]
        if limited or own:
            self.start()
            found, over = limiting.start(
                self._transaction, self._work, queue, found, bool(own), most, self._now, self._effects
            )
        else:
            self._waiting.setdefault(queue, []).extend(found)
        if over:
            self._exhausted.add(queue)
        self.ids += found

    def start(self) -> None:
        """Start what was found and is not started yet."""
        ids = [id for found in self._waiting.values() for id in found]
        if ids:
            self._waiting.clear()
            work = self._work
            self._transaction.send(
                "claim",
                ids=pack(ids),
                token=work.token,
                worker=work.worker,
                lease_until=self._now + work.lease_ms,
                now=self._now,
            )


def _fetch(transaction: Transaction, work: ClaimWork, token: str, ids: list[int]) -> Taken:
    return Taken(work, token, ids, transaction.ask("claim_fetch", ids=pack(ids), token=token) if ids else None)
