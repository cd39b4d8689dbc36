"""Limits within a transaction: who starts, who waits for a key, who is let go when there is room.

Whoever decides about limits holds one lock until the commit (on PostgreSQL; SQLite has one writer anyway): what was
read of a key stays true, and no order of keys can make two transactions wait for each other. Jobs without limits in
queues without limits never come here.

A job that finds no room *waits* (reason ``throttled``), parked at the one key it waits for: no claim meets it again. It
is let go, in the order of the ranks, as soon as the key has room for it: its *turn*. The exact check is made when it is
claimed. A queue's own limit parks nobody: its claims take fewer.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from roost.domain import limits
from roost.domain.limits import QUEUE, Candidate, Limiter, Line, Numbers, Want
from roost.domain.records import Flag, JobRow, LimitRule
from roost.domain.states import TERMINAL, Event, State, follow
from roost.engine.batch import ClaimWork, Effects
from roost.engine.driver import Transaction
from roost.engine.work.dues import note_due
from roost.engine.work.feed import tell_changes
from roost.engine.work.texts import pack, unpack

LOOK_AHEAD = 1000
"""Candidates that are looked at together, at most."""
PARKED_AT_MOST = 2000
"""Jobs that one claim parks; it goes on in its next turn."""
LET_GO_AT_MOST = 500
"""Jobs of one key and queue that are let go together."""
AGAIN_MS = 50
"""When jobs that another transaction held are tried again."""
PARKED = "throttled"


class Left(msgspec.Struct, frozen=True):
    """A job that counts against limits and came from one state to another, in a queue."""

    id: int
    queue: str
    before: State
    after: State


# --- what is stored with a job ----------------------------------------------------------------------------------------


def store(transaction: Transaction, ids: list[int], rows: list[JobRow], now: int, effects: Effects) -> None:
    """The limits of new jobs."""
    limited = [(id, row.shape.queue, row.limits) for id, row in zip(ids, rows, strict=True) if row.limits]
    if limited:
        _store(transaction, limited, now, effects)


def _store(
    transaction: Transaction, limited: list[tuple[int, str, list[LimitRule]]], now: int, effects: Effects
) -> None:
    wants = [(id, rule.key, queue, rule.cost) for id, queue, rules in limited for rule in rules]
    transaction.send("limit_insert", rows=pack(wants))
    put_numbers(transaction, said_by([row for _, _, row in limited]), now, effects)


def said_by(rules: Iterable[list[LimitRule]]) -> dict[str, Numbers]:
    """What jobs say of their keys: the last word counts; words that say nothing of a key leave it as it is."""
    return {rule.key: limits.stored(rule) for each in rules for rule in each}


def put_numbers(
    transaction: Transaction, said: dict[str, Numbers], now: int, effects: Effects, *, anything: bool = False
) -> None:
    """What keys allow from now on, where it differs from what they do.

    Numbers that limit nothing leave a key as it is, unless they are meant to: ``anything`` goes.
    """
    known = known_numbers(transaction, said)
    new = news(said, known, anything=anything)
    if not new:
        return
    lock(transaction)
    rows = [(key, *msgspec.structs.astuple(new[key])) for key in sorted(new)]
    transaction.send("limiter_put", rows=pack(rows), now=now)
    changed = [key for key in new if key in known]
    if changed:
        refill(transaction, changed, now, effects)


def known_numbers(transaction: Transaction, keys: Iterable[str]) -> dict[str, Numbers]:
    """What those of the keys allow that are known."""
    return {key: Numbers(*rest) for key, *rest in unpack(transaction.one("limiters_known", keys=pack(sorted(keys))))}


def news(said: dict[str, Numbers], known: dict[str, Numbers], *, anything: bool = False) -> dict[str, Numbers]:
    """What is said of keys beyond what is known of them."""
    return {
        key: numbers
        for key, numbers in said.items()
        if key not in known or (numbers != known[key] and (anything or numbers != limits.NO_LIMIT))
    }


def lock(transaction: Transaction) -> None:
    """Decide alone until the commit."""
    transaction.send("limits_lock")


# --- claims -----------------------------------------------------------------------------------------------------------


def start(
    transaction: Transaction,
    work: ClaimWork,
    queue: str,
    found: list[int],
    own: bool,
    most: int,
    now: int,
    effects: Effects,
) -> tuple[list[int], bool]:
    """Start ``most`` of a queue's jobs, beginning with the candidates ``found``; and whether nobody is left there.

    Those that find no room are parked and others looked for; after many of them the claim is told to come again.
    """
    lock(transaction)
    started: list[int] = []
    asked = max(most, len(found))
    parked = 0
    while True:
        ready = effects.ready.get(queue, 0)
        decision = _decide(transaction, work, queue, found, own, most - len(started), now, effects)
        let_go = effects.ready.get(queue, 0) > ready
        started += [job.id for job in decision.granted]
        parked += len(decision.parked)
        left = len(found) - decision.seen
        if left and parked and not decision.full:
            # Looked at by nobody else meanwhile, and not taken: others may have them.
            effects.ready[queue] = effects.ready.get(queue, 0) + left
        over = decision.full or (len(found) < asked and decision.seen == len(found) and not let_go)
        if over or len(started) >= most:
            return started, over
        if parked >= PARKED_AT_MOST:
            effects.ready[queue] = effects.ready.get(queue, 0) + 1
            return started, False
        if asked == LOOK_AHEAD and not decision.granted and not decision.parked and not let_go:
            # None but those who insist, and they have to wait.
            return started, True
        # Who insists is found again.
        asked = min(LOOK_AHEAD, max(most - len(started), 2 * parked) + 2 * len(decision.insisting))
        found = unpack(transaction.row("claim_candidates", queue=queue, now=now, limit=asked)[0])


def _decide(
    transaction: Transaction,
    work: ClaimWork,
    queue: str,
    found: list[int],
    own: bool,
    most: int,
    now: int,
    effects: Effects,
) -> limits.Decision:
    facts = sorted(unpack(transaction.one("limit_wants", ids=pack(found))), key=lambda fact: (fact[1], fact[0]))
    jobs = [
        Candidate(id, rank, [Want(key, cost, bool(turn), lost) for key, cost, turn, lost in wants])
        for id, rank, _, wants in facts
    ]
    own_key = QUEUE + queue if own else None
    keys = {want.key for job in jobs for want in job.wants} | ({own_key} if own_key else set())
    limiters, first = _limiters(transaction, keys, queue)
    # Nothing starts before a slot it takes was given back, nor before it was created, whatever the nodes' clocks say:
    # what is stored of the attempts shows the same order as the commits.
    now = max([now, *(fact[2] for fact in facts), *(limiter.freed_at for limiter in limiters.values())])
    decision = limits.decide(jobs, limiters, first, own_key, most, now)
    _grant(transaction, work, decision.granted, limiters, own_key, now)
    if decision.parked:
        _park(transaction, queue, jobs, decision.parked)
    _insist(transaction, queue, decision.insisting)
    _write(transaction, decision, limiters, own_key, now, effects)
    # Who was let go and waits again, or for another key, leaves room behind: those before it in line were not asked.
    left = {want.key for job in jobs for want in job.wants if want.turn and job.id in decision.parked}
    refill(transaction, left | set(decision.parked.values()), now, effects, claiming=True)
    return decision


def _limiters(
    transaction: Transaction, keys: set[str], queue: str
) -> tuple[dict[str, Limiter], dict[str, tuple[int, int]]]:
    found = {key: Limiter(key, None, None, None, 0, 0, 0, False) for key in keys}
    first: dict[str, tuple[int, int]] = {}
    if keys:
        text = transaction.one("limiter_facts", keys=pack(sorted(keys)), queue=queue)
        for key, concurrency, spacing, burst, tat, used, freed_at, parked, before in unpack(text):
            found[key] = Limiter(key, concurrency, spacing, burst, tat, used, freed_at, bool(parked))
            if before is not None:
                first[key] = (before[0], before[1])
    return found, first


def _grant(
    transaction: Transaction,
    work: ClaimWork,
    granted: list[Candidate],
    limiters: dict[str, Limiter],
    own: str | None,
    now: int,
) -> None:
    if not granted:
        return
    ids = pack([job.id for job in granted])
    slots = [(want.key, job.id, limiters[want.key].cost(want.cost)) for job in granted for want in job.wants]
    if own is not None:
        slots += [(own, job.id, 1) for job in granted]
        transaction.send("job_flag", rows=pack([(job.id, int(Flag.LIMITED)) for job in sorted(granted, key=_id)]))
    transaction.send("slot_put", rows=pack(slots))
    if any(want.turn or want.lost for job in granted for want in job.wants):
        transaction.send("limit_started", ids=ids)
    transaction.send("claim", ids=ids, token=work.token, worker=work.worker, lease_until=now + work.lease_ms, now=now)


def _id(job: Candidate) -> int:
    return job.id


def _park(transaction: Transaction, queue: str, jobs: list[Candidate], parked: dict[int, str]) -> None:
    follow(State.READY, Event.THROTTLE)
    transaction.send("limit_park", ids=pack(sorted(parked)), reason=PARKED)
    rows = [(job.id, parked[job.id], job.rank) for job in jobs if job.id in parked]
    transaction.send("limit_mark", rows=pack(rows))
    transaction.send("limiter_queue_put", rows=pack(sorted({(key, queue) for key in parked.values()})))
    tell_changes(transaction, [(id, State.WAITING, PARKED) for id in parked])


def _insist(transaction: Transaction, queue: str, jobs: list[Candidate]) -> None:
    """They stay ready, with a turn at each of their keys: whoever lets others go counts them as ahead."""
    new = [job for job in jobs if not all(want.turn for want in job.wants)]
    if new:
        transaction.send("limit_insist", ids=pack([job.id for job in new]))
        keys = {want.key for job in new for want in job.wants}
        transaction.send("limiter_queue_put", rows=pack(sorted((key, queue) for key in keys)))


def _write(
    transaction: Transaction,
    decision: limits.Decision,
    limiters: dict[str, Limiter],
    own: str | None,
    now: int,
    effects: Effects,
) -> None:
    """What was taken of the keys; and when a key's rate has room again for those that wait for it."""
    keys = {want.key for job in decision.granted for want in job.wants}
    if own is not None and (decision.granted or decision.full):
        keys.add(own)
    rows = []
    for key in sorted(keys):
        limiter = limiters[key]
        next_at = None
        if limiter.interval is not None and (limiter.parked or (key == own and decision.full)):
            next_at = limiter.allowed_at(1, now)
            note_due(effects, next_at)
        rows.append((key, limiter.used, limiter.tat, next_at))
    if rows:
        transaction.send("limiter_take", rows=pack(rows), now=now)


