"""Tracked work: attempts that a person or an agent took by hand and tells the state of, without a worker's lease."""

from __future__ import annotations

from roost.domain.records import JobFacts

PREFIX = "tracked-"
"""How a tracked attempt's token begins: no other mark is needed, and none has to be taken away at its end."""


def is_tracked(facts: JobFacts) -> bool:
    """Whether the job's current attempt is updated by its number."""
    return facts.token is not None and facts.token.startswith(PREFIX)


def lease_until(facts: JobFacts, lease_ms: int | None, now: int) -> int | None:
    """When the attempt ends by itself: after its lease or its time limit, whichever is first; None: never."""
    ends = [now + lease_ms] if lease_ms is not None else []
    if facts.options.timeout_ms is not None:
        started = now if facts.started_at is None else facts.started_at
        ends.append(started + facts.options.timeout_ms)
    return min(ends, default=None)


def timed_out(facts: JobFacts, now: int) -> bool:
    """Whether a tracked attempt whose lease is over ran into its time limit; nobody else enforces that."""
    limit = facts.options.timeout_ms
    return is_tracked(facts) and limit is not None and facts.started_at is not None and now >= facts.started_at + limit
