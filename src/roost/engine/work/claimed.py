"""What a claim got, before its commit and after."""

from __future__ import annotations

import msgspec

from roost.engine.batch import ClaimAnswer, ClaimWork
from roost.engine.driver import Answer
from roost.wire.problems import Problem

EMPTY = "[]"


class Taken(msgspec.Struct, frozen=True):
    """Jobs that a claim has; the worker's JSON may still be on its way."""

    work: ClaimWork
    token: str
    ids: list[int]
    jobs: Answer | None
    """Their number and their JSON; None where there are none."""


Claimed = Taken | Problem


def answer(claimed: Claimed) -> ClaimAnswer | Problem:
    """What the caller is told, after the commit."""
    if isinstance(claimed, Problem):
        return claimed
    count, jobs = claimed.jobs.row() if claimed.jobs is not None else (0, EMPTY)
    return ClaimAnswer(claimed.token, claimed.work.lease_ms, count, jobs)
