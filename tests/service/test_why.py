"""``why`` names what a job waits for, for each thing there is to wait for; on both engines."""

from __future__ import annotations

import msgspec
import pytest

from roost.domain.records import HoldRule, QueueRules
from roost.domain.retry import RetryRule
from roost.domain.states import State
from roost.engine.store import Store
from roost.errors import NotFound
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.attempts import NewWait, Outcome, Register, SettleJobs
from roost.wire.batches import BatchRef, NewBatch
from roost.wire.flow import NewSignal
from roost.wire.holds import DecideHold, ListHolds
from roost.wire.jobs import CancelJob, ErrorInfo, JobRef, Limit, NewJob
from roost.wire.queues import EditQueue, PauseQueue
from roost.wire.why import Why
from tests.service.calls import claim, enqueue, settle_one
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock


@pytest.fixture
async def runtime(store: Store, make_runtime: MakeRuntime, clock: VirtualClock) -> Runtime:
    runtime = await make_runtime(store, clock=clock)
    await runtime.handle(
        contract.REGISTER_WORKER, Register(id="w", queues=["default", "other"], kinds=["mail", "work"])
    )
    return runtime


async def why(runtime: Runtime, id: int) -> Why:
    """The answer, which explain must not contradict."""
    found = await runtime.handle(contract.WHY_JOB, JobRef(id=id))
    told = await runtime.handle(contract.EXPLAIN_JOB, JobRef(id=id))
    assert (found.state, found.reason) == (told.state, told.reason)
    return found


def kinds(found: Why) -> list[str]:
    return [blocker.kind for blocker in found.blockers]


async def outcome(runtime: Runtime, id: int, token: str, **fields: object) -> None:
    settled = await runtime.handle(
        contract.SETTLE,
        SettleJobs(outcomes=[Outcome(id=id, token=token, **fields)]),  # type: ignore[arg-type]
    )
    assert settled.results[0].error is None


async def test_a_ready_job_waits_for_its_queue(runtime: Runtime) -> None:
    first = await enqueue(runtime)
    assert (await why(runtime, first)).answer == "Nothing: the next free worker takes it."
    second = await enqueue(runtime)
    assert kinds(await why(runtime, second)) == ["ready_before"]
    await runtime.handle(contract.PAUSE_QUEUE, PauseQueue(name="default", actor="ana"))
    found = await why(runtime, second)
    assert kinds(found) == ["queue_paused", "ready_before"]
    assert "paused by ana" in found.answer
    assert found.answer.endswith("and 1 more thing.")
    lonely = await enqueue(runtime, queue="nobody")
    assert kinds(await why(runtime, lonely)) == ["no_worker"]
    unknown = await enqueue(runtime, "misspelt", queue="other")
    found = await why(runtime, unknown)
    assert [blocker.text for blocker in found.blockers] == [
        "no worker that takes queue other has a handler for misspelt"
    ]
    told = await runtime.handle(contract.EXPLAIN_JOB, JobRef(id=unknown))
    assert "No worker that takes queue other has a handler for misspelt." in [fact.text for fact in told.facts]
    # A worker that says nothing of itself may have one.
    await claim(runtime, "other", worker="stranger")
    await claim(runtime, "other", worker="another")
    assert "no_handler" not in kinds(await why(runtime, unknown))


async def test_a_job_that_runs_or_has_ended_waits_for_nothing_else(runtime: Runtime) -> None:
    id = await enqueue(runtime)
    token, _ = await claim(runtime)
    found = await why(runtime, id)
    assert kinds(found) == ["running"]
    assert found.blockers[0].until is not None
    await settle_one(runtime, id, token)
    found = await why(runtime, id)
    assert (found.answer, found.blockers) == ("Nothing: it is succeeded.", [])
    with pytest.raises(NotFound):
        await why(runtime, 999)


