"""The one engine: what a batch or an action means, in named statements both databases know."""

from __future__ import annotations

from collections.abc import Callable

from roost.engine import actions
from roost.engine.batch import Applied, Batch, Effects
from roost.engine.calls import Acted, Call
from roost.engine.driver import Driver, Transaction
from roost.engine.work import beats, claimed, claims, enqueues, feed, operations, settles, steps
from roost.engine.work.claimed import Claimed
from roost.errors import RoostError
from roost.wire.problems import Problem


class SqlEngine:
    """A writing side over a `Driver`; not thread-safe."""

    def __init__(self, driver: Driver, rng: Callable[[], float]) -> None:
        self._driver = driver
        self._rng = rng

    def apply(self, batch: Batch) -> Applied:
        """All of ``batch`` in one transaction; see `roost.engine.protocol.Engine`."""
        careful = False

        def work(transaction: Transaction) -> tuple[Applied, list[Claimed]]:
            nonlocal careful
            try:
                return self._apply(transaction, batch, careful)
            except settles.Repeated:
                careful = True
                raise

        applied, taken = self._driver.transaction(work)
        # What was claimed may have come with the commit's answer.
        applied.claimed.extend(map(claimed.answer, taken))
        return applied

    def _apply(self, transaction: Transaction, batch: Batch, careful: bool) -> tuple[Applied, list[Claimed]]:
        transaction.facts.clear()
        effects = Effects()
        transaction.expect(sum(row.unique is None for work in batch.enqueues for row in work.rows))
        known = operations.known(transaction, batch)
        # Jobs enter before claims look for them, so that an enqueue and a waiting claim can share a commit.
        enqueued = enqueues.apply(transaction, batch, known, effects)
        recorded = steps.apply(transaction, batch.steps, batch.now)
        beaten = beats.apply(transaction, batch.beats, batch.now)
        settled = settles.apply(transaction, batch.settles, batch.now, self._rng, effects, careful)
        taken = claims.apply(transaction, batch, known, effects)
        operations.remember(transaction, batch, known, enqueued, taken)
        effects.fed = feed.write(transaction, batch.now)
        return Applied(enqueued, settled, beaten, recorded, [], effects), taken

    def act(self, call: Call) -> Acted:
        """One action in one transaction; see `roost.engine.protocol.Engine`."""
        try:
            return self._driver.transaction(lambda transaction: actions.act(transaction, call, self._rng))
        except RoostError as refusal:
            if refusal.status >= 500:
                raise
            return Acted("", Effects(), problem=Problem.of(refusal))

    def close(self) -> None:
        """Give the connection back."""
        self._driver.close()
