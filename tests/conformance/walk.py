"""Random walks over everything jobs have to do with each other and with limits, against a simple model.

One walk mixes all operations, by a seed, on one store. The model knows who waits for whom;
counters of batches and limits are counted again from the rows. In the end all that can run is run: nothing may be left
that waits for nothing. By hand, for hours:

    python -m tests.conformance.walk memory 0 1000
"""

from __future__ import annotations

import random
import sys
import tempfile
from typing import Any

import msgspec

from roost.domain.limits import NO_LIMIT, numbers
from roost.domain.placing import Place
from roost.domain.records import FairRule, FlowWish, HoldRule, JobRow, LimitRule, QueueRules, WaitRow
from roost.domain.retry import RetryRule
from roost.domain.settle import Ending
from roost.domain.states import TERMINAL, State
from roost.engine.calls import (
    Acted,
    Action,
    CancelBatch,
    CancelJobs,
    CancelRunning,
    ClearQueue,
    CreateBatch,
    DecideHold,
    DeleteJobs,
    HoldJobs,
    MoveJobs,
    Reap,
    ReopenJobs,
    SealBatch,
    SetLimit,
    SetQueuePaused,
    SetQueueRules,
)
from roost.engine.opening import open_store
from roost.wire.holds import ListHolds
from tests.conformance.bench import Bench, row
from tests.conformance.flows import advance, decoded
from tests.conformance.walk_model import Group, Model, Waiter


