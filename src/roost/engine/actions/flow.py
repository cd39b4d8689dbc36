"""Ends are carried on to those who wait for them: a constant number of statements for each set of ends."""

from __future__ import annotations

from roost.domain.feed import EventType
from roost.domain.flow import Counted, Verdict, counted, dependent, leaves_chain
from roost.domain.records import Flag
from roost.domain.states import TERMINAL, Event, State
from roost.domain.tracked import is_tracked
from roost.engine.actions import batches
from roost.engine.actions.sets import end_tracked
from roost.engine.batch import Effects
from roost.engine.calls import Acted, AdvanceFlow, SendSignal
from roost.engine.driver import Transaction
from roost.engine.work import signals
from roost.engine.work.facts import facts_of
from roost.engine.work.feed import tell
from roost.engine.work.flow import Decision, Need, needs_of, resolve
from roost.engine.work.members import members_of, recount
from roost.engine.work.moves import Move, apply
from roost.engine.work.signals import Signal
from roost.engine.work.texts import pack, unpack
from roost.errors import NotFound
from roost.wire.codec import encode
from roost.wire.flow import SentSignal

ROUNDS = 100
"""How many steps of a graph one transaction may go: an end's dependents may end by it, and theirs in turn."""
EDGES = 5_000
"""How many dependents (or children) of one set of ends are looked at in a step."""


def advance(transaction: Transaction, action: AdvanceFlow, now: int) -> Acted:
    """Carry on up to ``limit`` ends, and what ends by them; ``count`` is 0 where nothing was to do."""
    effects = Effects()
    count = _serve_signals(transaction, action.limit, now, effects)
    for _ in range(ROUNDS):
        taken = unpack(transaction.one("flow_take", limit=action.limit))
        if not taken:
            break
        count += _carry_on(transaction, taken, now, effects)
        if count >= action.limit:
            break
    return Acted("{}", effects, count, count > 0)


def send(transaction: Transaction, action: SendSignal, now: int) -> Acted:
    """Store a signal and hand it to those who wait; raises `NotFound` where its job is not there."""
    effects = Effects()
    if action.job is not None and not transaction.one("job_exists", id=action.job):
        raise NotFound(f"there is no job {action.job}", path="job", help="roost jobs list shows what there is")
    transaction.one("signal_lock", names=pack([action.name]))
    id: int = transaction.one("signal_put", name=action.name, data=action.data, job=action.job, now=now)
    data = {"signal": id, "name": action.name} | ({} if action.job is None else {"job": action.job})
    tell(transaction, EventType.SIGNAL_SENT, [], data)
    woken = signals.deliver(transaction, Signal(id, action.name, action.data, action.job), action.limit, now, effects)
    # Where more wait than one transaction takes, the flow's loop goes on with them.
    effects.flow = effects.flow or woken >= action.limit
    return Acted(encode(SentSignal(id=id, woken=woken)).decode(), effects, 1)


def _serve_signals(transaction: Transaction, limit: int, now: int, effects: Effects) -> int:
    found = [Signal(*row) for row in unpack(transaction.one("signals_pending", limit=1))]
    return sum(signals.deliver(transaction, signal, limit, now, effects) + 1 for signal in found)


