"""Death between any two statements of a transaction: nothing of it is there, and the work can be done again."""

from __future__ import annotations

import time
from typing import Any

import pytest

from roost.domain.settle import Ending
from roost.engine.batch import Batch, BeatRow, ClaimWork, EnqueueWork, Operation, SettleRow, StepRow
from roost.engine.calls import Call, CancelJobs, Reap, ReopenJobs
from roost.engine.driver import Transaction
from tests.conformance.bench import Bench, row


class Crash(BaseException):
    """The process is gone."""


def _picture(bench: Bench) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    tables = ["job", "job_input", "job_result", "job_progress", "job_log", "attempt", "step", "hold", "event"]
    tables += ["unique_key", "operation", "schedule", "fire", "queue"]
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        query = session.query
        return {table: sorted(map(repr, query("SELECT * FROM " + table, {}))) for table in tables}  # noqa: S608


def _everything(bench: Bench) -> Batch:
    """A batch with every kind of work in it."""
    bench.enqueue(4)
    token, ids = bench.take(4)
    now = bench.tick()
    return Batch(
        now,
        enqueues=[
            EnqueueWork([row(now=now), row(now=now, unique="k", tags={"a": "b"})], Operation("op-1", "f")),
            EnqueueWork([row(now=now, unique="k")]),
        ],
        settles=[
            [
                SettleRow(ids[0], token, Ending(kind="succeed", result="1")),
                SettleRow(ids[1], token, Ending(kind="fail", error='{"type":"E"}')),
                SettleRow(ids[2], token, Ending(kind="hold", hold=bench.hold())),
            ]
        ],
        beats=[[BeatRow(ids[3], token, 15_000, '{"current":1}', "1", [(now, "info", "line")])]],
        steps=[StepRow(ids[3], token, "first", "code", "hash", "1", None, now)],
        claims=[ClaimWork(["default"], 10, "b" * 32, "worker", 15_000, Operation("op-2", "f"))],
    )


def until_undone(bench: Bench) -> None:
    """Return when the database has noticed the death: until then it passes over rows that the dead still hold."""
    if bench.store.info.engine != "postgresql":
        return
    at_work = """
        SELECT 1 FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
          AND backend_type = 'client backend'
    """
    deadline = time.monotonic() + 20
    busy = True
    while busy:
        assert time.monotonic() < deadline
        with bench.reader._session() as session:  # type: ignore[attr-defined]
            busy = session.query(at_work, {}) != []


def _crash_at(monkeypatch: pytest.MonkeyPatch, transaction: type[Transaction], at: int) -> list[int]:
    """The ``at``-th statement from now on does not happen; the list counts the statements."""
    count = [0]
    for method in ("run", "send", "ask", "one", "row", "rows", "allocate"):
        original = getattr(transaction, method)

        def step(self: Transaction, *words: Any, _original: Any = original, **parameters: Any) -> Any:
            if count[0] == at:
                raise Crash
            count[0] += 1
            return _original(self, *words, **parameters)

        monkeypatch.setattr(transaction, method, step)
    return count


def _transaction_type(bench: Bench) -> type[Transaction]:
    found: list[Transaction] = []
    bench.engine._driver.transaction(found.append)  # type: ignore[attr-defined]
    return type(found[0])


def test_a_batch_is_whole_or_not_at_all(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = _everything(bench)
    before = _picture(bench)
    kind = _transaction_type(bench)
    at = 0
    while True:
        with monkeypatch.context() as patch:
            count = _crash_at(patch, kind, at)
            try:
                bench.engine.apply(batch)
            except Crash:
                until_undone(bench)
            else:
                break
        assert _picture(bench) == before, f"something is left after a crash before statement {at}"
        at += 1
    assert count[0] == at > 15
    assert _picture(bench) != before


@pytest.mark.parametrize("action", [CancelJobs, ReopenJobs, Reap], ids=lambda action: action.__name__)
def test_an_action_is_whole_or_not_at_all(bench: Bench, monkeypatch: pytest.MonkeyPatch, action: Any) -> None:
    bench.enqueue(2, unique=None)
    token, ids = bench.take(1)
    if action is ReopenJobs:
        bench.settle(ids[0], token, "succeed", result="1")
    call = Call(bench.tick(60_000), action(bench.now) if action is Reap else action(ids[0], "ana", "why"))
    before = _picture(bench)
    kind = _transaction_type(bench)
    at = 0
    while True:
        with monkeypatch.context() as patch:
            _crash_at(patch, kind, at)
            try:
                bench.engine.act(call)
            except Crash:
                until_undone(bench)
            else:
                break
        assert _picture(bench) == before
        at += 1
    assert at > 2
    assert _picture(bench) != before