# --- ends -------------------------------------------------------------------------------------------------------------


def leave(transaction: Transaction, jobs: list[Left], now: int, effects: Effects) -> None:
    """Jobs that count against limits came to other states: what they held is given back, and others are let go.

    Called for every change but a claim. What a job takes of which key is kept until it ends, and stored again when it
    is reopened.
    """
    if not jobs:
        return
    lock(transaction)
    keys: set[str] = set()
    running = [job.id for job in jobs if job.before is State.RUNNING]
    if running:
        freed: dict[str, int] = {}
        for key, cost in transaction.rows("slot_release", ids=pack(sorted(running))):
            freed[key] = freed.get(key, 0) + cost
        if freed:
            transaction.send("limiter_free", rows=pack(sorted(freed.items())), now=now)
        for key, cost in freed.items():
            if key.startswith(QUEUE):
                queue = key.removeprefix(QUEUE)
                effects.ready[queue] = effects.ready.get(queue, 0) + cost
            else:
                keys.add(key)
    waiting = [job.id for job in jobs if job.before in (State.READY, State.WAITING)]
    if waiting:
        text = pack(sorted(waiting))
        keys |= set(unpack(transaction.one("limit_marked", ids=text)))
        transaction.send("limit_unmark", ids=text)
    ended = [job.id for job in jobs if job.after in TERMINAL]
    if ended:
        transaction.send("limit_delete", ids=pack(sorted(ended)))
    again = [job.id for job in jobs if job.before in TERMINAL and job.after not in TERMINAL]
    if again:
        found = unpack(transaction.one("limit_options", ids=pack(sorted(again))))
        _store(
            transaction,
            [(id, queue, msgspec.convert(rules, list[LimitRule])) for id, queue, rules in found],
            now,
            effects,
        )
    if keys:
        refill(transaction, keys, now, effects)


