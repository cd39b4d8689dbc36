"""Events in order, and an explanation in which each sentence cites its event."""

from __future__ import annotations

import re

import msgspec
import pytest

from roost.domain.records import HoldRule
from roost.domain.retry import RetryRule
from roost.domain.states import State
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.attempts import Register
from roost.wire.holds import DecideHold, ListHolds
from roost.wire.jobs import CancelJob, ErrorInfo, Explanation, JobRef, ReopenJob
from roost.wire.queues import PauseQueue
from tests.service.calls import claim, enqueue, settle_one
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock
from tests.service.watched_store import WatchedStore


@pytest.fixture
async def runtime(memory_store: WatchedStore, make_runtime: MakeRuntime, clock: VirtualClock) -> Runtime:
    return await make_runtime(memory_store, clock=clock)


async def explain(runtime: Runtime, id: int) -> Explanation:
    """The explanation, whose citations were compared with the events."""
    found = await runtime.handle(contract.EXPLAIN_JOB, JobRef(id=id))
    events = (await runtime.handle(contract.JOB_EVENTS, JobRef(id=id))).events
    named = {f"event {event.number} ({event.type})" for event in events}
    for fact in found.facts:
        beside = r"queue \S+ \(paused\)|workers \((none registered|no handler)\)"
        assert fact.event in named or re.fullmatch(beside, fact.event)
    assert found.facts
    assert found.next or found.state is State.READY
    assert found.actions
    return found


def text(found: Explanation) -> str:
    return "\n".join([fact.text for fact in found.facts] + found.next + found.actions)


async def types(runtime: Runtime, id: int) -> list[str]:
    """The types of a job's events, whose numbers were checked."""
    events = (await runtime.handle(contract.JOB_EVENTS, JobRef(id=id))).events
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.at for event in events] == sorted(event.at for event in events)
    return [event.type for event in events]


async def test_a_life_with_a_retry_and_a_reopening(runtime: Runtime, clock: VirtualClock) -> None:
    id = await enqueue(runtime, retry=RetryRule(retries=1, base="10s", jitter=0))
    assert "No worker that takes queue default" in text(await explain(runtime, id))
    await clock.advance(1_000)
    token, _ = await claim(runtime)
    found = text(await explain(runtime, id))
    assert "Attempt 1 runs on worker tester" in found
    assert "the attempt ends as lost" in found
    await clock.advance(1_000)
    await settle_one(runtime, id, token, outcome="fail", error=ErrorInfo(type="Boom", message="no\nluck"))
    found = text(await explain(runtime, id))
    assert "Attempt 1 failed, failure 1 of 2; it is tried again at" in found
    assert "(in 10s)" in found
    assert "Boom: no" in found
    await clock.advance(10_000)
    token, _ = await claim(runtime)
    await clock.advance(1_000)
    await settle_one(runtime, id, token, outcome="fail", error=ErrorInfo(type="Boom"))
    found = text(await explain(runtime, id))
    assert "The job failed at" in found
    assert f"roost jobs retry {id}" in found
    await clock.advance(1_000)
    await runtime.handle(contract.REOPEN_JOB, ReopenJob(id=id, actor="ana", note="fixed"))
    assert await types(runtime, id) == [
        "created",
        "started",
        "attempt_ended",
        "started",
        "attempt_ended",
        "reopened",
    ]
    assert (await explain(runtime, id)).facts[0].event == "event 6 (reopened)"


async def test_a_hold_and_its_decision(runtime: Runtime, clock: VirtualClock) -> None:
    id = await enqueue(runtime, hold=HoldRule(title="Delete all?", expires="1h"))
    await clock.advance(1_000)
    found = text(await explain(runtime, id))
    assert 'A person must decide "Delete all?"' in found
    assert "the question counts as denied" in found
    [hold] = (await runtime.handle(contract.LIST_HOLDS, ListHolds())).holds
    assert f"roost approvals approve {hold.id}" in found
    decision = DecideHold(id=hold.id, subject_hash=hold.subject_hash, actor="ana")
    await runtime.handle(contract.APPROVE_HOLD, decision)
    assert await types(runtime, id) == ["created", "held", "decided"]
    assert (await explain(runtime, id)).facts[0].event == "event 3 (decided)"


async def test_what_keeps_a_ready_job_from_starting(runtime: Runtime, clock: VirtualClock) -> None:
    for _ in range(3):
        await enqueue(runtime, priority=9)
    id = await enqueue(runtime, ttl="1h")
    await runtime.handle(contract.PAUSE_QUEUE, PauseQueue(name="default", actor="ben"))
    found = text(await explain(runtime, id))
    assert "3 jobs of the queue go first" in found
    assert "paused by ben" in found
    assert "roost queues resume default" in found
    assert "it expires" in found
    assert "takes it" not in found
    await runtime.handle(contract.RESUME_QUEUE, PauseQueue(name="default"))
    await runtime.handle(contract.REGISTER_WORKER, Register(id="w1", queues=["default"]))
    found = text(await explain(runtime, id))
    assert "The next free worker of the queue takes it" in found
    assert "No worker" not in found
    await clock.advance(120_000)
    assert "No worker" in text(await explain(runtime, id))


async def test_scheduled_sleeping_and_cancelled_jobs(runtime: Runtime, clock: VirtualClock) -> None:
    later = await enqueue(runtime, delay="5m")
    assert "to start at" in text(await explain(runtime, later))
    await runtime.handle(contract.CANCEL_JOB, CancelJob(id=later, actor="ana"))
    found = await explain(runtime, later)
    assert "was cancelled" in text(found)
    assert await types(runtime, later) == ["created", "cancelled"]

    sleeper = await enqueue(runtime, input=msgspec.Raw(b"1"))
    token, _ = await claim(runtime)
    await runtime.handle(contract.CANCEL_JOB, CancelJob(id=sleeper))
    assert "asked to stop" in text(await explain(runtime, sleeper))
    await settle_one(runtime, sleeper, token, outcome="sleep", after="1h")
    assert "was cancelled" in text(await explain(runtime, sleeper))

    other = await enqueue(runtime)
    token, _ = await claim(runtime)
    await clock.advance(1)
    await settle_one(runtime, other, token, outcome="sleep", after="1h")
    assert "sleeps: it goes on at" in text(await explain(runtime, other))