def _carry_on(
    transaction: Transaction, taken: list[tuple[int, int, Counted | None]], now: int, effects: Effects
) -> int:
    """What the ends of these jobs mean, by what the jobs are now: one that lives again ends again later."""
    needs = needs_of(transaction, (job for _, job, _ in taken))
    gone = {job: how for _, job, how in taken if how is not None and job not in needs}
    for need in needs.values():
        if need.state is State.READY:
            # Locked for a moment, and passed over by whoever claimed then.
            effects.ready[need.queue] = effects.ready.get(need.queue, 0) + 1
    succeeded = {id for id, need in needs.items() if need.state is State.SUCCEEDED}
    succeeded |= {id for id, how in gone.items() if how == "succeeded"}
    ended = sorted({id for id, need in needs.items() if need.state in TERMINAL} | gone.keys())
    decisions, edges = _close_edges(transaction, ended, succeeded)
    counts: dict[int, Counted | None] = {id: counted(need.state, need.reason) for id, need in needs.items()}
    counts |= gone
    belongs = bool(counts) and _break_chains(transaction, sorted(counts), needs, gone, decisions)
    resolve(transaction, list(decisions.values()), now, effects)
    # Of the deleted only those that had been cancelled still have children.
    cancelled = [*(id for id, need in needs.items() if need.state is State.CANCELLED), *gone]
    children = _cancel_children(transaction, cancelled, now, effects) if cancelled else 0
    if belongs:
        batches.finish(transaction, recount(transaction, counts), now, effects)
    if edges < EDGES and children < EDGES:
        transaction.send("flow_todo_delete", ids=pack([id for id, _, _ in taken]))
        if gone:
            transaction.send("child_delete", ids=pack(sorted(gone)))
    return len(taken) + edges + children


def _close_edges(transaction: Transaction, ended: list[int], succeeded: set[int]) -> tuple[dict[int, Decision], int]:
    """Count these ends for those who wait for them: what becomes of whom, and how many edges were closed."""
    edges = transaction.rows("dependency_close", ids=pack(ended), limit=EDGES) if ended else []
    if not edges:
        return {}, 0
    met: dict[tuple[int, int], int] = {}
    broken: set[tuple[int, int]] = set()
    for need, job, attempt in edges:
        met[job, attempt] = met.get((job, attempt), 0) + 1
        if need not in succeeded:
            broken.add((job, attempt))
    waiting = transaction.rows(
        "dependent_met", rows=pack([(job, attempt, count) for (job, attempt), count in sorted(met.items())])
    )
    decisions = {}
    for job, attempt, unmet, policy, run_at in waiting:
        verdict = dependent(unmet, (job, attempt) in broken, policy)
        if verdict is not None:
            decisions[job] = Decision(job, attempt, verdict, run_at)
    return decisions, len(edges)


def _break_chains(
    transaction: Transaction,
    ids: list[int],
    needs: dict[int, Need],
    gone: dict[int, Counted],
    decisions: dict[int, Decision],
) -> bool:
    """Let all that stands behind a chain's broken place end at once; whether any of ``ids`` belongs to a batch."""
    members = members_of(transaction, ids)
    broken: list[tuple[int, int, str | None]] = []
    verdicts: dict[str | None, Verdict] = {}
    for member in members:
        if not member.chain:
            continue
        need = needs.get(member.job)
        if need is None:
            verdict = None if gone[member.job] == "succeeded" else Verdict(Event.CANCEL, "dependency_failed")
        else:
            verdict = leaves_chain(need.state, need.reason)
        if verdict is not None:
            verdicts[verdict.reason] = verdict
            broken.append((member.batch, member.position, verdict.reason))
    if broken:
        for job, reason in unpack(transaction.one("chain_rest", rows=pack(broken))):
            decisions[job] = Decision(job, 0, verdicts[reason])
    return bool(members)


def _cancel_children(transaction: Transaction, parents: list[int], now: int, effects: Effects) -> int:
    """A cancelled job's work is not wanted, nor that of its children; those that run are asked."""
    ids = unpack(transaction.one("children_open", ids=pack(parents), limit=EDGES))
    if not ids:
        return 0
    facts = facts_of(transaction, ids).values()
    running = [job for job in facts if job.state is State.RUNNING]
    asked = sorted(job.id for job in running if not is_tracked(job))
    if asked:
        transaction.send("job_flag", rows=pack([(id, int(Flag.CANCEL_REQUESTED)) for id in asked]))
    end_tracked(transaction, [job for job in running if is_tracked(job)], now, effects)
    stopped = [job for job in facts if job.state is not State.RUNNING and job.state not in TERMINAL]
    apply(transaction, [Move(job, Event.CANCEL, "parent_cancelled") for job in stopped], now, effects)
    return len(ids)