def moved(transaction: Transaction, ids: Iterable[int], now: int, effects: Effects) -> None:
    """Jobs that count against limits were given another queue: they wait there for what they waited for here."""
    text = pack(sorted(ids))
    lock(transaction)
    transaction.send("limit_follow", ids=text)
    keys = set(unpack(transaction.one("limit_marked", ids=text)))
    if keys:
        transaction.send("limiter_queue_follow", ids=text)
        refill(transaction, keys, now, effects)


# --- letting go -------------------------------------------------------------------------------------------------------


def due(transaction: Transaction, limit: int, now: int, effects: Effects) -> int:
    """Keys whose rate has room again: let go who waits for them; how many keys there were."""
    if transaction.one("limiter_next_at", now=now) is None:
        return 0
    lock(transaction)
    keys = unpack(transaction.one("limiter_due", now=now, limit=limit))
    refill(transaction, keys, now, effects)
    return len(keys)


def resumed(transaction: Transaction, queue: str, now: int, effects: Effects) -> None:
    """A queue that was paused goes on: let go who had to wait for it."""
    keys = unpack(transaction.one("limits_of_queue", queue=queue))
    if keys:
        lock(transaction)
        refill(transaction, keys, now, effects)


def refill(
    transaction: Transaction, keys: Iterable[str], now: int, effects: Effects, *, claiming: bool = False
) -> None:
    """Let go as many of those who wait for each key as there is room for; the lock is held.

    Those who were let go before and are still to start are told of: there may be room now for who insists. A claim
    (``claiming``) has just seen them.
    """
    wanted = sorted(set(keys))
    if not wanted:
        return
    limiters, _ = _limiters(transaction, set(wanted), "")
    lines: dict[str, list[Line]] = {}
    found = unpack(transaction.one("limit_lines", keys=pack(wanted), limit=LET_GO_AT_MOST))
    for key, queue, ahead, waiting in found:
        lines.setdefault(key, []).append(Line(queue, ahead, [(id, cost) for id, cost in waiting]))
        if ahead and not claiming:
            effects.ready[queue] = effects.ready.get(queue, 0) + 1
    free: list[int] = []
    next_at: dict[str, int | None] = {}
    for key in wanted:
        if key.startswith(QUEUE):
            # Nobody is parked there: a claim that found it full comes again.
            queue = key.removeprefix(QUEUE)
            effects.ready[queue] = effects.ready.get(queue, 0) + 1
            next_at[key] = None
            continue
        ids, next_at[key] = limits.refill(limiters[key], lines.get(key, []), now)
        free += ids
        if len(ids) >= LET_GO_AT_MOST:
            next_at[key] = now
    gone = _let_go(transaction, free, effects) if free else set()
    for key in wanted:
        if len(gone) < len(free) and any(id not in gone for line in lines.get(key, []) for id, _ in line.waiting):
            next_at[key] = min(now + AGAIN_MS, next_at[key] or now + AGAIN_MS)
        at = next_at[key]
        if at is not None:
            note_due(effects, at)
    transaction.send("limiter_next", rows=pack(sorted(next_at.items())))


