"""Every state and event of the table, through the engine: the table's state follows, or a refusal changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from roost.domain.placing import Place
from roost.domain.records import HoldRule, LimitRule
from roost.domain.retry import RetryRule
from roost.domain.settle import Ending
from roost.domain.states import TRANSITIONS, Event, State
from roost.engine.calls import CancelJobs, DecideHold, HoldJobs, MoveJobs, Promote, ReopenJobs
from roost.wire.codec import encode
from roost.wire.holds import ListHolds
from tests.conformance.bench import Bench


def _settle(kind: str, **ending: object) -> Callable[[Bench, int, str], None]:
    return lambda bench, id, token: bench.settle_many([(id, token or "nobody", Ending(kind=kind, **ending))]) and None  # type: ignore[arg-type, func-returns-value]


def _hold(bench: Bench, id: int, token: str) -> None:
    if bench.state(id) is State.RUNNING:
        bench.settle(id, token or "nobody", "hold", hold=bench.hold())
    else:
        bench.act(HoldJobs(id, "wait for me"))


def _approve_later(bench: Bench, id: int, token: str) -> None:
    if bench.state(id) is State.HELD:
        bench.act(MoveJobs(id, Place(run_at=bench.now + 3_600_000)))
    _decide("approve")(bench, id, token)


def _decide(decision: str) -> Callable[[Bench, int, str], None]:
    def send(bench: Bench, id: int, token: str) -> None:
        holds = bench.reader.holds(ListHolds(job=id, all=True)).holds
        number, seen = (holds[-1].id, holds[-1].subject_hash) if holds else (999, "")
        bench.act(DecideHold(id=number, decision=decision, subject_hash=seen, actor="ana", note=""))  # type: ignore[arg-type]

    return send


def _due(bench: Bench, id: int, token: str) -> None:
    bench.expire(2 * 3_600_000)


def _expire(bench: Bench, id: int, token: str) -> None:
    bench.expire(30 * 60_000)


SEND: dict[Event, Callable[[Bench, int, str], None]] = {
    Event.DUE: _due,
    Event.CLAIM: lambda bench, id, token: bench.claim() and None,  # type: ignore[func-returns-value]
    Event.THROTTLE: lambda bench, id, token: bench.claim() and None,  # type: ignore[func-returns-value]
    Event.SUCCEED: _settle("succeed", result="1"),
    Event.RETRY: _settle("fail", error='{"type":"Oops"}'),
    Event.FAIL: _settle("fail", fatal=True),
    Event.POSTPONE: _settle("snooze", after_ms=60_000),
    Event.RELEASE: _settle("release"),
    Event.RESCHEDULE: lambda bench, id, token: (
        bench.enqueue(unique="k", delay="2h", on_conflict="reschedule") and None  # type: ignore[func-returns-value]
    ),
    Event.HOLD: _hold,
    Event.APPROVE: _decide("approve"),
    Event.APPROVE_LATER: _approve_later,
    Event.DENY: _decide("deny"),
    Event.CANCEL: lambda bench, id, token: bench.act(CancelJobs(id)) and None,  # type: ignore[func-returns-value]
    Event.EXPIRE: _expire,
    Event.REOPEN: lambda bench, id, token: bench.act(ReopenJobs(id)) and None,  # type: ignore[func-returns-value]
    Event.REOPEN_HELD: lambda bench, id, token: bench.act(ReopenJobs(id)) and None,  # type: ignore[func-returns-value]
}
"""How each event is sent by somebody who does not look at the state first."""

ONLY_BY_RULES = {(State.WAITING, Event.FAIL), (State.READY, Event.FAIL), (State.RUNNING, Event.CANCEL)}
"""Transitions no single call makes: a running job's cancel is a request that its attempt's end completes."""


def _prepared(bench: Bench, state: State, event: Event) -> tuple[int, str]:
    """A job in ``state``, made so that ``event`` has a reason to happen to it if it ever may."""
    wishes: dict[str, object] = {"retry": RetryRule(retries=1)}
    if event is Event.EXPIRE and state in (State.WAITING, State.READY, State.HELD):
        wishes["ttl"] = "10m"
    if event is Event.RESCHEDULE:
        wishes["unique"] = "k"
    if event is Event.THROTTLE:
        wishes["limits"] = [LimitRule(key="press", concurrency=1)]
        if state is State.READY:
            bench.enqueue(**wishes)
            bench.take()
    if state is State.WAITING:
        return bench.enqueue(delay="15m" if event is Event.EXPIRE else "1h", **wishes)[0], ""
    if state is State.HELD:
        return bench.enqueue(hold=HoldRule(), **wishes)[0], ""
    if state is State.EXPIRED:
        return _expired(bench, event)
    if event is Event.REOPEN_HELD:
        return _held_first(bench, state, event)
    if state is State.READY:
        return bench.enqueue(**wishes)[0], ""
    (id,) = bench.enqueue(**wishes)
    token, _ = bench.take()
    return _ended(bench, state, id, token)


def _expired(bench: Bench, event: Event) -> tuple[int, str]:
    (id,) = bench.enqueue(ttl="1s", **({"hold": HoldRule()} if event is Event.REOPEN_HELD else {}))
    bench.expire(2000)
    return id, ""


def _held_first(bench: Bench, state: State, event: Event) -> tuple[int, str]:
    """A job that was approved before it started: reopened, it is held again."""
    (id,) = bench.enqueue(hold=HoldRule(), retry=RetryRule(retries=1))
    _decide("approve")(bench, id, "")
    if state is State.READY:
        return id, ""
    token, _ = bench.take()
    return _ended(bench, state, id, token)


def _ended(bench: Bench, state: State, id: int, token: str) -> tuple[int, str]:
    if state is State.SUCCEEDED:
        bench.settle(id, token)
    elif state is State.FAILED:
        bench.settle(id, token, "fail", fatal=True)
    elif state is State.CANCELLED:
        bench.settle(id, token, "cancel")
    assert bench.state(id) is state
    return id, token


@pytest.mark.parametrize("event", list(Event), ids=str)
@pytest.mark.parametrize("state", list(State), ids=str)
def test_the_table_decides_what_follows(bench: Bench, state: State, event: Event) -> None:
    id, token = _prepared(bench, state, event)
    assert bench.state(id) is state
    before = bench.job(id)
    SEND[event](bench, id, token)
    after = bench.job(id)
    expected = TRANSITIONS.get((state, event))
    if (state, event) in ONLY_BY_RULES:
        expected = None
    if state is State.RUNNING and event is Event.CANCEL:
        assert after.cancel_requested
        bench.settle(id, token, "succeed", result="1")
        assert bench.state(id) is State.CANCELLED
        return
    if expected is None:
        assert encode(after) == encode(before), "a refused event changes nothing"
    else:
        assert after.state is expected
        assert bench.job(id).attempt >= before.attempt


def test_no_call_leads_from_held_to_ready_but_a_decision(bench: Bench) -> None:
    for event in Event:
        if event is Event.APPROVE:
            continue
        id, token = bench.in_state(State.HELD)
        SEND[event](bench, id, token)
        assert bench.state(id) is not State.READY, event
        bench.act(CancelJobs(id))
    bench.act(Promote())
