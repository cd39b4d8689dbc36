"""What keeps the hot path fast: plans that name their index at 50,000 jobs; statements that do not grow with jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from roost.domain.settle import Ending
from roost.engine.batch import Batch, BeatRow, ClaimWork, EnqueueWork, SettleRow, StepRow
from roost.engine.driver import Transaction
from roost.engine.work.texts import pack
from tests.conformance.bench import Bench, row

MANY = 50_000
INDEX_OF = {
    "claim_candidates": "job_ready",
    "promote_candidates": "job_waiting",
    "reap_candidates": "job_running",
    "prune_candidates": "job_finished",
    "expire_candidates": "job_expiring",
    "deadline_candidates": "job_deadline",
    "hold_expired": "hold_open",
    "schedules_due": "schedule_due",
}
PARAMETERS: dict[str, dict[str, object]] = {
    "claim_candidates": {"queue": "default", "now": 1, "limit": 100},
    "promote_candidates": {"now": 1, "limit": 100},
    "reap_candidates": {"before": 1, "granted_after": 0, "limit": 100},
    "prune_candidates": {"queue": "default", "state": "succeeded", "before": 1, "limit": 100},
    "expire_candidates": {"now": 1, "limit": 100},
    "deadline_candidates": {"now": 1, "limit": 100},
    "hold_expired": {"now": 1, "limit": 100},
    "schedules_due": {"now": 1, "limit": 100},
}


def _fill(bench: Bench) -> None:
    plain = [row(now=bench.now)] * 1000
    for _ in range(MANY // 1000 - 10):
        bench.enqueue_rows(plain)
    for _ in range(5):
        bench.enqueue_rows([row(now=bench.now, delay="1h")] * 1000)
    bench.enqueue_rows([row(now=bench.now, ttl="1h")] * 1000)
    bench.enqueue_rows([row(now=bench.now, deadline="1h")] * 1000)
    for _ in range(3):
        token, ids = bench.take(1000)
        bench.settle_many([(id, token, Ending(kind="succeed")) for id in ids])
    bench.take(500)


def test_statements_find_jobs_by_index_and_key_at_50_000_jobs(bench: Bench, explain: Callable[..., str]) -> None:
    _fill(bench)
    # That the feed tells of every job is tried with fewer of them.
    bench.fed = False
    plans = {name: explain(name, PARAMETERS[name]) for name in INDEX_OF}
    wrong = {name: plan for name, plan in plans.items() if INDEX_OF[name] not in plan}
    assert not wrong, "\n\n".join(f"{name}:\n{plan}" for name, plan in wrong.items())
    token, ids = bench.take(3)
    for name, parameters in {
        "claim": {"ids": pack(ids), "token": "t", "worker": "w", "lease_until": 1, "now": 1},
        "claim_fetch": {"ids": pack(ids), "token": token},
        "settle_plain": {"fence": pack(dict.fromkeys(ids, token)), "now": 1, "special": 1},
        "beat": {"rows": pack([(id, token, 1) for id in ids])},
        "job_facts": {"ids": pack(ids)},
    }.items():
        plan = explain(name, parameters)
        assert "SCAN job" not in plan.replace("SCAN job_", ""), f"{name}:\n{plan}"
        assert "Seq Scan on job " not in plan, f"{name}:\n{plan}"


@pytest.fixture
def statements(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the statements the engine runs."""
    seen: list[str] = []
    transaction = type(_transaction(bench))
    for method in ("run", "one", "row", "rows"):
        original = getattr(transaction, method)

        def spy(self: Transaction, statement: str, _original: Any = original, **parameters: object) -> Any:
            seen.append(statement)
            return _original(self, statement, **parameters)

        monkeypatch.setattr(transaction, method, spy)
    return seen


def _transaction(bench: Bench) -> Transaction:
    found: list[Transaction] = []
    bench.engine._driver.transaction(found.append)  # type: ignore[attr-defined]
    return found[0]


def _life(bench: Bench, count: int, statements: list[str]) -> list[str]:
    """Everything that happens to ``count`` jobs, a batch for each kind of work; the statements it took."""
    statements.clear()
    bench.enqueue_rows([row(text=f'{{"n":{number}}}', now=bench.now + 1) for number in range(count)])
    token, ids = bench.take(count)
    now = bench.tick()
    beats = [BeatRow(id, token, 15_000, '{"current":1}', '{"at":1}', [(now, "info", "line")]) for id in ids]
    bench.engine.apply(Batch(now, beats=[beats]))
    steps = [StepRow(id, token, "first", "code", "hash", "1", None, now) for id in ids]
    bench.engine.apply(Batch(bench.tick(), steps=steps))
    half = len(ids) // 2
    endings = [Ending(kind="succeed", result="1") if place < half else Ending(kind="fail") for place in range(len(ids))]
    bench.settle_many([(id, token, ending) for id, ending in zip(ids, endings, strict=True)])
    return list(statements)


def test_the_number_of_statements_does_not_grow_with_the_jobs(bench: Bench, statements: list[str]) -> None:
    _life(bench, 1, statements)  # what is read once for all that follow has been read
    few = _life(bench, 2, statements)
    many = _life(bench, 200, statements)
    assert few == many
    assert len(many) < 30


def test_calls_of_a_moment_share_their_statements(bench: Bench, statements: list[str]) -> None:
    def apply(calls: int) -> list[str]:
        statements.clear()
        now = bench.tick()
        bench.engine.apply(Batch(now, enqueues=[EnqueueWork([row(now=now)]) for _ in range(calls)]))
        leases = [bench.take(1) for _ in range(calls)]
        statements_before = len(statements)
        settles = [[SettleRow(ids[0], token, Ending(kind="succeed"))] for token, ids in leases]
        bench.engine.apply(Batch(bench.tick(), settles=settles))
        enqueue = [name for name in statements[:3] if name.endswith("insert")]
        return enqueue + statements[statements_before:]

    assert apply(1) == apply(50)


def test_an_empty_claim_asks_each_queue_once(bench: Bench, statements: list[str]) -> None:
    claims = [ClaimWork(["a", "b"], 10, f"token{number}", "worker", 15_000) for number in range(20)]
    bench.engine.apply(Batch(bench.tick(), claims=claims))
    assert statements == ["claim_candidates", "claim_candidates"]
