"""In which order a queue's ready jobs are claimed: a job's rank, smallest first; jobs of one rank by their ids.

A plain queue ranks by priority alone. With ageing, each period waited is worth one priority, so that nothing waits for
ever. With fairness, the jobs of one priority take turns by their keys (start-time fair queueing): each job starts at
its queue's virtual time or where its key's last job ended, whichever is later, and lasts the less the more its key
weighs. Every rank is decided once, when the job becomes ready: a claim reads the smallest and computes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from roost.domain.duration import UNITS, parse_duration
from roost.domain.names import check_name
from roost.domain.records import FairRule, QueueRules
from roost.domain.templates import Template
from roost.errors import InvalidRequest

HIGHEST_PRIORITY = 9
BAND = 1 << 59
"""Ranks of one priority in a fair queue: ten of them fit into 63 bits."""
SCALE = 1 << 20
"""What a job of weight 1 lasts: half a million million of them fit into a band."""
HEAVIEST = 1000
LONGEST_AGEING_MS = 366 * UNITS["d"]
WEIGHTS_LIMIT = 1000


def plain_rank(priority: int) -> int:
    """The rank in a queue that knows nothing but priorities."""
    return HIGHEST_PRIORITY - priority


def ageing_rank(priority: int, since: int, ageing_ms: int) -> int:
    """The rank of a job that may start since ``since``: it goes before what came an ``ageing_ms`` later one higher."""
    return since - priority * ageing_ms


def band_of(priority: int) -> int:
    """Where a priority's ranks begin in a fair queue."""
    return (HIGHEST_PRIORITY - priority) * BAND


def unplaced_rank(priority: int) -> int:
    """The rank of a fair queue's job that is not ready: its place is given when it becomes so."""
    return band_of(priority) + BAND - 1


class Band(msgspec.Struct):
    """The keys of one priority in a fair queue, in virtual time."""

    now: int
    """Where the first ready job starts; where the last one ended, if none is ready."""
    ends: dict[str, int] = {}
    """By key: where its last job ends."""
    latest: int = 0
    """The latest of all ends, also of keys that are not in ``ends``."""

    def place(self, key: str, weight: int) -> int:
        """Add a job of ``key``; where it starts."""
        start = max(self.now, self.ends.get(key, 0))
        self.ends[key] = start + SCALE // weight
        self.latest = max(self.latest, self.ends[key])
        return start


def weight_of(rule: FairRule, key: str) -> int:
    """How many jobs ``key`` may start while a key that is not named starts one."""
    return (rule.weights or {}).get(key, 1)


def same_order(one: QueueRules, other: QueueRules) -> bool:
    """Whether the ranks by one set of rules are right by the other too."""
    return one.ageing == other.ageing and one.fairness == other.fairness


def check_order(rules: QueueRules, path: str) -> None:
    """Refuse an order that no job could be ranked by; raises `InvalidRequest` with the field's path."""
    if rules.ageing is not None:
        ageing_ms = parse_duration(rules.ageing, path=f"{path}.ageing")
        if not 0 < ageing_ms <= LONGEST_AGEING_MS:
            raise InvalidRequest(
                "the time for one priority is from 1ms to 366d", path=f"{path}.ageing", help='for example "5m"'
            )
    fairness = rules.fairness
    if fairness is None:
        return
    if rules.ageing is not None:
        raise InvalidRequest(
            "a queue has either ageing or fairness", path=f"{path}.ageing", help="leave one of them out"
        )
    Template(fairness.key, f"{path}.fairness.key")
    weights = fairness.weights or {}
    if len(weights) > WEIGHTS_LIMIT:
        raise InvalidRequest(
            f"{len(weights)} weights, over the limit of {WEIGHTS_LIMIT}",
            path=f"{path}.fairness.weights",
            help="name the keys that do not weigh 1",
        )
    for key, weight in weights.items():
        if isinstance(weight, bool) or not 1 <= weight <= HEAVIEST:
            raise InvalidRequest(
                f"a weight is from 1 to {HEAVIEST}", path=f"{path}.fairness.weights.{key[:40]}", help="the default is 1"
            )


def spread(names: list[str], weights: dict[str, int], limit: int, rng: Callable[[], float]) -> list[tuple[str, int]]:
    """A weighted claim's queues in the order they are asked, each with its share of ``limit``.

    Each gets the whole part of its share for sure and the rest by chance, so that over many claims the weights hold
    exactly. What a queue does not use goes to the others in this order, which is by chance as well: of claims for one
    job, each queue comes first as often as it weighs.
    """
    order = sorted(names, key=lambda name: -(max(rng(), 1e-300) ** (1.0 / weights.get(name, 1))))
    total = sum(weights.get(name, 1) for name in names)
    shares = {name: limit * weights.get(name, 1) // total for name in order}
    left = limit - sum(shares.values())
    # Systematic sampling: one number decides for all of what is left, so that a queue gets at most one more.
    at, passed = rng() * total, 0
    for name in order:
        passed += limit * weights.get(name, 1) % total
        while left and at < passed:
            shares[name] += 1
            at += total
            left -= 1
    shares[order[-1]] += left
    return [(name, shares[name]) for name in order]


def check_weights(names: list[str], weights: dict[str, int], path: str) -> None:
    """Refuse weights of other queues than those of the claim; raises `InvalidRequest`."""
    for name, weight in weights.items():
        check_name(name, path)
        if isinstance(weight, bool) or not 1 <= weight <= HEAVIEST:
            raise InvalidRequest(f"a weight is from 1 to {HEAVIEST}", path=f"{path}.{name}", help="the default is 1")
        if name not in names:
            raise InvalidRequest(
                f"{name!r} is none of the claim's queues", path=f"{path}.{name}", help="name it in queues, or leave it"
            )
