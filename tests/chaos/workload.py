"""Mixed work on one engine, by chance but repeatable: what the power is cut under."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from roost.domain.holds import Decision
from roost.domain.records import HoldRule
from roost.domain.retry import RetryRule
from roost.domain.schedule import ScheduleRule
from roost.domain.settle import Ending
from roost.engine.batch import Batch, BeatRow, ClaimWork, EnqueueWork, Operation, SettleRow, StepRow
from roost.engine.calls import CancelJobs, DecideHold, Fire, FireSchedule, PutSchedule, Reap, ReopenJobs
from roost.wire.holds import Hold, ListHolds
from tests.conformance.bench import SUBJECT, Bench, row

INTERVAL = 60_000


@dataclass(frozen=True, slots=True)
class Repeat:
    """A call that was answered, and must be answered the same when it is repeated; ``call`` gives what counts of it."""

    what: str
    commit: int
    call: Callable[[Bench], object]
    answer: object


class Workload:
    """Does one transaction after another; ``committed`` is told after each that it was acknowledged."""

    def __init__(self, bench: Bench, rng: random.Random, committed: Callable[[], int]) -> None:
        self._bench = bench
        self._rng = rng
        self._committed = committed
        self._held: list[tuple[int, str, int]] = []
        self._keys: list[tuple[str, int]] = []
        self._count = 0
        self._next_fire: int | None = None
        self.repeats: list[Repeat] = []

    def go_on(self) -> None:
        """One transaction of a kind taken by chance."""
        kinds: list[tuple[Callable[[], None], int]] = [
            (self._enqueue, 6), (self._enqueue_unique, 3), (self._claim, 5), (self._settle, 6), (self._step, 4),
            (self._beat, 1), (self._decide, 2), (self._fire, 2), (self._clock, 1), (self._steer, 1), (self._all, 2),
        ]  # fmt: skip
        self._count += 1
        self._rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()

    def _acknowledged(self, what: str, call: Callable[[Bench], object], answer: object) -> None:
        self.repeats.append(Repeat(what, self._committed(), call, answer))

    def _operation(self) -> Operation:
        return Operation(f"operation-{self._count}", f"fingerprint-{self._count}")

    def _text(self) -> str:
        # Some are longer than a page.
        return f'{{"number":{self._count},"text":"{"x" * self._rng.choice([0, 20, 700, 9000])}"}}'

    def _enqueue(self) -> None:
        rule = RetryRule(retries=self._rng.randint(0, 3))
        hold = HoldRule() if self._rng.random() < 0.15 else None
        delay = "1m" if self._rng.random() < 0.1 else None
        rows = [
            row(text=self._text(), now=self._bench.now + 1, retry=rule, hold=hold, delay=delay)
            for _ in range(self._rng.randint(1, 6))
        ]
        operation = self._operation()
        answer = self._bench.enqueue_rows(rows, operation)
        self._acknowledged("enqueue", lambda bench: bench.enqueue_rows(rows, operation), answer)

    def _enqueue_unique(self) -> None:
        if self._keys and self._rng.random() < 0.4:
            key, number = self._rng.choice(self._keys)
        else:
            key, number = f"key-{self._count}", self._count
            self._keys.append((key, number))
        rows = [row("brief", f'{{"user":{number}}}', now=self._bench.now + 1, unique=key, within="1h")]

        def ids(bench: Bench) -> object:
            answers = bench.enqueue_rows(rows)
            return [answer.id for answer in answers] if isinstance(answers, list) else answers

        self._acknowledged("unique key", ids, ids(self._bench))

    def _claim(self) -> None:
        token = f"{self._rng.getrandbits(128):032x}"
        work = ClaimWork(["default"], self._rng.randint(1, 5), token, "worker", 15_000, self._operation())

        def claim(bench: Bench) -> Any:
            return bench.engine.apply(Batch(bench.tick(), claims=[work])).claimed[0]

        answer = claim(self._bench)
        with self._bench.store.reader._session() as session:  # type: ignore[attr-defined]
            taken = session.query("SELECT id, attempt FROM job WHERE token = :token", {"token": token})
        self._held += [(id, token, attempt) for id, attempt in taken]
        self._acknowledged("claim", lambda bench: claim(bench).token, answer.token)

    def _take(self) -> tuple[int, str] | None:
        if not self._held:
            self._claim()
            return None
        id, token, _ = self._held.pop(self._rng.randrange(len(self._held)))
        return id, token

    def _ending(self) -> Ending:
        kind = self._rng.choice(["succeed", "succeed", "succeed", "fail", "snooze", "hold", "release", "cancel"])
        if kind == "hold":
            return Ending(kind="hold", hold=self._bench.hold(deadline=self._bench.now + INTERVAL * 10))
        if kind == "snooze":
            return Ending(kind="snooze", after_ms=1000)
        if kind == "fail":
            return Ending(kind="fail", error='{"type":"Broken"}', fatal=self._rng.random() < 0.2)
        return Ending(kind=kind, result=self._text() if kind == "succeed" else None)  # type: ignore[arg-type]

    def _settle(self) -> None:
        if (taken := self._take()) is None:
            return
        id, token = taken
        ending = self._ending()

        def accepted(bench: Bench) -> object:
            return bench.settle_many([(id, token, ending)])[0].problem is None

        self._acknowledged("settle", accepted, accepted(self._bench))

    def _step(self) -> None:
        if not self._held:
            return self._claim()
        id, token, _ = self._rng.choice(self._held)
        name, output = f"step-{self._count}", self._text()
        accepted = self._bench.step(id, token, name, output).problem is None

        def recorded(bench: Bench) -> object:
            return [bytes(step.output) for step in bench.reader.steps(id) if step.name == name]

        self._acknowledged("step", recorded, [output.encode()] if accepted else [])
        return None

    def _beat(self) -> None:
        if not self._held:
            return self._claim()
        id, token, _ = self._rng.choice(self._held)
        message = f"line {self._count}"
        accepted = self._bench.beat(id, token, saved=self._text(), logs=[(1, "info", message)]).problem is None

        def told(bench: Bench) -> object:
            return message in [line.message for line in bench.reader.logs(id, 0, 1000).lines]

        self._acknowledged("heartbeat", told, accepted)
        return None

    def _decide(self) -> None:
        holds = self._bench.reader.holds(ListHolds()).holds
        if not holds:
            return self._settle()
        hold = self._rng.choice(holds)
        decision: Decision = self._rng.choice(["approve", "deny"])
        action = DecideHold(id=hold.id, decision=decision, subject_hash=hold.subject_hash, actor="ana", note="")

        def decided(bench: Bench) -> object:
            told = msgspec.json.decode(bench.act(action).reply, type=Hold)
            return told.state, told.decided_at, told.decided_by

        self._acknowledged("decision", decided, decided(self._bench))
        return None

    def _fire(self) -> None:
        bench = self._bench
        if self._next_fire is None:
            self._next_fire = bench.now + INTERVAL
            put = PutSchedule(
                name="every", rule=ScheduleRule(every="1m"), job='{"kind":"tick"}', paused=None,
                remove_after_last=False, next_fire=self._next_fire,
            )  # fmt: skip
            operation = self._operation()
            answer = bench.act(put, operation).reply
            return self._acknowledged("schedule", lambda bench: bench.act(put, operation).reply, answer)
        bench.now = max(bench.now, self._next_fire)
        fire_at, self._next_fire = self._next_fire, self._next_fire + INTERVAL
        fire = Fire(fire_at, "fired", row("tick", now=bench.now, schedule="every", fire_at=fire_at))
        fires = FireSchedule(name="every", expected=fire_at, fires=[fire], next_fire=self._next_fire)
        assert bench.act(fires).count == 1

        def again(bench: Bench) -> object:
            return bench.act(fires).count

        return self._acknowledged("fire", again, 0)

    def _clock(self) -> None:
        if self._rng.random() < 0.5:
            self._bench.expire(INTERVAL)
        else:
            self._bench.act(Reap(before=self._bench.tick(1000) - INTERVAL))
        self._committed()

    def _steer(self) -> None:
        id = self._rng.randint(1, 40)
        self._bench.act(CancelJobs(id) if self._rng.random() < 0.5 else ReopenJobs(id))
        self._committed()

    def _all(self) -> None:
        """Every kind of work in one commit, as group commit makes it."""
        if len(self._held) < 3:
            return self._claim()
        bench, operation = self._bench, self._operation()
        ended, beaten, stepped = (self._held.pop(self._rng.randrange(len(self._held))) for _ in range(3))
        now = bench.tick()
        rows = [row(text=self._text(), now=now) for _ in range(3)]
        batch = Batch(
            now,
            enqueues=[EnqueueWork(rows, operation), EnqueueWork([row(text=SUBJECT, now=now)])],
            settles=[[SettleRow(ended[0], ended[1], self._ending())]],
            beats=[[BeatRow(beaten[0], beaten[1], 15_000, '{"current":1}', self._text())]],
            steps=[StepRow(stepped[0], stepped[1], "all", "code", "hash", self._text(), None, now)],
            claims=[ClaimWork(["default"], 2, f"{self._rng.getrandbits(128):032x}", "worker", 15_000)],
        )
        answer = bench.engine.apply(batch).enqueued[0]
        return self._acknowledged("batch", lambda bench: bench.enqueue_rows(rows, operation), answer)