def _let_go(transaction: Transaction, ids: list[int], effects: Effects) -> set[int]:
    """Those of ``ids`` that are ready now; jobs another transaction holds are passed over."""
    follow(State.WAITING, Event.DUE)
    gone = transaction.rows("limit_unpark", ids=pack(sorted(ids)), reason=PARKED)
    if not gone:
        return set()
    found = sorted(id for id, _ in gone)
    transaction.send("limit_let_go", ids=pack(found))
    for _, queue in gone:
        effects.ready[queue] = effects.ready.get(queue, 0) + 1
    tell_changes(transaction, [(id, State.READY, None) for id in found])
    return set(found)


# --- a queue's own limit ----------------------------------------------------------------------------------------------


def limit_queue(transaction: Transaction, queue: str, numbers: Numbers, now: int, effects: Effects) -> None:
    """What the queue itself allows from now on; jobs that run already count."""
    key = QUEUE + queue
    lock(transaction)
    if numbers == limits.NO_LIMIT:
        transaction.send("slot_delete", key=key)
        transaction.send("limiter_delete", key=key)
    else:
        transaction.send("limiter_put", rows=pack([(key, *msgspec.structs.astuple(numbers))]), now=now)
        transaction.send("queue_flag", queue=queue, flag=int(Flag.LIMITED))
        transaction.send("slot_fill", key=key, queue=queue)
        transaction.send("limiter_count", key=key)
    ready = transaction.one("queue_ready", queue=queue)
    if ready:
        effects.ready[queue] = effects.ready.get(queue, 0) + ready


def is_limited(transaction: Transaction, queue: str) -> bool:
    """Whether a queue has a limit of its own."""
    return bool(unpack(transaction.one("limiters_known", keys=pack([QUEUE + queue]))))
