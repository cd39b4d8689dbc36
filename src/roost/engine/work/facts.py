"""What the rules know of stored jobs."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from roost.domain.records import JobFacts
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack

_facts = msgspec.json.Decoder(list[JobFacts])


def facts_of(transaction: Transaction, ids: Iterable[int]) -> dict[int, JobFacts]:
    """The facts of these jobs, locked where the engine locks rows; what is not there is left out."""
    text = transaction.one("job_facts", ids=pack(sorted(set(ids))))
    return {facts.id: facts for facts in (_facts.decode(text) if text else [])}
