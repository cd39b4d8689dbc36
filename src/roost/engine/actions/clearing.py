"""Queues cleared, destroyed and counted: in bounded sets, so that nobody notices."""

from __future__ import annotations

from roost.domain.admission import PLAIN
from roost.domain.feed import EventType
from roost.domain.records import JobFacts
from roost.domain.states import State
from roost.engine.actions import queues, sets
from roost.engine.batch import Effects
from roost.engine.calls import Acted, CancelRunning, ClearQueue, CountEnded, ForgetQueue, PruneResults, SetQueueRules
from roost.engine.driver import Transaction
from roost.engine.work.feed import tell
from roost.engine.work.moves import record
from roost.engine.work.texts import pack, unpack
from roost.errors import Conflict


def clear(transaction: Transaction, action: ClearQueue, now: int) -> Acted:
    """Delete some of a queue's jobs in one state; ``more`` where there may be others."""
    effects = Effects()
    ids = unpack(transaction.one("queue_jobs", queue=action.name, state=action.state, limit=action.limit))
    if not ids:
        return Acted("{}", effects)

    def judge(facts: JobFacts) -> None:
        # A job that moved on since it was found is no longer what was asked for.
        if facts.state != action.state or facts.queue != action.name:
            raise Conflict("the job has moved on", path="id", help="clear again")

    refused = sets.delete(transaction, ids, now, effects, actor=action.actor, only=judge, recorded=False)
    gone = [id for id in ids if id not in refused]
    if gone:
        tell(transaction, EventType.JOB_DELETED, gone, {"queue": action.name})
        data = {"queue": action.name, "state": action.state, "jobs": len(gone)}
        record(transaction, [(None, "queue_cleared", action.actor, data)], now)
    return Acted("{}", effects, len(gone), len(ids) >= action.limit and bool(gone))


def cancel_running(transaction: Transaction, action: CancelRunning, now: int) -> Acted:
    """Ask all that runs in a queue to stop; how many were asked."""
    effects = Effects()
    ids = unpack(transaction.one("queue_jobs", queue=action.name, state=State.RUNNING, limit=action.limit))
    refused = sets.cancel(transaction, ids, now, effects, actor=action.actor, note=action.note) if ids else {}
    return Acted("{}", effects, len(ids) - len(refused))


def forget(transaction: Transaction, action: ForgetQueue, now: int) -> Acted:
    """Forget a queue's rules and its pause, once no job is left in it; ``more`` where one is."""
    for state in State:
        if unpack(transaction.one("queue_jobs", queue=action.name, state=state, limit=1)):
            return Acted("{}", Effects(), 0, True)
    effects = queues.edit(transaction, SetQueueRules(action.name, PLAIN, action.actor), now).effects
    transaction.send("fair_forget", queue=action.name)
    transaction.send("queue_delete", name=action.name)
    transaction.send("count_delete", queue=action.name)
    record(transaction, [(None, "queue_destroyed", action.actor, {"queue": action.name})], now)
    return Acted("{}", effects, 1)


def count(transaction: Transaction, action: CountEnded) -> Acted:
    """Add what ended in a queue until a moment to what was counted before."""
    transaction.send("count_lock", queue=action.queue, state=action.state)
    transaction.send("count_roll", queue=action.queue, state=action.state, until=action.until)
    return Acted("{}", Effects(), 1)


def prune_results(transaction: Transaction, action: PruneResults) -> Acted:
    """Forget a small set of old results and chunks; their jobs stay. The reply is how far it came."""
    found = unpack(
        transaction.one(
            "result_candidates",
            queue=action.queue,
            state=action.state,
            after=action.after,
            before=action.before,
            limit=action.limit,
        )
    )
    if found:
        ids = pack([id for id, _ in found])
        transaction.send("result_delete", ids=ids)
        transaction.send("chunk_delete", ids=ids)
    more = len(found) >= action.limit
    return Acted(str(found[-1][1] if more else action.before), Effects(), len(found), more)