async def test_a_time_is_told(runtime: Runtime) -> None:
    delayed = await enqueue(runtime, delay="1h")
    found = await why(runtime, delayed)
    assert kinds(found) == ["time"]
    assert found.blockers[0].until is not None
    failing = await enqueue(runtime, retry=RetryRule(retries=2, base="1m"))
    token, [id] = await claim(runtime)
    assert id == failing
    await outcome(runtime, id, token, outcome="fail", error=ErrorInfo(type="Oops"))
    assert "It failed 1 time and is tried again" in (await why(runtime, id)).answer


async def test_a_person_is_told(runtime: Runtime) -> None:
    held = await enqueue(runtime, hold=HoldRule(title="Send it"))
    found = await why(runtime, held)
    assert kinds(found) == ["hold"]
    assert found.blockers[0].action == f"roost approvals approve {found.blockers[0].hold}"


@pytest.mark.feature("dependencies")
async def test_the_jobs_it_waits_for_are_told(runtime: Runtime, clock: VirtualClock) -> None:
    needs = [await enqueue(runtime) for _ in range(3)]
    id = await enqueue(runtime, after=needs)
    found = await why(runtime, id)
    assert [(blocker.kind, blocker.job) for blocker in found.blockers] == [("dependency", need) for need in needs]
    assert f"job {needs[0]} (work) has not ended: it is ready" in found.blockers[0].text
    token, [first] = await claim(runtime)
    await settle_one(runtime, first, token)
    await clock.advance(10)
    assert [blocker.job for blocker in (await why(runtime, id)).blockers] == needs[1:]


@pytest.mark.feature("steps")
async def test_the_signal_it_waits_for_is_told(runtime: Runtime) -> None:
    id = await enqueue(runtime)
    token, _ = await claim(runtime)
    await outcome(runtime, id, token, outcome="wait", wait=NewWait(signal="paid", step="wait:paid", timeout="1h"))
    found = await why(runtime, id)
    assert [(blocker.kind, blocker.action) for blocker in found.blockers] == [("signal", "roost signals send paid")]
    assert found.blockers[0].until is not None, "it goes on without it then"
    await runtime.handle(contract.SEND_SIGNAL, NewSignal(name="paid", data=msgspec.Raw(b"1")))
    assert (await why(runtime, id)).state is State.READY


@pytest.mark.feature("limits")
async def test_the_limit_and_who_holds_it_are_told(runtime: Runtime) -> None:
    limits = [Limit(key="tenant:acme", concurrency=1)]
    holder = await enqueue(runtime, limits=limits)
    blocked = await enqueue(runtime, limits=limits)
    token, taken = await claim(runtime, limit=2)
    assert taken == [holder]
    found = await why(runtime, blocked)
    assert [(blocker.kind, blocker.key) for blocker in found.blockers] == [("limit", "tenant:acme")]
    assert f"1 of 1 are taken by job {holder}" in found.answer
    told = await runtime.handle(contract.EXPLAIN_JOB, JobRef(id=blocked))
    assert any(f"by job {holder}" in fact.text for fact in told.facts)
    await settle_one(runtime, holder, token)
    assert (await why(runtime, blocked)).state is State.READY


@pytest.mark.feature("limits")
async def test_a_ready_job_that_no_limit_has_room_for_is_told_so(runtime: Runtime) -> None:
    await runtime.handle(contract.EDIT_QUEUE, EditQueue(name="default", rules=QueueRules(concurrency=1)))
    holder = await enqueue(runtime)
    ready = await enqueue(runtime, limits=[Limit(key="vendor", rate="1/h")])
    await claim(runtime)
    found = await why(runtime, ready)
    assert (found.state, kinds(found)) == (State.READY, ["limit"])
    assert found.answer == f"Limit 'queue:default': 1 of 1 are taken by job {holder}."
    told = await runtime.handle(contract.EXPLAIN_JOB, JobRef(id=ready))
    assert any("queue:default" in fact.text for fact in told.facts)
    await enqueue(runtime, queue="other", limits=[Limit(key="vendor", rate="1/h")])
    assert len((await claim(runtime, "other"))[1]) == 1
    found = await why(runtime, ready)
    assert [blocker.key for blocker in found.blockers] == ["vendor", "queue:default"]
    assert found.blockers[0].until is not None


