"""Errors of attempts that failed: each job's last one, and the groups they belong to, kept up in sets."""

from __future__ import annotations

from roost.domain.fingerprints import Fingerprint, fingerprint
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack


def note(transaction: Transaction, failed: list[tuple[int, str]], now: int) -> None:
    """Write down the errors (job, error as JSON text) of attempts that ended in this transaction."""
    if not failed:
        return
    jobs: dict[int, Fingerprint] = {}
    groups: dict[str, tuple[Fingerprint, int, int]] = {}
    for job, error in failed:
        made = fingerprint(error)
        jobs[job] = made
        _, count, last = groups.get(made.fingerprint, (made, 0, 0))
        groups[made.fingerprint] = (made, count + 1, max(last, job))
    transaction.send(
        "error_put",
        rows=pack([(job, one.fingerprint, one.type, one.message) for job, one in sorted(jobs.items())]),
        now=now,
    )
    # In one order, so that two transactions with the same groups wait for each other one way.
    rows = [(key, one.type, one.message, one.frame, last, count) for key, (one, count, last) in sorted(groups.items())]
    transaction.send("error_group_put", rows=pack(rows), now=now)
