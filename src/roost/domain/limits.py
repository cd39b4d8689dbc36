"""Limits: how many jobs of a key run at once, and how many start in a time.

A rate is kept by GCRA: one theoretical arrival time (``tat``) for each key, in microseconds, that every start moves on
by its cost; a start is allowed while that time is no further ahead than the burst. In any window of W there start no
more than ``burst + rate * W``. What a job takes of a concurrency it holds until its attempt ends, by whatever way.

Everything here is decided from facts that stay true until the transaction's end: see `roost.engine.work.limiting`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec

from roost.domain.duration import UNITS, parse_duration
from roost.domain.records import LimitRule, QueueRules
from roost.domain.templates import Subject, Template, check_key, template
from roost.errors import InvalidRequest

PATIENCE = 10
"""How many turns a job of several keys loses, one key after the other, before it insists on having all of them."""
QUEUE = "queue:"
"""Keys that begin so are the queues' own limits."""
MOST = 1_000_000
LIMITS_OF_A_QUEUE = 8
LONGEST_PERIOD_MS = 366 * UNITS["d"]
_RATE = re.compile(r"([0-9]{1,9})/(.{1,20})", re.DOTALL)
_RATE_HELP = 'write it as "100/m" (s, m, h, d), or with a time such as "5/10s"'


