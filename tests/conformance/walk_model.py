"""What must be so of any store after any walk (see `tests.conformance.walk`), told from a simple model and its rows."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from roost.domain.flow import COUNTERS, Counted, counted
from roost.domain.states import TERMINAL, State
from tests.conformance.bench import Bench

QUEUES = ("alpha", "beta", "gamma")
KEYS = ("tenant:a", "tenant:b", "gpu", "vendor")
MOST = 10**9
Gone = tuple[State, str | None]


@dataclass
class Waiter:
    """A job of the model: what it waits for since which attempt, and where it belongs."""

    id: int
    queue: str
    needs: set[int] = field(default_factory=set)
    policy: str = "cancel"
    batch: int | None = None
    wants: dict[str, int] = field(default_factory=dict)
    blocked: bool = False
    """It waits for the ends of ``needs``."""
    timed: bool = False
    """Its wait ends by the clock as well."""


@dataclass
class Group:
    """A batch of the model."""

    id: int
    chain: bool
    members: list[int] = field(default_factory=list)
    sealed: bool = False
    finished: dict[str, int] | None = None
    """What it was told to be when it finished."""


class Model:
    """The jobs and batches of one walk, as they must be."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench = bench
        self.chance = random.Random(seed)
        self.queues = [f"{name}{bench.now}" for name in QUEUES]
        self.keys = [f"{key}/{bench.now}" for key in KEYS]
        self.jobs: dict[int, Waiter] = {}
        self.gone: dict[int, Gone] = {}
        """How deleted jobs count, as what they were."""
        self.groups: dict[int, Group] = {}
        self.tokens: dict[int, str] = {}
        self.dirty = False
        self.done: list[str] = []
        """What was done, for whoever reads a failure."""
        self.states: dict[int, State] = {}
        self.reasons: dict[int, str | None] = {}

    def look(self) -> None:
        """Read where all jobs are."""
        with self.bench.reader._session() as session:  # type: ignore[attr-defined]
            found = session.query("SELECT id, state, reason, queue FROM job", {})
        self.states = {id: State(state) for id, state, _, _ in found if id in self.jobs}
        self.reasons = {id: reason for id, _, reason, _ in found}
        for id, _, _, queue in found:
            if id in self.jobs:
                self.jobs[id].queue = queue
        for id, state in self.states.items():
            job = self.jobs[id]
            if job.blocked and (state is not State.WAITING or self.reasons[id] != "dependency"):
                assert job.timed or state in TERMINAL or not self.unmet(id), f"job {id} does not wait any more: {job}"
                job.blocked = job.timed = False
        for id in [id for id in self.tokens if self.states.get(id) is not State.RUNNING]:
            del self.tokens[id]

    def lives(self, id: int) -> bool:
        return id in self.states and self.states[id] not in TERMINAL

    def unmet(self, id: int) -> list[int]:
        return [need for need in self.jobs[id].needs if self.lives(need)]

    # --- what must be so ----------------------------------------------------------------------------------------------

    def fate(self, id: int) -> Gone | None:
        """Where a job is, or how it counts though it is gone."""
        return (self.states[id], self.reasons[id]) if id in self.states else self.gone.get(id)

    def check_flow(self) -> None:
        """Everything is carried on: nobody waits for what has ended, and batches count what their members are."""
        for id, state in self.states.items():
            job = self.jobs[id]
            if state is not State.WAITING or self.reasons[id] != "dependency":
                continue
            assert job.blocked, f"job {id} waits, the model does not know for whom"
            ended = {need: self.fate(need) for need in job.needs if not self.lives(need)}
            assert len(ended) < len(job.needs), f"job {id} waits for nobody: {ended}"
            if job.policy != "run":
                assert all(end is not None and end[0] is State.SUCCEEDED for end in ended.values()), (id, ended)
            job.needs -= ended.keys()
            told = self.bench.reader.blockers(id)
            assert {blocker.id for blocker in told.jobs} == job.needs, "why names those it waits for, and nobody else"
            assert told.count == len(job.needs)
        for group in self.groups.values():
            self.check_batch(group)
        with self.bench.reader._session() as session:  # type: ignore[attr-defined]
            assert session.query("SELECT count(*) FROM flow_todo", {}) == [(0,)]
            orphans = session.query(
                "SELECT count(*) FROM dependent WHERE NOT EXISTS (SELECT 1 FROM job WHERE job.id = dependent.job_id)",
                {},
            )
            assert orphans == [(0,)]

    def check_batch(self, group: Group) -> None:
        told = self.bench.reader.flow.batch(group.id)
        numbers = {name: getattr(told, name) for name in ("pending", "total", *COUNTERS)}
        with self.bench.reader._session() as session:  # type: ignore[attr-defined]
            called = session.query(
                "SELECT event, job_id FROM batch_callback WHERE batch_id = :id AND job_id IS NOT NULL", {"id": group.id}
            )
        if group.finished is not None:
            assert numbers == group.finished, "what is finished stays as it was told"
            return
        assert told.total == len(group.members)
        counts: dict[Counted | None, int] = {}
        for id in group.members:
            fate = self.fate(id)
            assert fate is not None
            how = counted(*fate)
            counts[how] = counts.get(how, 0) + 1
        for name in COUNTERS:
            assert getattr(told, name) == counts.get(name, 0), (group, name, numbers, counts)
        assert told.pending == counts.get(None, 0)
        over = group.sealed and not told.pending
        assert (told.state == "finished") == over, (group, numbers)
        if over:
            group.finished = numbers
            good = told.succeeded + told.skipped == told.total
            assert sorted(event for event, _ in called) == sorted(["complete", "success" if good else "failure"])
        else:
            assert called == []

    def check_limits(self) -> None:
        """What keys hold is what running jobs take; who is parked waits, and there is no room for the first of them."""
        with self.bench.reader._session() as session:  # type: ignore[attr-defined]
            limiters = session.query("SELECT key, concurrency, spacing, burst, tat, used, next_at FROM limiter", {})
            slots = session.query("SELECT key, job_id, cost FROM slot", {})
            wants = session.query("SELECT job_id, key, queue, cost, parked, turn FROM job_limit", {})
            paused = {name for (name,) in session.query("SELECT name FROM queue WHERE paused_at IS NOT NULL", {})}
            ranks = dict(session.query("SELECT id, rank FROM job", {}))
        held: dict[str, int] = {}
        for key, id, cost in slots:
            if id not in self.jobs:
                continue
            assert self.states.get(id) is State.RUNNING, f"{key} is held by job {id}, which is {self.states.get(id)}"
            held[key] = held.get(key, 0) + cost
        mine = {*self.keys, *(f"queue:{queue}" for queue in self.queues)}
        found = {row[0]: row[1:] for row in limiters if row[0] in mine}
        for key, (_, _, _, _, used, _) in found.items():
            assert used == held.get(key, 0), f"{key}: {used} are counted, {held.get(key, 0)} are held"
        for queue in self.queues:
            running = sum(state is State.RUNNING and self.jobs[id].queue == queue for id, state in self.states.items())
            if f"queue:{queue}" in found:
                assert found[f"queue:{queue}"][4] == running, f"{queue}: {running} run"
        lines: dict[tuple[str, str], list[tuple[int, int, int]]] = {}
        ahead: dict[tuple[str, str], int] = {}
        parked_of: dict[int, list[str]] = {}
        for id, key, queue, cost, parked, turn in wants:
            if id not in self.jobs:
                continue
            assert id in self.states, f"a ghost of job {id} is left at {key}"
            assert self.states[id] not in TERMINAL, f"job {id} has ended and still wants {key}"
            assert queue == self.jobs[id].queue, f"job {id} waits for {key} in {queue}, and is in {self.jobs[id].queue}"
            if parked is not None:
                assert parked == ranks[id], f"job {id} is parked at a place that is not its own"
                parked_of.setdefault(id, []).append(key)
                lines.setdefault((key, queue), []).append((parked, id, cost))
            if turn:
                assert self.states[id] is State.READY, f"job {id} has a turn and is {self.states[id]}"
                ahead[key, queue] = ahead.get((key, queue), 0) + cost
        throttled = {
            id for id, state in self.states.items() if state is State.WAITING and self.reasons[id] == "throttled"
        }
        assert set(parked_of) == throttled, (parked_of, throttled)
        assert all(len(keys) == 1 for keys in parked_of.values())
        for (key, queue), line in lines.items():
            if queue in paused:
                continue
            concurrency, spacing, burst, tat, used, next_at = found[key]
            _, id, cost = min(line)
            first = ahead.get((key, queue), 0) + min(cost, *(n for n in (concurrency, burst) if n is not None), MOST)
            if concurrency is not None and used + first > concurrency:
                continue
            # Its rate has room, or will have: somebody looks then, or those who were let go are to start first.
            assert spacing is not None, f"job {id} waits for {key} in {queue}, where there is room"
            assert next_at is not None or ahead.get((key, queue)), f"nobody will look at {key} again"
            early = max(tat, self.bench.now * 1000) + (first - burst) * spacing > self.bench.now * 1000
            assert early or ahead.get((key, queue)) or next_at <= self.bench.now, (
                f"{key} has room, and is looked at late"
            )
