"""Ranks: where jobs stand in queues that have an order of their own; plain queues and plain jobs never come here."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from roost.domain import order
from roost.domain.admission import PLAIN
from roost.domain.duration import parse_duration
from roost.domain.order import Band
from roost.domain.records import Flag, JobRow, QueueRules, Shape
from roost.domain.states import State
from roost.domain.templates import Subject, template
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack, unpack

PAGE = 1000
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


def rank_queue(transaction: Transaction, queue: str, rules: QueueRules, now: int) -> None:
    """Rank all of a queue's jobs that have not ended anew: its order was changed."""
    fair = int(Flag.FAIR)
    transaction.send("fair_clear", queue=queue)
    if rules.fairness is None:
        if rules.ageing is None:
            transaction.send("rank_by_priority", queue=queue, fair=fair)
        else:
            transaction.send("rank_by_age", queue=queue, fair=fair, ageing_ms=parse_duration(rules.ageing))
        transaction.send("rank_parked_queue", queue=queue)
        return
    # Before the new places are given, nothing of the old order may stand in the way of the virtual time.
    transaction.send("rank_by_priority", queue=queue, fair=fair)
    after = 0
    while ids := unpack(transaction.one("order_next", queue=queue, after=after, limit=PAGE)):
        _rank_stored(transaction, ids, now)
        after = ids[-1]


def _rank_stored(transaction: Transaction, ids: list[int], now: int) -> None:
    facts = sorted(unpack(transaction.one("order_facts", ids=pack(ids))))
    if not facts:
        return
    rules = rules_of(transaction, {fact[1] for fact in facts})
    fair = [fact[0] for fact in facts if rules.get(fact[1], PLAIN).fairness is not None]
    keys: dict[int, str] = {}
    if fair:
        # Their old places tell nothing of the virtual time.
        transaction.send("rank_unplace", ids=pack(fair), width=order.BAND)
        for id, kind, queue, text, owner, tags in unpack(transaction.one("order_subjects", ids=pack(fair))):
            fairness = rules[queue].fairness
            subject = Subject(kind=kind, queue=queue, input=text, owner=owner, tags=tags)
            keys[id] = "" if fairness is None else template(fairness.key).key(subject)
    wishes = [
        _Wish(queue, priority, since, keys.get(id, ""), bool(starts)) for id, queue, priority, since, starts in facts
    ]
    ranks = _ranked(transaction, wishes, rules, now)
    rows = [(fact[0], rank, placed) for fact, (rank, placed) in zip(facts, ranks, strict=True)]
    transaction.send("rank_put", rows=pack(rows), fair=int(Flag.FAIR))


def _ranks(transaction: Transaction, wishes: list[_Wish], now: int) -> list[tuple[int, bool]]:
    return _ranked(transaction, wishes, rules_of(transaction, {wish.queue for wish in wishes}), now)


def rules_of(transaction: Transaction, queues: set[str]) -> dict[str, QueueRules]:
    """The rules of those queues that have any; who edits them waits."""
    found = transaction.rows("order_rules", queues=pack(sorted(queues)))
    return {name: _rules.decode(text) for name, text in found if text}


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
