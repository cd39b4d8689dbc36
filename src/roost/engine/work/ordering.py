"""Ranks: where jobs stand in queues that have an order of their own; plain queues and plain jobs never come here."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import NamedTuple

import msgspec

from roost.domain import order
from roost.domain.admission import PLAIN
from roost.domain.duration import parse_duration
from roost.domain.order import Band
from roost.domain.records import Flag, JobRow, QueueRules, Shape
from roost.domain.states import State
from roost.domain.templates import Subject, template
from roost.engine.batch import Effects
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack, unpack

PAGE = 1000
SET = 250
"""Jobs of a queue with a new order that are ranked in one transaction: who enqueues into the queue waits for it."""
_rules = msgspec.json.Decoder(QueueRules)


class _Wish(msgspec.Struct, array_like=True):
    """What the rank of one job is made of."""

    queue: str
    priority: int
    since: int
    key: str
    ready: bool


def shapes(transaction: Transaction, rows: list[JobRow], now: int) -> list[Shape]:
    """The shapes of new jobs, with ranks where their queues have an order of their own: by the rules of this moment."""
    found = [row.shape for row in rows]
    places = [place for place, row in enumerate(rows) if row.order is not None]
    if not places:
        return found
    wishes = []
    for place in places:
        shape = found[place]
        key, ready = rows[place].order or "", shape.state is State.READY
        wishes.append(_Wish(shape.queue, shape.priority, shape.run_at or now, key, ready))
    for place, (rank, fair) in zip(places, _ranks(transaction, wishes, now), strict=True):
        shape = found[place]
        flags = shape.flags | Flag.FAIR if fair else shape.flags & ~Flag.FAIR
        found[place] = msgspec.structs.replace(shape, rank=rank, flags=int(flags))
    return found


def rank_again(transaction: Transaction, ids: Iterable[int], now: int) -> None:
    """Rank stored jobs anew, by the rules of the queues they are in: after a move, another priority, a reopen."""
    wanted = sorted(set(ids))
    for start in range(0, len(wanted), PAGE):
        _rank_stored(transaction, wanted[start : start + PAGE], now)


def begin(transaction: Transaction, queue: str, now: int, effects: Effects) -> None:
    """Rank all of a queue's jobs that have not ended anew: its order was changed. The first set now.

    A long line is ranked in sets (`rank_set`), each a transaction: nobody else's jobs wait for it. Until then jobs
    of both orders stand side by side.
    """
    transaction.send("fair_clear", queue=queue)
    transaction.send("fair_rebase", queue=queue)
    transaction.send("ranking_begin", queue=queue)
    ids = unpack(transaction.one("order_next", queue=queue, after=0, limit=SET))
    effects.chores = bool(rank_set(transaction, queue, 0, ids, now, effects))


def rank_set(
    transaction: Transaction, queue: str, seen: int, ids: list[int], now: int, effects: Effects
) -> bool | None:
    """Rank the next jobs, up to `SET` behind ``seen`` in the order of their ids; whether there may be more.

    Fewer are the last ones. Then those are placed as well that came meanwhile. None: somebody else was there before.
    """
    _lock(transaction, queue, ids, effects)
    if not transaction.run("ranking_advance", queue=queue, seen=seen, upto=ids[-1] if ids else seen):
        return None
    if ids:
        _rank_stored(transaction, ids, now, placing=queue)
        transaction.send("rank_parked", ids=pack(ids))
    if len(ids) >= SET:
        return True
    # Whoever put a job behind all the others until now has committed: the queue's row was locked by them.
    ranks = [order.unplaced_rank(priority) for priority in range(order.HIGHEST_PRIORITY + 1)]
    late = sorted(unpack(transaction.one("order_unplaced", queue=queue, ranks=pack(ranks), limit=SET)))
    if late:
        _lock(transaction, queue, late, effects)
        _rank_stored(transaction, late, now, placing=queue)
    if len(late) >= SET:
        return True
    transaction.send("ranking_end", queue=queue)
    return False


def _lock(transaction: Transaction, queue: str, ids: list[int], effects: Effects) -> None:
    """What is decided of these jobs stays true; a claim that passes over them meanwhile is told to come again."""
    if ids and any(state == State.READY for _, state, *_ in unpack(transaction.one("flow_jobs", ids=pack(ids)))):
        effects.ready[queue] = effects.ready.get(queue, 0) + 1


def _rank_stored(transaction: Transaction, ids: list[int], now: int, placing: str | None = None) -> None:
    """``placing``: those of this queue are the next of its set; who has moved elsewhere has a place there."""
    facts = sorted(unpack(transaction.one("order_facts", ids=pack(ids))))
    facts = [fact for fact in facts if placing is None or fact[1] == placing]
    if not facts:
        return
    queues = _queues(transaction, {fact[1] for fact in facts})
    rules = {name: queue.rules for name, queue in queues.items()}
    fair = [fact[0] for fact in facts if rules.get(fact[1], PLAIN).fairness is not None]
    keys: dict[int, str] = {}
    if fair:
        # Their old places tell nothing of the virtual time.
        transaction.send("rank_unplace", ids=pack(fair), width=order.BAND)
        for id, kind, queue, text, owner, tags in unpack(transaction.one("order_subjects", ids=pack(fair))):
            fairness = rules[queue].fairness
            subject = Subject(kind=kind, queue=queue, input=text, owner=owner, tags=tags)
            keys[id] = "" if fairness is None else template(fairness.key).key(subject)
    wishes = []
    for id, queue, priority, since, starts in facts:
        placed = placing is not None or id <= queues[queue].ranked_to
        wishes.append(_Wish(queue, priority, since, keys.get(id, ""), bool(starts) and placed))
    ranks = _ranked(transaction, wishes, rules, now)
    rows = [(fact[0], rank, placed) for fact, (rank, placed) in zip(facts, ranks, strict=True)]
    transaction.send("rank_put", rows=pack(rows), fair=int(Flag.FAIR))


def _ranks(transaction: Transaction, wishes: list[_Wish], now: int) -> list[tuple[int, bool]]:
    queues = _queues(transaction, {wish.queue for wish in wishes})
    for wish in wishes:
        # A new job's id is beyond all that were ranked.
        wish.ready = wish.ready and queues[wish.queue].ranked_to == inf
    return _ranked(transaction, wishes, {name: queue.rules for name, queue in queues.items()}, now)


class _Queue(NamedTuple):
    rules: QueueRules
    ranked_to: float
    """Jobs beyond this id are still to be ranked by these rules: they are given their places then."""


def _queues(transaction: Transaction, names: set[str]) -> dict[str, _Queue]:
    found = transaction.rows("order_rules", queues=pack(sorted(names)))
    known = {
        name: _Queue(_rules.decode(text) if text else PLAIN, inf if ranking is None else ranking)
        for name, text, ranking in found
    }
    return {name: known.get(name, _Queue(PLAIN, inf)) for name in names}


def rules_of(transaction: Transaction, queues: set[str]) -> dict[str, QueueRules]:
    """The rules of these queues; who edits them waits."""
    return {name: queue.rules for name, queue in _queues(transaction, queues).items()}


def _ranked(
    transaction: Transaction, wishes: list[_Wish], rules: dict[str, QueueRules], now: int
) -> list[tuple[int, bool]]:
    """The rank of each wish, and whether it is one of a fair queue."""
    fair = [wish for wish in wishes if rules.get(wish.queue, PLAIN).fairness is not None]
    bands = _bands(transaction, [wish for wish in fair if wish.ready])
    ranks: list[tuple[int, bool]] = []
    for wish in wishes:
        of_queue = rules.get(wish.queue, PLAIN)
        low = order.band_of(wish.priority)
        if of_queue.fairness is not None:
            if wish.ready:
                rank = low + bands[wish.queue, low].place(wish.key, order.weight_of(of_queue.fairness, wish.key))
            else:
                # What is not ready yet takes nobody's turn: its place is given when it becomes ready.
                rank = order.unplaced_rank(wish.priority)
            ranks.append((rank, True))
        elif of_queue.ageing is not None:
            ranks.append((order.ageing_rank(wish.priority, wish.since, parse_duration(of_queue.ageing)), False))
        else:
            ranks.append((order.plain_rank(wish.priority), False))
    if bands:
        _put(transaction, bands, now)
    return ranks


def _bands(transaction: Transaction, wishes: list[_Wish]) -> dict[tuple[str, int], Band]:
    if not wishes:
        return {}
    names = pack(sorted({(wish.queue, order.band_of(wish.priority)) for wish in wishes}))
    transaction.send("fair_lock", bands=names)
    found: dict[tuple[str, int], Band] = {}
    for queue, low, latest, first in unpack(transaction.one("fair_bands", bands=names, width=order.BAND)):
        found[queue, low] = Band(latest if first is None else first - low, {}, latest)
    keys = sorted({(wish.queue, order.band_of(wish.priority), wish.key) for wish in wishes})
    for queue, low, key, ends in unpack(transaction.one("fair_keys", keys=pack(keys))):
        found[queue, low].ends[key] = ends
    return found


def _put(transaction: Transaction, bands: dict[tuple[str, int], Band], now: int) -> None:
    ends = sorted((queue, low, key, end) for (queue, low), band in bands.items() for key, end in band.ends.items())
    transaction.send("fair_put", keys=pack(ends), now=now)
    transaction.send("fair_advance", bands=pack([(queue, low, band.latest) for (queue, low), band in bands.items()]))