@pytest.mark.feature("limits")
async def test_where_the_limit_has_room_the_pause_is_the_only_blocker(runtime: Runtime) -> None:
    limits = [Limit(key="press", concurrency=1)]
    holder = await enqueue(runtime, queue="other", limits=limits)
    token, _ = await claim(runtime, "other")
    parked = await enqueue(runtime, limits=limits)
    assert (await claim(runtime))[1] == []
    await runtime.handle(contract.PAUSE_QUEUE, PauseQueue(name="default"))
    assert kinds(await why(runtime, parked)) == ["limit", "queue_paused"]
    await settle_one(runtime, holder, token)
    found = await why(runtime, parked)
    assert (found.reason, kinds(found)) == ("throttled", ["queue_paused"])


@pytest.mark.feature("quarantine")
@pytest.mark.parametrize("decision", ["approve", "deny", "cancel"])
async def test_who_stands_behind_a_quarantined_job_of_a_chain(
    runtime: Runtime, clock: VirtualClock, decision: str
) -> None:
    new = NewJob(kind="work", retry=RetryRule(retries=9))
    batch = await runtime.handle(contract.CREATE_BATCH, NewBatch(chain=True, jobs=[new] * 3, on_complete=new))
    poison, second, third = batch.jobs
    behind = await enqueue(runtime, after=[third], after_failure="run")
    for _ in range(3):
        token, [taken] = await claim(runtime)
        assert taken == poison
        await outcome(runtime, poison, token, outcome="fail", died=True, after="0s")
        await clock.advance(10)
    assert (await runtime.handle(contract.GET_JOB, JobRef(id=poison))).reason == "quarantine"
    for id in (second, third, behind):
        found = await why(runtime, id)
        assert f"job {poison} (work)" in found.blockers[0].text
        assert found.answer.endswith("is held (quarantine).")
        assert found.blockers[0].action == f"roost why {poison}"
    [hold] = (await runtime.handle(contract.LIST_HOLDS, ListHolds(job=poison))).holds
    if decision == "cancel":
        await runtime.handle(contract.CANCEL_JOB, CancelJob(id=poison))
    else:
        call = contract.APPROVE_HOLD if decision == "approve" else contract.DENY_HOLD
        await runtime.handle(call, DecideHold(id=hold.id, subject_hash=hold.subject_hash))
    await clock.advance(10)
    if decision == "approve":
        for expected in batch.jobs:
            token, [taken] = await claim(runtime)
            assert taken == expected
            await settle_one(runtime, taken, token)
            await clock.advance(10)
    ended = [(await runtime.handle(contract.GET_JOB, JobRef(id=id))).state for id in batch.jobs]
    first = {"approve": "succeeded", "deny": "failed", "cancel": "cancelled"}[decision]
    assert ended == ([first] * 3 if decision == "approve" else [first, "cancelled", "cancelled"])
    told = await runtime.handle(contract.GET_BATCH, BatchRef(id=batch.id))
    assert (told.state, told.quarantined) == ("finished", 0)
    assert len(told.callbacks) == 1
    assert (await why(runtime, behind)).state is State.READY


@pytest.mark.feature("dependencies")
async def test_what_a_line_of_jobs_waits_for_in_the_end_is_told(runtime: Runtime) -> None:
    root = await enqueue(runtime, delay="1h")
    line = [root]
    for _ in range(40):
        line.append(await enqueue(runtime, after=[line[-1]]))
    found = await why(runtime, line[-1])
    assert [blocker.job for blocker in found.blockers] == [line[-2]]
    assert found.answer.endswith(f"in the end for job {root} (work), which is waiting (scheduled).")
