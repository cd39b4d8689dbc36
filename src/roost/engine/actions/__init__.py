"""Control operations: each one transaction, each answered with its wire reply."""

from __future__ import annotations

from collections.abc import Callable

from roost.engine.actions import (
    batches,
    clearing,
    flow,
    holds,
    jobs,
    kinds,
    limits,
    loops,
    outboxes,
    queues,
    schedules,
    searches,
    tracking,
    webhooks,
)
from roost.engine.batch import Effects
from roost.engine.calls import (
    Acted,
    Action,
    AdvanceFlow,
    Backfill,
    Call,
    CancelBatch,
    CancelJobs,
    CancelRunning,
    ClearQueue,
    CountEnded,
    CreateBatch,
    DecideHold,
    DeleteJobs,
    DeleteKind,
    DeleteSchedule,
    DeliverBatch,
    EditJobs,
    ExtendHold,
    FireSchedule,
    FireSchedules,
    ForgetQueue,
    HoldJobs,
    MoveJobs,
    NoteJobs,
    Promote,
    Prune,
    PruneFeed,
    PruneOld,
    PruneResults,
    PutKind,
    PutSchedule,
    RankJobs,
    Reap,
    ReopenJobs,
    RunJobs,
    SealBatch,
    SendSignal,
    SetLimit,
    SetQueuePaused,
    SetQueueRules,
    SetSchedulePaused,
    TakeJob,
    UpdateJob,
)
from roost.engine.driver import Transaction
from roost.engine.hooks import HookAction
from roost.engine.searching.protocol import SearchAction
from roost.engine.work import feed, operations
from roost.engine.work.moves import record
from roost.engine.work.texts import pack
from roost.engine.workers import DrainWorker, RegisterWorker, SeeWorkers
from roost.errors import NotFound
from roost.wire.problems import Problem


def act(transaction: Transaction, call: Call, rng: Callable[[], float]) -> Acted:
    """The answer to ``call``: what it did, or did before under the same operation id; raises what refuses it."""
    operation = call.operation
    if operation:
        before = operations.Known(transaction, [operation.id], call.now).answer(operation)
        if isinstance(before, Problem):
            return Acted("", Effects(), problem=before)
        if before is not None:
            return Acted(webhooks.recalled(transaction, call.action, before), Effects())
    transaction.facts.clear()
    acted = _act(transaction, call.action, call.now, rng)
    if operation:
        kept = acted.reply if acted.kept is None else acted.kept
        transaction.send("operations_put", rows=pack([(operation.id, operation.fingerprint, kept)]), now=call.now)
    acted.effects.fed = feed.write(transaction, call.now)
    return acted


def _act(transaction: Transaction, action: Action, now: int, rng: Callable[[], float]) -> Acted:
    match action:
        case CancelJobs():
            return jobs.cancel(transaction, action, now)
        case ReopenJobs():
            return jobs.reopen(transaction, action, now)
        case DeleteJobs():
            return jobs.delete(transaction, action, now)
        case MoveJobs():
            return jobs.move(transaction, action, now)
        case RunJobs():
            return jobs.run_now(transaction, action, now)
        case HoldJobs():
            return jobs.hold(transaction, action, now)
        case EditJobs():
            return jobs.edit(transaction, action, now)
        case NoteJobs():
            return jobs.note(transaction, action, now)
        case TakeJob():
            return tracking.take(transaction, action, now)
        case UpdateJob():
            return tracking.update(transaction, action, now, rng)
        case ClearQueue():
            return clearing.clear(transaction, action, now)
        case CancelRunning():
            return clearing.cancel_running(transaction, action, now)
        case ForgetQueue():
            return clearing.forget(transaction, action, now)
        case CountEnded():
            return clearing.count(transaction, action)
        case PruneResults():
            return clearing.prune_results(transaction, action)
        case PutKind():
            return kinds.put(transaction, action, now)
        case DeleteKind():
            return kinds.delete(transaction, action, now)
        case SetQueuePaused():
            return queues.pause(transaction, action, now)
        case RankJobs():
            return queues.rank(transaction, action, now)
        case SetQueueRules():
            return queues.edit(transaction, action, now)
        case SetLimit():
            return limits.edit(transaction, action, now)
        case PutSchedule():
            return schedules.put(transaction, action, now)
        case SetSchedulePaused():
            return schedules.pause(transaction, action, now)
        case DeleteSchedule():
            return schedules.delete(transaction, action, now)
        case FireSchedule():
            return schedules.fire(transaction, action, now)
        case FireSchedules():
            return schedules.fire_all(transaction, action, now)
        case Backfill():
            return schedules.backfill(transaction, action, now)
        case DecideHold():
            return holds.decide(transaction, action, now)
        case ExtendHold():
            return holds.extend(transaction, action, now)
        case AdvanceFlow():
            return flow.advance(transaction, action, now)
        case CreateBatch():
            return batches.create(transaction, action, now)
        case SealBatch():
            return batches.seal(transaction, action, now)
        case CancelBatch():
            return batches.cancel(transaction, action, now)
        case SendSignal():
            return flow.send(transaction, action, now)
        case RegisterWorker():
            transaction.send("worker_put", id=action.id, data=action.data, now=now)
            feed.tell(transaction, "worker_registered", [], {"worker": action.id})
            # Nodes know by their rules who is to drain: one that starts again under its old name is not.
            return Acted("{}", Effects(rules=True), 1)
        case SeeWorkers():
            transaction.send("worker_seen", rows=pack(sorted(action.heard)))
            return Acted("{}", Effects(), len(action.heard))
        case DrainWorker():
            if not transaction.run("worker_drain", id=action.id, now=now):
                raise NotFound(
                    f"there is no worker {action.id!r}", path="id", help="roost workers shows those heard of lately"
                )
            record(transaction, [(None, "worker_draining", action.actor, {"worker": action.id})], now)
            return Acted("{}", Effects(rules=True), 1)
        case DeliverBatch():
            return outboxes.deliver(transaction, action, now)
        case Promote():
            return loops.promote(transaction, action, now)
        case Reap():
            return loops.reap(transaction, action, now, rng)
        case Prune():
            return loops.prune(transaction, action)
        case PruneFeed():
            return loops.prune_feed(transaction, action)
        case PruneOld():
            return loops.prune_old(transaction, action)
        case HookAction():
            return webhooks.act(transaction, action, now, rng)
        case SearchAction():
            return searches.act(transaction, action, now)
