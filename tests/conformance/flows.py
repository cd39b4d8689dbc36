"""Short words for jobs that wait for jobs, on any store."""

from __future__ import annotations

from typing import Any

import msgspec

from roost.domain.records import FlowWish, JobRow
from roost.domain.retry import RetryRule
from roost.domain.states import State
from roost.engine.calls import (
    Acted,
    AdvanceFlow,
    CancelBatch,
    CancelJobs,
    CreateBatch,
    DecideHold,
    DeleteJobs,
    Promote,
    Reap,
    SealBatch,
)
from roost.wire.batches import Batch
from roost.wire.holds import ListHolds
from tests.conformance.bench import Bench, row

ONCE = RetryRule(retries=0)
ENDS = ("succeed", "fail", "cancel", "expire", "deny", "delete", "reap", "early_exit")
"""Every way a job can end, or be gone."""
GOOD = ("succeed", "early_exit")


def job(bench: Bench, kind: str = "work", **wishes: Any) -> JobRow:
    """A row that waits for others: ``after``, ``places``, ``policy``, ``batch``, ``parent``."""
    wish = FlowWish(
        after=wishes.pop("after", []),
        places=wishes.pop("places", []),
        after_failure=wishes.pop("policy", "cancel"),
        batch=wishes.pop("batch", None),
        parent=wishes.pop("parent", None),
    )
    wishes.setdefault("retry", ONCE)
    return row(kind=kind, now=bench.now + 1, flow=None if wish == FlowWish() else wish, **wishes)


def enqueue(bench: Bench, *rows: JobRow) -> list[int]:
    """Store rows in one call; their ids."""
    answers = bench.enqueue_rows(list(rows))
    assert isinstance(answers, list), answers
    return [answer.id for answer in answers]


def add(bench: Bench, **wishes: Any) -> int:
    """One job more."""
    return enqueue(bench, job(bench, **wishes))[0]


def advance(bench: Bench) -> int:
    """Carry everything on, as the service's loop does; how many steps it took."""
    steps = 0
    while True:
        acted = bench.act(AdvanceFlow())
        assert acted.problem is None, acted.problem
        if not acted.more:
            return steps
        steps += 1
        assert steps < 10_000


def create_batch(
    bench: Bench, rows: list[JobRow], *, chain: bool = False, seal: bool = True, **callbacks: JobRow
) -> Batch:
    """A batch; callbacks by event."""
    action = CreateBatch(name="b", chain=chain, rows=rows, callbacks=list(callbacks.items()), seal=seal)  # type: ignore[arg-type]
    return decoded(bench.act(action))


def decoded(acted: Acted) -> Batch:
    assert acted.problem is None, acted.problem
    return msgspec.json.decode(acted.reply, type=Batch)


def seal(bench: Bench, id: int) -> Batch:
    return decoded(bench.act(SealBatch(id)))


def cancel_batch(bench: Bench, id: int, limit: int = 1000) -> None:
    after, more = -1, True
    while more:
        acted = bench.act(CancelBatch(id, after, limit))
        assert acted.problem is None, acted.problem
        after, more = int(acted.reply), acted.more


def run(bench: Bench, id: int) -> str:
    """Claim until ``id`` is ours; its token. Every job of these tests has a queue of its own, or comes first."""
    queue = bench.job(id).queue
    token, ids = bench.take(1, queue)
    assert ids == [id], (ids, id, bench.job(id))
    return token


def end(bench: Bench, id: int, how: str) -> None:
    """Bring a ready (or, where the end needs it, otherwise prepared) job to its end by ``how``."""
    if how in ("succeed", "fail", "cancel", "early_exit"):
        token = run(bench, id)
        if how == "early_exit":
            bench.settle(id, token, "succeed", exit=True)
        elif how == "fail":
            bench.settle(id, token, "fail", fatal=True)
        else:
            bench.settle(id, token, how)
    elif how == "reap":
        run(bench, id)
        bench.tick(60_000)
        bench.act(Reap(bench.now))
    elif how == "expire":
        bench.tick(600_000)
        bench.act(Promote())
    elif how == "deny":
        hold = bench.reader.holds(ListHolds(job=id)).holds[0]
        bench.act(DecideHold(id=hold.id, decision="deny", subject_hash=hold.subject_hash, actor="ana", note=""))
    elif how == "delete":
        assert bench.act(DeleteJobs(id)).problem is None
    elif how == "cancel_waiting":
        assert bench.act(CancelJobs(id)).problem is None
    else:
        raise ValueError(how)


STATE_AFTER = {
    "succeed": State.SUCCEEDED,
    "early_exit": State.SUCCEEDED,
    "fail": State.FAILED,
    "cancel": State.CANCELLED,
    "expire": State.EXPIRED,
    "deny": State.FAILED,
    "reap": State.FAILED,
    "delete": None,
}


def prepared(how: str) -> dict[str, Any]:
    """What a job must be enqueued with so that it can end by ``how``."""
    from roost.domain.records import HoldRule

    return {"expire": {"ttl": "5m"}, "deny": {"hold": HoldRule()}}.get(how, {})
