"""Whole graphs: random ones against a small oracle, large ones by their number of statements, and death in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roost.domain.settle import Ending
from roost.domain.states import State
from roost.engine import catalogue
from roost.engine.batch import Batch, EnqueueWork, SettleRow
from roost.engine.calls import AdvanceFlow, Call, CreateBatch, SendSignal
from roost.engine.driver import Transaction
from tests.conformance.bench import Bench
from tests.conformance.flows import add, advance, create_batch, end, enqueue, job, run
from tests.conformance.test_crashes import Crash, _crash_at, _transaction_type, until_undone

pytestmark = [pytest.mark.feature("dependencies"), pytest.mark.feature("chains")]

FLOW_TABLES = (
    "job", "dependency", "dependent", "child", "batch", "batch_callback", "batch_member", "flow_todo", "signal",
    "signal_wait", "signal_used", "step", "attempt", "job_result",
)  # fmt: skip


def _picture(bench: Bench) -> dict[str, list[str]]:
    with bench.reader._session() as session:  # type: ignore[attr-defined]
        return {table: sorted(map(repr, session.query(f"SELECT * FROM {table}", {}))) for table in FLOW_TABLES}  # noqa: S608


# --- random graphs ----------------------------------------------------------------------------------------------------

NODE = st.tuples(st.sets(st.integers(0, 30), max_size=4), st.sampled_from(["cancel", "fail", "run"]), st.booleans())


def _oracle(needs: list[set[int]], policies: list[str], fails: list[bool]) -> list[str]:
    """How each job ends, in the order in which they may: a job only needs earlier ones."""
    ends: list[str] = []
    for place, wanted in enumerate(needs):
        if policies[place] != "run" and any(ends[need] != "succeeded" for need in wanted):
            ends.append("cancelled" if policies[place] == "cancel" else "failed")
        else:
            ends.append("failed" if fails[place] else "succeeded")
    return ends


@given(nodes=st.lists(NODE, min_size=1, max_size=14), seed=st.integers(0, 10**6), together=st.booleans())
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_graph_ends_as_its_oracle_says(bench: Bench, nodes: list[Any], seed: int, together: bool) -> None:
    order = random.Random(seed)
    queue = f"g{bench.now}"
    needs = [{need % place for need in wanted} if place else set() for place, (wanted, _, _) in enumerate(nodes)]
    policies = [policy for _, policy, _ in nodes]
    fails = [fail for _, _, fail in nodes]
    if together:
        ids = enqueue(
            bench,
            *(
                job(bench, places=sorted(wanted), policy=policies[place], queue=queue)
                for place, wanted in enumerate(needs)
            ),
        )
    else:
        ids = []
        for place, wanted in enumerate(needs):
            after = [ids[need] for need in sorted(wanted)]
            ids.append(add(bench, after=after, policy=policies[place], queue=queue))
    place_of = {id: place for place, id in enumerate(ids)}
    ran: list[int] = []
    while True:
        token, taken = bench.take(order.randint(1, 3), queue)
        if not taken:
            if not advance(bench):
                break
            continue
        for id in taken:
            place = place_of[id]
            # Nothing starts before what it needs has ended.
            assert all(bench.state(ids[need]) in ("succeeded", "failed", "cancelled") for need in needs[place])
            ran.append(id)
        endings = [Ending(kind="fail", fatal=True) if fails[place_of[id]] else Ending(kind="succeed") for id in taken]
        bench.settle_many(list(zip(taken, [token] * len(taken), endings, strict=True)))
        if order.random() < 0.6:
            advance(bench)
    assert [bench.state(id) for id in ids] == _oracle(needs, policies, fails)
    assert len(ran) == len(set(ran))
    assert _picture(bench)["flow_todo"] == []


# --- cost -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def calls(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Each statement the engine runs, and how many rows it changed."""
    seen: list[tuple[str, int]] = []
    kind = _transaction_type(bench)
    # What is sent is run, so that it is known how many rows it changes.
    for method, original in [(name, getattr(kind, name)) for name in ("run", "ask", "one", "row", "rows")] + [
        ("send", kind.run)
    ]:

        def spy(self: Transaction, statement: str, _original: Any = original, **parameters: object) -> Any:
            answer = _original(self, statement, **parameters)
            seen.append((statement, answer if isinstance(answer, int) else 0))
            return answer

        monkeypatch.setattr(kind, method, spy)
    return seen