class Rate(msgspec.Struct, frozen=True):
    """So many in a period."""

    count: int
    period_ms: int

    @property
    def interval(self) -> int:
        """Microseconds between two starts, rounded up: no rate is ever exceeded by rounding."""
        return -(-self.period_ms * 1000 // self.count)


def parse_rate(text: str, path: str) -> Rate:
    """Read ``100/m`` or ``5/10s``; raises `InvalidRequest` with the path."""
    found = _RATE.fullmatch(text)
    if found is None:
        raise InvalidRequest(f"{text[:40]!a} is not a rate", path=path, help=_RATE_HELP)
    count, unit = int(found[1]), found[2]
    try:
        period_ms = UNITS[unit] if unit in UNITS else parse_duration(unit, path=path)
    except InvalidRequest:
        raise InvalidRequest(f"{text[:40]!a} is not a rate", path=path, help=_RATE_HELP) from None
    if not 1 <= count <= MOST or not 0 < period_ms <= LONGEST_PERIOD_MS:
        raise InvalidRequest(
            f"{text[:40]!a} is out of range", path=path, help=f"1 to {MOST:,} in 1ms to 366d; {_RATE_HELP}"
        )
    return Rate(count, period_ms)


class Numbers(msgspec.Struct, frozen=True, array_like=True):
    """What a limit allows, as it is stored."""

    concurrency: int | None
    rate: str | None
    interval: int | None
    """Microseconds."""
    burst: int | None


NO_LIMIT = Numbers(None, None, None, None)


def numbers(concurrency: int | None, rate: str | None, burst: int | None, path: str) -> Numbers:
    """The numbers as they are stored; raises `InvalidRequest` with the field's path."""
    for name, value in (("concurrency", concurrency), ("burst", burst)):
        if value is not None and (isinstance(value, bool) or not 1 <= value <= MOST):
            raise InvalidRequest(f"it is from 1 to {MOST:,}", path=f"{path}{name}", help="or leave it out")
    if rate is None:
        if burst is not None:
            raise InvalidRequest("a burst needs a rate", path=f"{path}burst", help='for example rate "100/m"')
        return Numbers(concurrency, None, None, None)
    parsed = parse_rate(rate, f"{path}rate")
    return Numbers(concurrency, rate, parsed.interval, parsed.count if burst is None else burst)


def check_limits(rules: QueueRules, path: str) -> None:
    """Refuse limits that no job could be stored with; raises `InvalidRequest` with the field's path."""
    numbers(rules.concurrency, rules.rate, rules.burst, f"{path}.")
    limits = rules.limits or []
    if len(limits) > LIMITS_OF_A_QUEUE:
        raise InvalidRequest(
            f"{len(limits)} limits, over the {LIMITS_OF_A_QUEUE} a queue may have",
            path=f"{path}.limits",
            help="use fewer",
        )
    for index, rule in enumerate(limits):
        at = f"{path}.limits[{index}]."
        Template(rule.key, f"{at}key")
        if rule.key.startswith(QUEUE):
            raise _reserved(f"{at}key")
        checked(rule, at)


def checked(rule: LimitRule, path: str) -> Numbers:
    """The numbers of a job's limit, whose cost they allow; raises `InvalidRequest` with the field's path."""
    found = numbers(rule.concurrency, rule.rate, rule.burst, path)
    if isinstance(rule.cost, bool) or not 1 <= rule.cost <= MOST:
        raise InvalidRequest(f"a cost is from 1 to {MOST:,}", path=f"{path}cost", help="the default is 1")
    for name, most in (("concurrency", found.concurrency), ("burst", found.burst)):
        if most is not None and rule.cost > most:
            raise InvalidRequest(
                f"a job of cost {rule.cost} never fits into a {name} of {most}",
                path=f"{path}cost",
                help="lower the cost",
            )
    return found


def of_queue(rules: QueueRules) -> Numbers:
    """What a queue itself allows."""
    return numbers(rules.concurrency, rules.rate, rules.burst, "")


@lru_cache(maxsize=4096)
def stored(rule: LimitRule) -> Numbers:
    """The numbers of a rule that was checked before."""
    return numbers(rule.concurrency, rule.rate, rule.burst, "")


def of_job(rules: QueueRules, own: list[LimitRule] | None, job: Subject, path: str) -> list[LimitRule]:
    """All limits of a job about to be stored, their keys filled in; its own word on a key goes before its queue's.

    Raises `InvalidRequest` with the field's path.
    """
    found: dict[str, LimitRule] = {}
    for rule in rules.limits or ():
        key = template(rule.key).key(job)
        # A value could say it too: the queues' own keys are nobody else's.
        key = f"_{key}" if key.startswith(QUEUE) else key
        found[key] = msgspec.structs.replace(rule, key=key)
    for index, rule in enumerate(own or ()):
        at = f"{path}limits[{index}]."
        if rule.key.startswith(QUEUE):
            raise _reserved(f"{at}key")
        check_key(rule.key, f"{at}key")
        checked(rule, at)
        found[rule.key] = rule
    return list(found.values())


def _reserved(path: str) -> InvalidRequest:
    return InvalidRequest(
        f"keys that begin with {QUEUE!r} are the queues' own", path=path, help="set the queue's concurrency or rate"
    )


class Limiter(msgspec.Struct, array_like=True):
    """A key's numbers, and how much of them is taken."""

    key: str
    concurrency: int | None
    interval: int | None
    burst: int | None
    tat: int
    used: int
    freed_at: int
    """When a slot was given back last."""
    parked: bool
    """Whether any job waits for it."""

    def cost(self, cost: int) -> int:
        """What a job of ``cost`` takes: all there is at most, or it would wait for ever once the limit is lowered."""
        for most in (self.concurrency, self.burst):
            if most is not None:
                cost = min(cost, most)
        return cost

    def fits(self, cost: int) -> bool:
        """Whether the concurrency has room."""
        return self.concurrency is None or self.used + cost <= self.concurrency

    def allowed_at(self, cost: int, now: int) -> int:
        """The first millisecond from ``now`` at which the rate allows ``cost``; later for more than the burst."""
        if self.interval is None or self.burst is None:
            return now
        return max(now, -(-(max(self.tat, now * 1000) + (cost - self.burst) * self.interval) // 1000))

    def available(self, now: int) -> int | None:
        """How much the rate allows at once; None where there is none."""
        if self.interval is None or self.burst is None:
            return None
        return max(0, (now * 1000 - max(self.tat, now * 1000)) // self.interval + self.burst)

    def take(self, cost: int, now: int) -> None:
        """A job starts."""
        self.used += cost
        if self.interval is not None:
            self.tat = max(self.tat, now * 1000) + cost * self.interval


class Want(msgspec.Struct, frozen=True, array_like=True):
    """How much a job takes of a key."""

    key: str
    cost: int
    turn: bool = False
    """It waited for this key, and was let go because there was room."""
    lost: int = 0
    """How often it had its turn at this key, and found no room at another one."""


class Candidate(msgspec.Struct, frozen=True):
    """A ready job that somebody wants to start."""

    id: int
    rank: int
    wants: list[Want]


class Decision(msgspec.Struct):
    """Who starts, who waits for which key, and whether the queue itself has room for no more."""

    granted: list[Candidate] = []
    parked: dict[int, str] = {}
    insisting: list[Candidate] = []
    """Those that go on being ready without room: nobody behind them takes what they need."""
    full: bool = False
    seen: int = 0
    """How many candidates were decided; the rest was not looked at."""


def decide(
    candidates: Iterable[Candidate],
    limiters: dict[str, Limiter],
    first: dict[str, tuple[int, int]],
    own: str | None,
    most: int,
    now: int,
) -> Decision:
    """Who of ``candidates`` (in order, ``most`` of them) starts now; what they take is taken from ``limiters``.

    ``first`` is, for each key, the (rank, id) of the first job of the queue that waits for it: nobody who comes after
    it passes it, or a job that needs much would never find room. ``own`` is the key of the queue's own limit.

    A job of several keys that lost its turn at one of them to others `PATIENCE` times, because another one had no room,
    insists: what it needs is kept from those behind it, until all of its keys have room at once.
    """
    decision = Decision()
    blocked: set[str] = set()
    kept: dict[str, int] = {}
    for job in candidates:
        if len(decision.granted) >= most:
            break
        if own is not None and not _has_room(limiters[own], 1, now):
            decision.full = True
            break
        decision.seen += 1
        key = _obstacle(job, limiters, first, blocked, kept, now)
        if key is not None and key not in blocked and _insists(job, limiters[key], first):
            decision.insisting.append(job)
            for want in job.wants:
                kept[want.key] = kept.get(want.key, 0) + limiters[want.key].cost(want.cost)
        elif key is None:
            decision.granted.append(job)
            for want in job.wants:
                limiters[want.key].take(limiters[want.key].cost(want.cost), now)
            if own is not None:
                limiters[own].take(1, now)
        else:
            decision.parked[job.id] = key
            blocked.add(key)
    return decision


def _has_room(limiter: Limiter, cost: int, now: int) -> bool:
    return limiter.fits(cost) and limiter.allowed_at(cost, now) <= now


def _insists(job: Candidate, limiter: Limiter, first: dict[str, tuple[int, int]]) -> bool:
    """Whether it has lost enough turns not to lose this one; a rate has room again by itself, and is waited for."""
    if sum(want.lost for want in job.wants) < PATIENCE:
        return False
    if any(want.key in first and first[want.key] < (job.rank, job.id) for want in job.wants):
        return False
    cost = next(want.cost for want in job.wants if want.key == limiter.key)
    return not limiter.fits(limiter.cost(cost))


def _obstacle(
    job: Candidate,
    limiters: dict[str, Limiter],
    first: dict[str, tuple[int, int]],
    blocked: set[str],
    kept: dict[str, int],
    now: int,
) -> str | None:
    """The key the job has to wait for: a concurrency before a rate, and of rates the one that lasts longest."""

    def cost(want: Want) -> int:
        return limiters[want.key].cost(want.cost) + kept.get(want.key, 0)

    for want in job.wants:
        if want.key in blocked or (want.key in first and first[want.key] < (job.rank, job.id)):
            return want.key
        if not limiters[want.key].fits(cost(want)):
            return want.key
    later = [(limiters[want.key].allowed_at(cost(want), now), want.key) for want in job.wants]
    at, key = max(later, default=(now, ""))
    return key if at > now else None


class Line(msgspec.Struct, array_like=True):
    """The jobs of one queue that wait for one key: the first of them, in order."""

    queue: str
    ahead: int
    """The cost of those that were let go and have not started yet."""
    waiting: list[tuple[int, int]]
    """(id, cost)"""


def refill(limiter: Limiter, lines: list[Line], now: int) -> tuple[list[int], int | None]:
    """Whom to let go, and when to look again (None: when something starts or ends).

    Each queue is offered all the room there is: whoever claims first gets it, and a queue without workers keeps nothing
    from the others. Where jobs that were let go have not started yet, their start is what makes somebody look again.
    """
    free: list[int] = []
    next_at: int | None = None
    for line in lines:
        ahead = line.ahead
        for id, cost in line.waiting:
            cost = limiter.cost(cost)
            if not limiter.fits(ahead + cost):
                break
            at = limiter.allowed_at(ahead + cost, now)
            if at > now:
                if not ahead and (next_at is None or at < next_at):
                    next_at = at
                break
            ahead += cost
            free.append(id)
    return free, next_at
