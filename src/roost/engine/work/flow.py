"""Jobs that wait for jobs: how they are stored, how they begin to wait while they run, and how they go on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from roost.domain import admission, holds
from roost.domain.flow import WAITS_FOR_JOBS, Counted, Verdict, as_counted, dependent, leaves_chain, wait_first
from roost.domain.records import Flag, FlowWish, JobFacts, JobRow, WaitRow
from roost.domain.states import TERMINAL, Event, State, follow
from roost.engine.batch import Effects, EnqueuedRow
from roost.engine.driver import Retry, Transaction
from roost.engine.work import signals
from roost.engine.work.changes import Change, follow_up, note_due
from roost.engine.work.facts import facts_of
from roost.engine.work.moves import Move, apply
from roost.engine.work.texts import pack, unpack
from roost.errors import Conflict, InvalidRequest, NotFound, RoostError

NO_WISH = FlowWish()


class Need(NamedTuple):
    """A job that others wait for."""

    state: State
    reason: str | None
    queue: str


class _Batch(NamedTuple):
    id: int
    chain: int
    sealed_at: int | None
    total: int
    last_job: int | None
    last_counted: Counted | None


class Surroundings(msgspec.Struct):
    """What is there of the jobs and batches that rows about to be stored name."""

    jobs: dict[int, Need]
    batches: dict[int, _Batch]


def needs_of(transaction: Transaction, ids: Iterable[int]) -> dict[int, Need]:
    """These jobs, locked where the engine locks rows; what is not there is left out."""
    text = pack(sorted(set(ids)))
    return {
        id: Need(State(state), reason, queue)
        for id, state, reason, queue in unpack(transaction.one("flow_jobs", ids=text))
    }


def look_around(transaction: Transaction, rows: Iterable[JobRow]) -> Surroundings:
    """What the wishes of ``rows`` name, two statements at most."""
    wishes = [row.flow for row in rows if row.flow is not None]
    jobs = {id for wish in wishes for id in (*wish.after, *(() if wish.parent is None else (wish.parent,)))}
    batches = sorted({wish.batch for wish in wishes if wish.batch is not None})
    return Surroundings(
        jobs=needs_of(transaction, jobs) if jobs else {},
        batches={
            row[0]: _Batch(*row)
            for row in (unpack(transaction.one("batch_lock", ids=pack(batches))) if batches else ())
        },
    )


def refusal(rows: Sequence[JobRow], around: Surroundings) -> RoostError | None:
    """Why one of ``rows`` cannot be stored as it wishes, with the path ``jobs[…]…``."""
    for place, row in enumerate(rows):
        wish = row.flow
        if wish is None:
            continue
        path = f"jobs[{place}]."
        for index, id in enumerate(wish.after):
            if id not in around.jobs:
                return NotFound(f"there is no job {id}", path=f"{path}after[{index}]", help="it may have been deleted")
        parent = None if wish.parent is None else around.jobs.get(wish.parent)
        if wish.parent is not None and parent is None:
            return NotFound(f"there is no job {wish.parent}", path=f"{path}parent", help="it may have been deleted")
        if parent is not None and parent.state is State.CANCELLED:
            return Conflict(f"job {wish.parent} was cancelled", path=f"{path}parent", help="its work is not wanted")
        if wish.batch is not None:
            batch = around.batches.get(wish.batch)
            if batch is None:
                return NotFound(
                    f"there is no batch {wish.batch}",
                    path=f"{path}batch",
                    help="roost batches list shows what there is",
                )
            if batch.sealed_at is not None:
                return Conflict(
                    f"batch {batch.id} is sealed",
                    path=f"{path}batch",
                    help="create a batch that stays open (seal: false)",
                )
            if batch.chain and (wish.after or wish.places):
                return InvalidRequest(
                    "a chain's jobs wait for the one before them",
                    path=f"{path}after",
                    help="leave it out, or make a batch that is no chain",
                )
    return None


def in_their_place(rows: list[JobRow], around: Surroundings) -> list[JobRow]:
    """``rows`` with each that joins a chain behind another made to wait for it; the given rows stay as they are."""
    if not any(batch.chain for batch in around.batches.values()):
        return rows
    begun = {batch.id for batch in around.batches.values() if batch.last_job is not None}
    placed = []
    for row in rows:
        batch = around.batches.get(row.flow.batch) if row.flow and row.flow.batch is not None else None
        if batch is not None and batch.chain:
            if batch.id in begun:
                row = msgspec.structs.replace(row)
                wait_first(row)
            begun.add(batch.id)
        placed.append(row)
    return placed


class _Relations(msgspec.Struct):
    """What is to be written of rows that were just stored."""

    edges: list[tuple[int, int, int, int]] = []
    dependents: list[tuple[int, int, int, str, int | None]] = []
    members: list[tuple[int, int, int]] = []
    children: list[tuple[int, int]] = []
    flagged: set[int] = set()
    decisions: list[Decision] = []


class Decision(msgspec.Struct, frozen=True):
    """What becomes of a waiting job."""

    job: int
    attempt: int
    """The attempt after which it waits; 0 before its first."""
    verdict: Verdict
    run_at: int | None = None


def relate(
    transaction: Transaction,
    rows: Sequence[JobRow],
    answers: Sequence[EnqueuedRow],
    around: Surroundings,
    now: int,
    effects: Effects,
) -> None:
    """Write what the stored ``rows`` have to do with others, and decide at once what is decided already.

    What they need is read again: rows of the same set may have replaced some of it. A ref to a duplicate means the job
    that was there; one to a refused job counts as not succeeded.
    """
    stored = {place: answers[place].id for place, row in enumerate(rows) if row.flow and _is_new(answers[place])}
    wanted = {id for row in rows if row.flow for id in row.flow.after}
    wanted |= {answers[place].id for row in rows if row.flow for place in row.flow.places if not answers[place].problem}
    links = _chain_links(rows, answers, around)
    wanted |= {link for link in links.values() if link is not None}
    needs = needs_of(transaction, wanted) if wanted else {}
    for batch in around.batches.values():
        last = batch.last_job
        if last is not None and last in links.values() and last not in needs and batch.last_counted is not None:
            # Forgotten since it ended: its batch remembers how.
            needs[last] = Need(*as_counted(batch.last_counted), "")
    fresh = {answer.id for answer in answers if _is_new(answer)}
    _announce(around.jobs | needs, fresh, effects)
    relations = _Relations()
    grown: dict[int, _Batch] = {}
    for place, id in stored.items():
        wish = rows[place].flow or NO_WISH
        if wish.parent is not None:
            relations.children.append((wish.parent, id))
            relations.flagged.add(wish.parent)
        if wish.batch is not None:
            batch = grown.get(wish.batch, around.batches[wish.batch])
            relations.members.append((id, batch.id, batch.total))
            grown[batch.id] = batch._replace(total=batch.total + 1, last_job=id)
        if rows[place].shape.reason == WAITS_FOR_JOBS:
            _place_dependent(relations, id, wish, place, answers, links, needs)
    _write(transaction, relations, around, grown)
    resolve(transaction, relations.decisions, now, effects)


def _is_new(answer: EnqueuedRow) -> bool:
    return not answer.duplicate and answer.problem is None


def _announce(needs: Mapping[int, Need], fresh: set[int], effects: Effects) -> None:
    """A claim passes over rows that are locked: whoever came by while these were is told to look again."""
    for id, need in needs.items():
        if need.state is State.READY and id not in fresh:
            effects.ready[need.queue] = effects.ready.get(need.queue, 0) + 1


def _chain_links(rows: Sequence[JobRow], answers: Sequence[EnqueuedRow], around: Surroundings) -> dict[int, int | None]:
    """By place: the job each row of a chain comes after (None: it is the first)."""
    last = {batch.id: batch.last_job for batch in around.batches.values() if batch.chain}
    links: dict[int, int | None] = {}
    for place, row in enumerate(rows):
        batch = row.flow.batch if row.flow else None
        if batch is not None and batch in last and answers[place].problem is None:
            links[place] = last[batch]
            last[batch] = answers[place].id
    return links


def _place_dependent(
    relations: _Relations,
    id: int,
    wish: FlowWish,
    place: int,
    answers: Sequence[EnqueuedRow],
    links: dict[int, int | None],
    needs: dict[int, Need],
) -> None:
    link = links.get(place)
    refused = any(answers[need].problem for need in wish.places)
    ids = [*wish.after, *(answers[need].id for need in wish.places if not answers[need].problem)]
    unmet, broken = 0, refused
    for need_id in dict.fromkeys([*ids, *(() if link is None else (link,))]):
        need = needs.get(need_id)
        waits = need is not None and need.state not in TERMINAL
        unmet += waits
        broken = broken or need is None or (not waits and need.state is not State.SUCCEEDED)
        relations.edges.append((need_id, id, 0, int(waits)))
        if waits:
            relations.flagged.add(need_id)
    before = needs.get(link) if link is not None else None
    verdict = leaves_chain(before.state, before.reason) if before is not None else None
    verdict = verdict or dependent(unmet, broken, wish.after_failure)
    if verdict is None:
        relations.dependents.append((id, 0, unmet, wish.after_failure, wish.run_at))
    else:
        relations.decisions.append(Decision(id, 0, verdict, wish.run_at))


def _write(transaction: Transaction, relations: _Relations, around: Surroundings, grown: dict[int, _Batch]) -> None:
    if relations.edges:
        transaction.send("dependency_put", rows=pack(relations.edges))
    if relations.dependents:
        transaction.send("dependent_put", rows=pack(relations.dependents))
    if relations.children:
        transaction.send("child_put", rows=pack(relations.children))
    if relations.members:
        growth = [(id, batch.total - around.batches[id].total, batch.last_job) for id, batch in sorted(grown.items())]
        if transaction.run("batch_grow", rows=pack(growth)) != len(growth):
            raise Retry
        transaction.send("batch_member_put", rows=pack(relations.members))
    if relations.flagged:
        flag_ends(transaction, relations.flagged)


def flag_ends(transaction: Transaction, ids: Iterable[int]) -> None:
    """Somebody waits for the end of these jobs."""
    transaction.send("job_flag", rows=pack([(id, int(Flag.FLOW)) for id in sorted(ids)]))


class Wait(NamedTuple):
    """A running job that is to wait; ``timed``: it has a time to go on at in any case."""

    facts: JobFacts
    wait: WaitRow
    timed: bool


def begin_waits(
    transaction: Transaction, waits: list[Wait], needs: Mapping[int, Need], now: int, effects: Effects
) -> None:
    """These jobs, just put to wait, wait for jobs or signals; those whose wait is over already are ready at once.

    A job that is not among ``needs`` any more has ended.
    """
    untimed = sorted(each.facts.id for each in waits if not each.timed)
    if untimed:
        transaction.send("wait_clear", ids=pack(untimed))
    for_jobs = [each for each in waits if each.wait.signal is None]
    if for_jobs:
        _wait_for_jobs(transaction, for_jobs, needs, now, effects)
    for_signals = [(each.facts, each.wait) for each in waits if each.wait.signal is not None]
    if for_signals:
        signals.begin(transaction, for_signals, now, effects)


def _wait_for_jobs(
    transaction: Transaction, waits: list[Wait], needs: Mapping[int, Need], now: int, effects: Effects
) -> None:
    _announce(needs, set(), effects)
    relations = _Relations()
    for facts, wait, _ in waits:
        unmet = 0
        for id in dict.fromkeys(wait.jobs):
            need = needs.get(id)
            waiting = need is not None and need.state not in TERMINAL and id != facts.id
            unmet += waiting
            relations.edges.append((id, facts.id, facts.attempt, int(waiting)))
            if waiting:
                relations.flagged.add(id)
        if unmet:
            relations.dependents.append((facts.id, facts.attempt, unmet, "run", None))
        else:
            relations.decisions.append(Decision(facts.id, facts.attempt, Verdict(None)))
    _write(transaction, relations, Surroundings({}, {}), {})
    resolve(transaction, relations.decisions, now, effects)


def resolve(transaction: Transaction, decisions: list[Decision], now: int, effects: Effects) -> None:
    """Let waiting jobs go on, or end them; whoever does not wait for jobs any more is left as it is.

    A job that never ran meets the rest of its own rules now: its hold, then its time.
    """
    if not decisions:
        return
    facts = facts_of(transaction, (decision.job for decision in decisions))
    moves: list[Move] = []
    later: list[tuple[JobFacts, int]] = []
    asked: list[tuple[JobFacts, int | None]] = []
    done: list[int] = []
    for decision in decisions:
        job = facts.get(decision.job)
        if job is None or job.attempt != decision.attempt:
            continue
        if job.state is not State.WAITING or job.reason != WAITS_FOR_JOBS:
            continue
        if decision.verdict.event is not None:
            moves.append(Move(job, decision.verdict.event, decision.verdict.reason))
        elif job.attempt == 0 and job.options.hold is not None:
            asked.append((job, decision.run_at))
        elif decision.run_at is not None and decision.run_at > now:
            later.append((job, decision.run_at))
        else:
            moves.append(Move(job, Event.DUE, None))
        done.append(job.id)
    if done:
        transaction.send("dependent_delete", ids=pack(sorted(done)))
    apply(transaction, moves, now, effects)
    _schedule(transaction, later, now, effects)
    _ask(transaction, asked, now, effects)


def _schedule(transaction: Transaction, later: list[tuple[JobFacts, int]], now: int, effects: Effects) -> None:
    """They may start, but their time has not come."""
    if not later:
        return
    rows, changes = [], []
    for job, run_at in later:
        state = follow(job.state, Event.RESCHEDULE)
        rows.append((job.id, job.state, state, "scheduled", run_at, None))
        changes.append(Change(job.id, job.queue, job.state, state, "scheduled", job.flags))
        note_due(effects, run_at)
    if transaction.run("job_reschedule", rows=pack(rows)) != len(rows):
        raise Retry
    follow_up(transaction, changes, now, effects)


def _ask(transaction: Transaction, asked: list[tuple[JobFacts, int | None]], now: int, effects: Effects) -> None:
    """They may start as soon as a person has decided: the question is opened now, with its deadline."""
    if not asked:
        return
    texts = dict(unpack(transaction.one("job_inputs", ids=pack([job.id for job, _ in asked]))))
    apply(transaction, [Move(job, Event.HOLD, "approval") for job, _ in asked], now, effects)
    transaction.send("job_flag", rows=pack([(job.id, int(Flag.HOLDS)) for job, _ in asked]))
    rows = []
    for job, _ in asked:
        assert job.options.hold is not None  # noqa: S101 - that is why it is asked
        hold = holds.from_rule(job.options.hold, admission.subject(job.kind, texts[job.id]), now, "hold")
        rows.append((job.id, hold.reason, hold.title, hold.subject, hold.subject_hash, hold.deadline, hold.on_expiry))
        if hold.deadline is not None:
            note_due(effects, hold.deadline)
    transaction.send("hold_put", rows=pack(rows), now=now)
    timed = [(job.id, State.HELD, State.HELD, "approval", run_at, None) for job, run_at in asked if run_at is not None]
    if timed:
        transaction.send("job_reschedule", rows=pack(timed))


def forgotten(transaction: Transaction, ids: list[int]) -> None:
    """Jobs are about to be deleted: those whose end was not carried on leave word of it for those who wait."""
    transaction.send("flow_gone", ids=pack(ids))
