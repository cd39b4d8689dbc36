"""Unique keys of one queue's jobs, when a job goes into another queue: the key goes along, or the job stays."""

from __future__ import annotations

import msgspec

from roost.domain.records import JobFacts
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack, unpack
from roost.errors import RoostError, UniqueConflict

_SCOPE = "queue:"


def rescoped(key: str, queue: str) -> str:
    """The same key among the jobs of ``queue``, where it is one of a queue's jobs."""
    return f"{_SCOPE}{queue}\n{key.partition(chr(10))[2]}" if key.startswith(_SCOPE) else key


def taken(key: str, holder: int, path: str = "") -> UniqueConflict:
    """Why a job cannot have its key: another one lives by it."""
    return UniqueConflict(
        f"the unique key {key.partition(chr(10))[2]!r} belongs to job {holder} now",
        path=path,
        help=f"wait for job {holder}'s end",
    )


def rekey(
    transaction: Transaction, jobs: list[JobFacts], queue: str, refused: dict[int, RoostError], now: int
) -> list[JobFacts]:
    """Those of ``jobs`` that may go into ``queue``, their keys there already; the rest is refused."""
    moving = {
        facts.id: (key, new)
        for facts in jobs
        if (key := facts.options.unique_key) is not None and (new := rescoped(key, queue)) != key
    }
    if not moving:
        return jobs
    known = unpack(transaction.one("unique_known", keys=pack(sorted({new for _, new in moving.values()})), now=now))
    holders: dict[str, int] = {key: job for key, job, _, alive in known if alive}
    dead = [(key, job) for key, job, _, alive in known if not alive]
    kept: list[JobFacts] = []
    gone: list[JobFacts] = []
    for facts in jobs:
        if facts.id in moving:
            _, new = moving[facts.id]
            # The next of this set with the same key finds it taken.
            holder = holders.setdefault(new, facts.id)
            if holder != facts.id:
                refused[facts.id] = taken(new, holder, "queue")
                continue
            gone.append(facts)
        kept.append(facts)
    if gone:
        if dead:
            transaction.send("unique_forget", rows=pack(dead))
        transaction.send("unique_rename", rows=pack(sorted((*moving[facts.id], facts.id) for facts in gone)))
        note_keys(transaction, {facts.id: moving[facts.id][1] for facts in gone}, gone)
    return kept


def note_keys(transaction: Transaction, keys: dict[int, str], jobs: list[JobFacts]) -> None:
    """Store with these jobs what their keys are from now on."""
    options = [
        (facts.id, msgspec.structs.replace(facts.options, unique_key=keys[facts.id]))
        for facts in jobs
        if facts.id in keys and facts.options.unique_key != keys[facts.id]
    ]
    if options:
        rows = [(id, msgspec.json.encode(changed).decode()) for id, changed in options]
        transaction.send("job_edit_options", rows=pack(rows))
