"""Claims: candidates in order, one update, and the worker's JSON written by the database."""

from __future__ import annotations

from roost.domain.feed import EventType
from roost.engine.driver import Transaction
from roost.engine.protocol import Batch, ClaimAnswer, ClaimWork
from roost.engine.work.feed import tell
from roost.engine.work.operations import Known
from roost.engine.work.texts import pack, unpack
from roost.wire.problems import Problem

EMPTY = "[]"


def apply(transaction: Transaction, batch: Batch, known: Known) -> list[ClaimAnswer | Problem]:
    """The answers to a batch's claims; the number of statements grows with the claims, never with the jobs."""
    answers: list[ClaimAnswer | Problem] = []
    exhausted: set[str] = set()
    for work in batch.claims:
        before = known.answer(work.operation)
        if isinstance(before, Problem):
            answers.append(before)
        elif before is not None:
            again = transaction.one("claimed_before", token=before)
            answers.append(_fetch(transaction, work, before, again or EMPTY))
        else:
            answers.append(_claim(transaction, work, batch.now, exhausted))
    return answers


def _claim(transaction: Transaction, work: ClaimWork, now: int, exhausted: set[str]) -> ClaimAnswer:
    ids: list[int] = []
    for queue in work.queues:
        missing = work.limit - len(ids)
        if missing <= 0:
            break
        if queue in exhausted:
            continue
        found = unpack(transaction.one("claim_candidates", queue=queue, now=now, limit=missing))
        if len(found) < missing:
            exhausted.add(queue)
        ids.extend(found)
    if not ids:
        return ClaimAnswer(work.token, work.lease_ms, 0, EMPTY)
    text = pack(ids)
    transaction.run("claim", ids=text, token=work.token, worker=work.worker, lease_until=now + work.lease_ms, now=now)
    tell(transaction, EventType.STARTED, ids, {"worker": work.worker})
    return _fetch(transaction, work, work.token, text)


def _fetch(transaction: Transaction, work: ClaimWork, token: str, ids: str) -> ClaimAnswer:
    count, jobs = transaction.row("claim_fetch", ids=ids, token=token)
    return ClaimAnswer(token, work.lease_ms, count, jobs)
