"""A store under test with short words for what the conformance tests do to it."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field
from typing import Any

import msgspec

from roost.domain.admission import PLAIN, Request, UniqueWish, admit
from roost.domain.holds import subject_hash
from roost.domain.records import HoldRow, HoldRule, JobRow, QueueRules
from roost.domain.retry import RetryRule
from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine.batch import (
    Batch,
    BeatenRow,
    BeatRow,
    ClaimAnswer,
    ClaimWork,
    EnqueuedRow,
    EnqueueWork,
    Operation,
    SettledRow,
    SettleRow,
    StepAnswer,
    StepRow,
)
from roost.engine.calls import Acted, Action, Call
from roost.engine.protocol import Engine
from roost.engine.reading import Reader
from roost.engine.store import Store
from roost.wire.jobs import Job
from roost.wire.problems import Problem

START = 1_800_000_000_000
LEASE = 15_000
SUBJECT = '{"mail":"hello"}'


def row(kind: str = "mail", text: str = '{"user":7}', *, now: int = START, **wishes: Any) -> JobRow:
    """An admitted job; ``unique`` is a key, the rest as in `roost.domain.admission.Request`."""
    unique = wishes.pop("unique", None)
    conflict = wishes.pop("on_conflict", "return")
    wish = UniqueWish(key=unique, within=wishes.pop("within", None), on_conflict=conflict) if unique else None
    rules: QueueRules = wishes.pop("rules", PLAIN)
    return admit(Request(kind=kind, input=text, unique=wish, **wishes), rules, now)


@dataclass
class Bench:
    """One store, a clock that moves by itself (no two moments are equal), and its engine."""

    store: Store
    engine: Engine
    now: int = START
    fed: bool = True
    """Whether the feed can be replayed to the store's state in the end; not where a test takes events away."""
    tokens: Any = field(default_factory=lambda: (f"token{number:027d}" for number in itertools.count(1)))

    @property
    def reader(self) -> Reader:
        return self.store.reader

    def tick(self, ms: int = 1) -> int:
        """Let time pass."""
        self.now += ms
        return self.now

    def enqueue_rows(self, rows: list[JobRow], operation: Operation | None = None) -> list[EnqueuedRow] | Problem:
        return self.engine.apply(Batch(self.tick(), enqueues=[EnqueueWork(rows, operation)])).enqueued[0]

    def enqueue(self, count: int = 1, **wishes: Any) -> list[int]:
        answers = self.enqueue_rows([row(now=self.now + 1, **wishes) for _ in range(count)])
        assert isinstance(answers, list)
        return [answer.id for answer in answers]

    def claim(self, limit: int = 1, *queues: str, lease_ms: int = LEASE, worker: str = "worker") -> ClaimAnswer:
        work = ClaimWork(list(queues) or ["default"], limit, next(self.tokens), worker, lease_ms)
        answer = self.engine.apply(Batch(self.tick(), claims=[work])).claimed[0]
        assert isinstance(answer, ClaimAnswer)
        return answer

    def take(self, limit: int = 1, *queues: str, **how: Any) -> tuple[str, list[int]]:
        """Claim; the token and the ids in order."""
        answer = self.claim(limit, *queues, **how)
        leases: list[dict[str, Any]] = msgspec.json.decode(answer.jobs)
        assert len(leases) == answer.count
        return answer.token, [lease["id"] for lease in leases]

    def settle(self, id: int, token: str, kind: Any = "succeed", **ending: Any) -> SettledRow:
        return self.settle_many([(id, token, Ending(kind=kind, **ending))])[0]

    def settle_many(self, endings: list[tuple[int, str, Ending]]) -> list[SettledRow]:
        rows = [SettleRow(id, token, ending) for id, token, ending in endings]
        return self.engine.apply(Batch(self.tick(), settles=[rows])).settled[0]

    def beat(self, id: int, token: str, **said: Any) -> BeatenRow:
        return self.engine.apply(Batch(self.tick(), beats=[[BeatRow(id, token, LEASE, **said)]])).beaten[0][0]

    def step(self, id: int, token: str, name: str, output: str = '"done"', input_hash: str = "hash") -> StepAnswer:
        work = StepRow(id, token, name, "code", input_hash, output, None, self.now)
        return self.engine.apply(Batch(self.tick(), steps=[work])).steps[0]

    def act(self, action: Action, operation: Operation | None = None) -> Acted:
        return self.engine.act(Call(self.tick(), action, operation))

    def job(self, id: int) -> Job:
        return self.reader.job(id)

    def state(self, id: int) -> State | None:
        return self.reader.states([id]).get(id)

    def hold(self, deadline: int | None = None, on_expiry: Any = "deny", reason: Any = "approval") -> HoldRow:
        return HoldRow(
            reason=reason,
            title="Send",
            subject=SUBJECT,
            subject_hash=subject_hash(SUBJECT),
            deadline=deadline,
            on_expiry=on_expiry,
        )

    def in_state(self, state: State) -> tuple[int, str]:
        """A job brought into ``state`` by ordinary calls, in a queue of its own; its id and its last token."""
        if state is State.WAITING:
            return self.enqueue(delay="1h")[0], ""
        if state is State.HELD:
            return self.enqueue(hold=HoldRule())[0], ""
        if state is State.EXPIRED:
            (id,) = self.enqueue(ttl="1s")
            self.expire(2000)
            return id, ""
        (id,) = self.enqueue(retry=RetryRule(retries=0))
        if state is State.READY:
            return id, ""
        token, (taken,) = self.take()
        assert taken == id
        if state is State.SUCCEEDED:
            self.settle(id, token)
        elif state is State.FAILED:
            self.settle(id, token, "fail", fatal=True)
        elif state is State.CANCELLED:
            self.settle(id, token, "cancel")
        assert self.state(id) is state
        return id, token

    def expire(self, ms: int) -> Acted:
        """Let ``ms`` pass and the clock do its work."""
        from roost.engine.calls import Promote

        self.tick(ms)
        return self.act(Promote())


def seeded() -> Any:
    """Randomness that is the same in every run."""
    return random.Random(20261122).random
