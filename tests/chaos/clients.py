"""Clients that go on while servers die under them: producers and workers above the SDK, noting every call."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from roost.domain.retry import RetryRule
from roost.errors import Overloaded, RoostError
from roost.sdk._sync.client import Client
from roost.wire.attempts import Lease, Outcome, RecordStep
from roost.wire.contract import RECORD_STEP
from roost.wire.jobs import NewJob, Unique
from tests.chaos.history import History
from tests.chaos.programs import client

KEYS = 30
GIVEN_UP = 0.15
REPEATED = 0.15
RETRY = RetryRule(retries=100, backoff="fixed", base="10ms", cap="10ms")
LEASE = "2s"


class Caller(threading.Thread):
    """One client with a history and its own chance; ends when it is told to."""

    def __init__(self, name: str, url: str, history: History, seed: str) -> None:
        super().__init__(name=name, daemon=True)
        self.rng = random.Random(f"{seed}/{name}")
        self.over = threading.Event()
        self.failure: BaseException | None = None
        self._history = history
        self._client = client(url)

    def run(self) -> None:
        try:
            with self._client:
                while not self.over.is_set():
                    self.turn()
        except BaseException as error:
            self.failure = error

    def turn(self) -> None:
        """One piece of work."""
        raise AssertionError("each client has its own turn")

    def end(self) -> None:
        """Return when it has ended; raises what it died of."""
        self.over.set()
        self.join(60)
        if self.failure is not None:
            raise self.failure
        if self.is_alive():
            raise TimeoutError(f"{self.name} does not end")

    def call(self, call: str, do: Callable[[Client], Any], *, give_up: float = 0.0, **asked: Any) -> Any:
        """Make a call until its outcome is known; None where it was refused or given up."""
        while True:
            entry = self._history.begin(self.name, call, **asked)
            try:
                answer = do(self._client)
            except RoostError as error:
                refused = 400 <= error.status < 500 and not isinstance(error, Overloaded)
                self._history.end(entry, "fail" if refused else "info", error.code)
                if refused or self.rng.random() < give_up or self.over.is_set():
                    return None
                # The server is dead or starting: look again shortly, like any client.
                self.over.wait(0.02)
                continue
            self._history.end(entry, "ok", answer)
            return answer

    def operation(self) -> str:
        return f"{self.rng.getrandbits(128):032x}"


class Producer(Caller):
    """Enqueues one, many, and by unique keys; repeats what it does not know, and some of what it knows."""

    keys: dict[str, int]
    """Keys whose job is acknowledged; shared by all producers."""

    def __init__(self, name: str, url: str, history: History, seed: str, keys: dict[str, int], pause: float) -> None:
        super().__init__(name, url, history, seed)
        self.keys = keys
        self._pause = pause

    def turn(self) -> None:
        operation = self.operation()
        chance = self.rng.random()
        if chance < 0.25:
            self._unique(operation)
        else:
            self._many(operation, 1 if chance < 0.6 else self.rng.randint(2, 6))
        self.over.wait(self._pause)

    def _many(self, operation: str, count: int) -> None:
        jobs = [
            NewJob(kind="work", input=json_of({"operation": operation, "index": index}), retry=RETRY)
            for index in range(count)
        ]

        def enqueue(client: Client) -> list[int]:
            if count == 1:
                return [client.jobs.enqueue(jobs[0], operation_id=operation).id]
            return [one.id for one in client.jobs.enqueue_many(jobs, operation_id=operation)]

        for _ in range(1 + (self.rng.random() < REPEATED)):
            self.call("enqueue", enqueue, give_up=GIVEN_UP, operation=operation, count=count)

    def _unique(self, operation: str) -> None:
        key = f"key-{self.rng.randrange(KEYS)}"
        conflict = key in self.keys and self.rng.random() < 0.3
        input = {"key": key, "other": True} if conflict else {"key": key}
        job = NewJob(kind="unique", input=json_of(input), retry=RETRY, unique=Unique(key=key, within="1h"))
        answer = self.call(
            "enqueue unique",
            lambda client: client.jobs.enqueue(job, operation_id=operation).id,
            give_up=GIVEN_UP,
            operation=operation,
            key=key,
            conflict=conflict,
        )
        if answer is not None:
            self.keys[key] = answer


class Worker(Caller):
    """Claims and settles by the rules most of the time, and tries what must be refused the rest."""

    calm = False
    """Only finish what there is."""
    abandons = True
    """Some leases are left to run out."""

    def turn(self) -> None:
        operation = self.operation()
        claimed = self.call(
            "claim",
            lambda client: _claimed(client, self.name, operation, "100ms" if self.calm else "20ms"),
            operation=operation,
        )
        if claimed is None:
            return
        for text in claimed["jobs"]:
            lease = msgspec.json.decode(text, type=Lease)
            self._work(lease, claimed["token"])
        if not claimed["jobs"]:
            self.over.wait(0.02)

    def _work(self, lease: Lease, token: str) -> None:
        chance = 1.0 if self.calm else self.rng.random()
        if chance < 0.05 and self.abandons:
            return  # Its lease runs out.
        if chance > 0.6 and not self.calm:
            self._step(lease, token)
        if chance < 0.1:
            self.settle(lease.id, f"{self.rng.getrandbits(128):032x}", "succeed", lease.attempt, stale=True)
        if chance < 0.25:
            kind = "fail" if chance < 0.15 else "release"
            if self.settle(lease.id, token, kind, lease.attempt):
                self.settle(lease.id, token, "succeed", lease.attempt, stale=True)
            return
        for _ in range(1 + (chance < 0.4)):
            self.settle(lease.id, token, "succeed", lease.attempt)

    def settle(self, id: int, token: str, kind: Any, attempt: int, *, stale: bool = False) -> bool:
        """Whether it was accepted; ``stale``: it must not be."""
        result = json_of({"job": id, "attempt": attempt, "token": token}) if kind == "succeed" else None
        outcome = Outcome(id=id, token=token, outcome=kind, result=result)

        def settle(client: Client) -> dict[str, Any]:
            (settled,) = client.jobs.settle([outcome])
            return {"state": settled.state, "refused": None if settled.error is None else settled.error.code}

        answer = self.call("settle", settle, id=id, token=token, kind=kind, stale=stale)
        return answer is not None and answer["refused"] is None

    def _step(self, lease: Lease, token: str) -> None:
        output = json_of({"of": lease.id, "by": token})
        name = f"step-{lease.attempt}"
        request = RecordStep(id=lease.id, token=token, name=name, input_hash="hash", output=output)

        def record(client: Client) -> dict[str, str]:
            return {"output": bytes(client.call(RECORD_STEP, request).step.output).decode()}

        self.call("step", record, id=lease.id, token=token, name=name)


def _claimed(client: Client, name: str, operation: str, wait: str) -> dict[str, Any]:
    claimed = client.jobs.claim(name, ["default"], limit=4, lease=LEASE, wait=wait, operation_id=operation)
    return {"token": claimed.token, "jobs": [msgspec.json.encode(lease).decode() for lease in claimed.jobs]}


def json_of(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))