class Walk(Model):
    """One walk on ``bench``; ``step`` by ``step``, with ``check`` in between and ``finish`` in the end."""

    # --- what is done -------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One operation by chance."""
        names = [name.removeprefix("do_") for name in sorted(dir(self)) if name.startswith("do_")]
        weights = [WEIGHTS.get(name, 2) for name in names]
        [name] = self.chance.choices(names, weights)
        self.done.append(name)
        getattr(self, f"do_{name}")()
        self.look()
        self.check_limits()

    def act(self, action: Action) -> Acted:
        return self.bench.act(action)

    def some(self, *states: State) -> int | None:
        """A job in one of these states."""
        found = [id for id, state in sorted(self.states.items()) if not states or state in states]
        return self.chance.choice(found) if found else None

    def limits(self) -> list[LimitRule] | None:
        if self.chance.random() < 0.5:
            return None
        rules = []
        for key in self.chance.sample(self.keys, self.chance.randint(1, 2)):
            if key.startswith("vendor"):
                rules.append(LimitRule(key=key, rate="20/s", burst=3, cost=self.chance.randint(1, 2)))
            elif key.startswith("gpu"):
                rules.append(LimitRule(key=key, concurrency=4, cost=self.chance.randint(1, 3)))
            else:
                rules.append(LimitRule(key=key, concurrency=self.chance.choice([1, 2])))
        return rules

    def job(self, **wish: Any) -> tuple[JobRow, Waiter]:
        """A job with chance's options; ``wish`` as of `FlowWish`."""
        chance = self.chance
        queue = chance.choice(self.queues)
        limits = self.limits()
        flow = FlowWish(**wish)
        options: dict[str, Any] = {"retry": RetryRule(retries=chance.choice([0, 1, 9]), backoff="fixed", base="1s")}
        if chance.random() < 0.1:
            options["hold"] = HoldRule()
        if chance.random() < 0.1:
            options["ttl"] = "20s"
        if chance.random() < 0.1:
            options["delay"] = "3s"
        made = row(
            kind="work",
            now=self.bench.now + 1,
            queue=queue,
            priority=chance.choice([3, 5, 5, 9]),
            limits=limits,
            flow=None if flow == FlowWish() else flow,
            **options,
        )
        wants = {rule.key: rule.cost for rule in limits or ()}
        return made, Waiter(0, queue, set(flow.after), flow.after_failure, flow.batch, wants, bool(flow.after))

    def needs(self) -> dict[str, Any]:
        known = sorted(self.states)
        if not known or self.chance.random() < 0.4:
            return {}
        after = self.chance.sample(known, min(len(known), self.chance.randint(1, 3)))
        return {"after": sorted(after), "after_failure": self.chance.choice(["cancel", "fail", "run"])}

    def do_enqueue(self) -> None:
        made = []
        for _ in range(self.chance.randint(1, 4)):
            wish = self.needs()
            if not wish and self.chance.random() < 0.3 and self.states:
                wish = {"parent": self.some()}
                if self.states[wish["parent"]] is State.CANCELLED:
                    wish = {}
            open_ = [group.id for group in self.groups.values() if not group.sealed]
            if open_ and self.chance.random() < 0.4:
                wish["batch"] = self.chance.choice(open_)
                if self.groups[wish["batch"]].chain:
                    wish.pop("after", None)
                    wish.pop("after_failure", None)
            made.append(self.job(**wish))
        answers = self.bench.enqueue_rows([each for each, _ in made])
        assert isinstance(answers, list), answers
        for answer, (_, waiter) in zip(answers, made, strict=True):
            waiter.id = answer.id
            self.store(waiter)

    def store(self, waiter: Waiter) -> None:
        self.jobs[waiter.id] = waiter
        waiter.needs = {need for need in waiter.needs if self.lives(need)}
        if waiter.batch is not None:
            group = self.groups[waiter.batch]
            if group.chain and group.members:
                waiter.needs, waiter.blocked, waiter.policy = {group.members[-1]}, True, "cancel"
            group.members.append(waiter.id)
        self.dirty = True

    def do_batch(self) -> None:
        chain = self.chance.random() < 0.5
        made = [self.job() for _ in range(self.chance.randint(0, 4))]
        callbacks = [(event, row(kind=f"{event}", now=self.bench.now + 1, queue="callbacks"))
                     for event in ("complete", "success", "failure")]  # fmt: skip
        seal = self.chance.random() < 0.6
        action = CreateBatch(name="b", chain=chain, rows=[r for r, _ in made], callbacks=callbacks, seal=seal)  # type: ignore[arg-type]
        batch = decoded(self.act(action))
        self.groups[batch.id] = Group(batch.id, chain, sealed=seal)
        for id, (_, waiter) in zip(batch.jobs, made, strict=True):
            waiter.id, waiter.batch = id, batch.id
            self.store(waiter)

    def do_seal(self) -> None:
        open_ = [group for group in self.groups.values() if not group.sealed]
        if open_:
            group = self.chance.choice(open_)
            decoded(self.act(SealBatch(group.id)))
            group.sealed = True

    def do_cancel_batch(self) -> None:
        if not self.groups:
            return
        group = self.groups[self.chance.choice(sorted(self.groups))]
        after, more = -1, True
        while more:
            acted = self.act(CancelBatch(group.id, after, 2))
            after, more = int(acted.reply), acted.more
        group.sealed = True

    def do_claim(self) -> None:
        queues = self.chance.sample(self.queues, self.chance.randint(1, 3))
        token, ids = self.bench.take(self.chance.randint(1, 4), *queues)
        self.started(token, ids)

    def started(self, token: str, ids: list[int]) -> None:
        for id in ids:
            # Who finds no room may let go others, in the same claim.
            ready = self.states[id] is State.READY or self.reasons[id] == "throttled"
            assert ready, f"job {id} was {self.states[id]} ({self.reasons[id]})"
            self.tokens[id] = token

    def do_settle(self) -> None:
        some = self.chance.sample(sorted(self.tokens), min(len(self.tokens), self.chance.randint(1, 3)))
        self.end([(id, self.ending(id)) for id in some])

    def ending(self, id: int) -> Ending:
        kind = self.chance.choice(["succeed"] * 6 + ["fail", "fatal", "exit", "died", "died", "snooze", "release",
                                                     "hold", "wait", "wait", "cancel"])  # fmt: skip
        match kind:
            case "fatal":
                return Ending(kind="fail", fatal=True)
            case "exit":
                return Ending(kind="succeed", exit=True)
            case "died":
                return Ending(kind="fail", died=True, after_ms=0)
            case "snooze":
                return Ending(kind="snooze", after_ms=2000)
            case "hold":
                return Ending(kind="hold", hold=self.bench.hold())
            case "wait":
                jobs = self.chance.sample(sorted(self.states), min(len(self.states), self.chance.randint(1, 3)))
                jobs = [job for job in jobs if job != id and not self.leads_to(job, id)]
                if jobs:
                    return Ending(kind="wait", wait=WaitRow(jobs=jobs), after_ms=self.chance.choice([None, 5000]))
                return Ending(kind="succeed", result="1")
        return Ending(kind=kind)  # type: ignore[arg-type]

    def leads_to(self, start: int, end: int) -> bool:
        """Whether ``start`` waits, by others, for ``end``."""
        seen, stack = set[int](), [start]
        while stack:
            id = stack.pop()
            if id == end:
                return True
            if id not in seen and id in self.jobs:
                seen.add(id)
                stack += self.jobs[id].needs if self.jobs[id].blocked else ()
        return False

    def end(self, endings: list[tuple[int, Ending]]) -> None:
        # Of waits in one set each must be judged after those before it.
        for id, ending in endings:
            if ending.wait is not None and any(self.leads_to(need, id) for need in ending.wait.jobs):
                ending = Ending(kind="succeed")
            [answer] = self.bench.settle_many([(id, self.tokens[id], ending)])
            assert answer.problem is None, answer
            if ending.kind == "wait" and answer.state in (State.WAITING, State.READY):
                job = self.jobs[id]
                assert ending.wait is not None
                job.needs, job.policy = {need for need in ending.wait.jobs if self.lives(need)}, "run"
                job.blocked, job.timed = True, ending.after_ms is not None
            self.dirty = True

    def do_settle_many(self) -> None:
        for token in sorted(set(self.tokens.values())):
            rows = [(id, token, Ending(kind="succeed")) for id, each in sorted(self.tokens.items()) if each == token]
            assert all(answer.problem is None for answer in self.bench.settle_many(rows))
        self.dirty = True

    def do_cancel(self) -> None:
        id = self.some()
        if id is not None:
            self.act(CancelJobs(id))
            self.dirty = True

    def do_delete(self) -> None:
        id = self.some(*(state for state in State if state is not State.RUNNING))
        if id is not None:
            assert self.act(DeleteJobs(id)).problem is None
            self.bury(id)

    def bury(self, id: int) -> None:
        state, reason = self.states[id], self.reasons[id]
        self.gone[id] = (state, reason) if state in TERMINAL else (State.CANCELLED, None)
        self.dirty = True

    def do_clear(self) -> None:
        queue, state = self.chance.choice(self.queues), self.chance.choice(["waiting", "ready", "held"])
        before = dict(self.states)
        self.act(ClearQueue(name=queue, state=state, limit=3))
        self_states = self.bench.reader.states(sorted(before))
        for id in sorted(before.keys() - self_states.keys()):
            self.bury(id)

    def do_reopen(self) -> None:
        id = self.some(*TERMINAL)
        if id is not None:
            queue = self.chance.choice([None, None, *self.queues])
            assert self.act(ReopenJobs(id, queue=queue)).problem is None
            self.jobs[id].blocked = self.jobs[id].timed = False
            self.dirty = True

    def do_move(self) -> None:
        id = self.some(State.READY, State.WAITING, State.HELD)
        if id is not None:
            place = Place(queue=self.chance.choice(self.queues), priority=self.chance.choice([None, 1, 9]))
            assert self.act(MoveJobs(id, place)).problem is None

    def do_hold(self) -> None:
        id = self.some(State.READY, State.WAITING)
        if id is not None:
            self.act(HoldJobs(id, "wait"))

    def do_decide(self) -> None:
        id = self.some(State.HELD)
        if id is not None:
            self.decide(id, self.chance.choice(["approve", "approve", "deny"]))

    def decide(self, id: int, decision: Any) -> None:
        [hold] = self.bench.reader.holds(ListHolds(job=id)).holds
        acted = self.act(DecideHold(id=hold.id, decision=decision, subject_hash=hold.subject_hash, actor="", note=""))
        assert acted.problem is None, acted.problem
        self.dirty = True

    def do_pause(self) -> None:
        self.act(SetQueuePaused(self.chance.choice(self.queues), self.chance.random() < 0.5))

    def do_stop_running(self) -> None:
        self.act(CancelRunning(name=self.chance.choice(self.queues)))

    def do_limit_queue(self) -> None:
        rules = self.chance.choice(
            [
                QueueRules(),
                QueueRules(concurrency=2),
                QueueRules(rate="50/s", burst=2),
                QueueRules(ageing="1m"),
                QueueRules(fairness=FairRule(key="{input.user}"), concurrency=3),
            ]
        )
        assert self.act(SetQueueRules(self.chance.choice(self.queues), rules)).problem is None

    def do_edit_limit(self) -> None:
        said = self.chance.choice([NO_LIMIT, numbers(1, None, None, ""), numbers(3, None, None, ""),
                                   numbers(2, "20/s", 3, "")])  # fmt: skip
        assert self.act(SetLimit(self.chance.choice(self.keys), said)).problem is None

    def do_time(self) -> None:
        self.bench.expire(self.chance.choice([1, 50, 1500, 6000]))
        self.dirty = True

    def do_reap(self) -> None:
        self.bench.tick(16_000)
        self.act(Reap(self.bench.now))
        self.dirty = True

    def do_carry_on(self) -> None:
        advance(self.bench)
        self.look()
        self.check_flow()

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Run all that can run; nothing is left but waits that nobody can end."""
        for queue in self.queues:
            self.act(SetQueuePaused(queue, False))
        for _ in range(400):
            self.bench.expire(3000)
            advance(self.bench)
            self.look()
            self.check_limits()
            self.check_flow()
            for id in [id for id, state in self.states.items() if state is State.HELD]:
                self.decide(id, "approve")
            self.look()
            token, ids = self.bench.take(20, *self.queues)
            self.started(token, ids)
            self.look()
            self.bench.settle_many([(id, token, Ending(kind="succeed")) for id, token in sorted(self.tokens.items())])
            advance(self.bench)
            self.look()
            if all(state in TERMINAL for state in self.states.values()):
                break
        left = {id: (state, self.reasons[id]) for id, state in self.states.items() if state not in TERMINAL}
        assert not left, f"never ended: {left}"
        for group in self.groups.values():
            if not group.sealed:
                decoded(self.act(SealBatch(group.id)))
                group.sealed = True
        self.check_flow()
        assert all(group.finished is not None for group in self.groups.values())
        with self.bench.reader._session() as session:  # type: ignore[attr-defined]
            calls = session.query("SELECT i.options, j.kind FROM job j JOIN job_input i ON i.job_id = j.id "
                                  "WHERE j.queue = 'callbacks'", {})  # fmt: skip
        of = [(msgspec.json.decode(options)["batch"], kind) for options, kind in calls]
        assert len(of) == len(set(of)), "a callback is made once"
        assert {batch for batch, _ in of} >= set(self.groups), "and never forgotten"


WEIGHTS = {"claim": 16, "settle": 12, "enqueue": 8, "carry_on": 8, "batch": 3, "settle_many": 2, "clear": 1, "reap": 1,
           "stop_running": 1, "pause": 1, "limit_queue": 2}  # fmt: skip


def walk(bench: Bench, seed: int, steps: int) -> Walk:
    """A whole walk; what was done before a failure is told with it."""
    made = Walk(bench, seed)
    try:
        for _ in range(steps):
            made.step()
        made.finish()
    except AssertionError as error:
        error.add_note(f"seed {seed}: {' '.join(made.done)}")
        raise
    return made


def main() -> None:
    """``memory|file|postgresql FIRST LAST [STEPS]``: one walk for each seed, in one store."""
    where, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else 120
    from tests.support.postgres import PostgresServer

    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server:
        url = {"memory": "sqlite://:memory:", "file": f"sqlite:///{folder}/r.db"}.get(where) or server.create_database()
        failed = 0
        for seed in range(first, last):
            store = open_store(
                url if where != "memory" else "sqlite://:memory:", "embedded", rng=random.Random(7).random
            )
            bench = Bench(store, store.engine(), now=1_800_000_000_000 + seed * 100_000_000)
            try:
                walk(bench, seed, steps)
            except AssertionError as error:
                failed += 1
                print(f"seed {seed}: {error}", flush=True)
            bench.engine.close()
            store.close()
        print(f"{last - first} walks on {where}, {failed} failed")


if __name__ == "__main__":
    main()