@pytest.mark.parametrize("layers", [3, pytest.param(10, marks=pytest.mark.chaos)])
def test_a_graph_ends_in_time_linear_in_its_edges(bench: Bench, calls: list[tuple[str, int]], layers: int) -> None:
    """Layers of 100 jobs, each after two of the layer before; the first layer fails, and all the rest with it."""
    bench.fed = False

    def edges_of(layers: int) -> tuple[int, int]:
        root = enqueue(bench, *(job(bench, queue="root") for _ in range(100)))
        before = root
        for _ in range(layers):
            rows = [job(bench, after=sorted({before[n], before[(n + 1) % 100]}), queue="deep") for n in range(100)]
            before = enqueue(bench, *rows)
        token, taken = bench.take(100, "root")
        bench.settle_many([(id, token, Ending(kind="fail", fatal=True)) for id in taken])
        calls.clear()
        advance(bench)
        assert {bench.state(id) for id in before} == {State.CANCELLED}
        return len(calls), sum(count for name, count in calls if name not in ("feed_put",))

    few_statements, few_rows = edges_of(layers)
    statements, rows = edges_of(10 * layers)
    # Ten times the edges: ten times the rows, and a constant number of statements for each layer.
    assert rows < 11 * few_rows
    assert statements < 11 * few_statements
    assert statements < 10 * layers * 20


def test_the_number_of_statements_does_not_grow_with_the_jobs(bench: Bench, calls: list[tuple[str, int]]) -> None:
    def life(count: int) -> list[str]:
        calls.clear()
        rows = [job(bench, queue="root") for _ in range(count)]
        rows += [job(bench, places=[place, (place + 1) % count], queue="next") for place in range(count)]
        enqueue(bench, *rows)
        token, taken = bench.take(count, "root")
        endings = [Ending(kind="succeed") if place % 2 else Ending(kind="fail", fatal=True) for place in range(count)]
        bench.settle_many([(id, token, ending) for id, ending in zip(taken, endings, strict=True)])
        advance(bench)
        batch = create_batch(bench, [job(bench, queue="b") for _ in range(count)], complete=job(bench, queue="cb"))
        token, taken = bench.take(count, "b")
        bench.settle_many([(id, token, Ending(kind="succeed")) for id in taken])
        advance(bench)
        assert bench.reader.flow.batch(batch.id).state == "finished"
        # Which paths are indexed is read once in a while, not for each set.
        return [name for name, _ in calls if name != "index_paths"]

    assert life(2) == life(100)


def test_plain_jobs_pay_nothing_for_it(bench: Bench, calls: list[tuple[str, int]]) -> None:
    ids = bench.enqueue(10)
    token, _ = bench.take(10)
    bench.settle_many([(id, token, Ending(kind="succeed")) for id in ids])
    flow = {"flow_jobs", "batch_lock", "dependency_put", "flow_todo_put", "batch_members_lock", "dependency_close"}
    assert not flow & {name for name, _ in calls}


def test_waiting_dependents_are_met_by_nobody_who_looks_for_work(
    bench: Bench, explain: Callable[[str, dict[str, object]], str], calls: list[tuple[str, int]]
) -> None:
    need = add(bench, queue="need")
    enqueue(bench, *(job(bench, after=[need]) for _ in range(3000)))
    due = {"now": bench.now + 10**9, "limit": 100}
    assert bench.reader.due().job_at is None
    for name, parameters in {"promote_candidates": due, "claim_candidates": due | {"queue": "default"}}.items():
        plan = explain(name, parameters)
        assert ("job_waiting" if name == "promote_candidates" else "job_ready") in plan, plan
    if bench.store.info.engine == "sqlite":
        # The steps of the database's own machine: a walk over 3,000 rows takes tens of thousands.
        assert _steps(bench, "promote_candidates", due) < 500
        assert _steps(bench, "due_job", {}) < 1500
    else:
        plan = _analyzed(bench, "promote_candidates", due)
        assert "Rows Removed by Filter" not in plan, plan
    assert bench.take(1)[1] == []


def _steps(bench: Bench, name: str, parameters: dict[str, object]) -> int:
    import apsw

    def ask(transaction: Any) -> int:
        steps = 0

        def count() -> bool:
            nonlocal steps
            steps += 1
            return False

        connection: apsw.Connection = transaction._connection
        connection.set_progress_handler(count, 1)
        try:
            connection.execute(transaction._statements[name], parameters).fetchall()
        finally:
            connection.set_progress_handler(None)
        return steps

    answer: int = bench.engine._driver.transaction(ask)  # type: ignore[attr-defined]
    return answer


def _analyzed(bench: Bench, name: str, parameters: dict[str, object]) -> str:
    def ask(transaction: Any) -> str:
        sql = catalogue.load("roost.engine.postgres")[name]
        return "\n".join(row[0] for row in transaction.query(f"EXPLAIN (ANALYZE) {sql}", parameters))

    answer: str = bench.engine._driver.transaction(ask)  # type: ignore[attr-defined]
    return answer


# --- death in between -------------------------------------------------------------------------------------------------


def _settle(bench: Bench) -> Callable[[], object]:
    need = add(bench, queue="n")
    add(bench, after=[need])
    token = run(bench, need)
    work = Batch(bench.tick(), settles=[[SettleRow(need, token, Ending(kind="fail", fatal=True))]])
    return lambda: bench.engine.apply(work)


def _enqueue(bench: Bench) -> Callable[[], object]:
    good, bad, open_ = (add(bench, queue=f"q{place}") for place in range(3))
    end(bench, good, "succeed")
    end(bench, bad, "fail")
    batch = create_batch(bench, [job(bench)], chain=True, seal=False)
    rows = [job(bench, places=[1], parent=open_), job(bench, after=[good]), job(bench, after=[bad])]
    rows += [job(bench, after=[open_]), job(bench, batch=batch.id)]
    work = Batch(bench.tick(), enqueues=[EnqueueWork(rows)])
    return lambda: bench.engine.apply(work)


def _create(bench: Bench) -> Callable[[], object]:
    action = CreateBatch(name="", chain=True, rows=[job(bench)] * 2, callbacks=[("complete", job(bench))], seal=True)
    call = Call(bench.tick(), action)
    return lambda: bench.engine.act(call)


def _advance(bench: Bench) -> Callable[[], object]:
    parent = add(bench, queue="p")
    add(bench, parent=parent)
    batch = create_batch(bench, [job(bench, queue="b")], complete=job(bench, queue="cb"))
    chain = create_batch(bench, [job(bench, queue="c") for _ in range(3)], chain=True)
    add(bench, after=[batch.jobs[0]])
    add(bench, after=[chain.jobs[0]], policy="run")
    end(bench, parent, "cancel")
    end(bench, batch.jobs[0], "succeed")
    end(bench, chain.jobs[0], "early_exit")
    call = Call(bench.tick(), AdvanceFlow())
    return lambda: bench.engine.act(call)


def _send(bench: Bench) -> Callable[[], object]:
    from roost.domain.records import WaitRow

    id = add(bench, queue="p")
    bench.settle(id, run(bench, id), "wait", wait=WaitRow(signal="s"))
    call = Call(bench.tick(), SendSignal("s", "1"))
    return lambda: bench.engine.act(call)


@pytest.mark.parametrize("prepare", [_settle, _enqueue, _create, _advance, _send])
def test_a_death_between_two_statements_leaves_nothing_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Bench], Callable[[], object]]
) -> None:
    act = prepare(bench)
    before = _picture(bench)
    kind = _transaction_type(bench)
    at = 0
    while True:
        with monkeypatch.context() as patch:
            _crash_at(patch, kind, at)
            try:
                act()
            except Crash:
                until_undone(bench)
            else:
                break
        assert _picture(bench) == before, f"something is left after a crash before statement {at}"
        at += 1
    assert at > 4
    assert _picture(bench) != before
    advance(bench)
    assert _picture(bench)["flow_todo"] == []
