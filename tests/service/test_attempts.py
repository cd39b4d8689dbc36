"""What workers call: each item is accepted or refused by itself, and refused with its path."""

from __future__ import annotations

import msgspec
import pytest

from roost.domain.admission import INPUT_LIMIT, SAVED_LIMIT
from roost.domain.states import State
from roost.errors import (
    InvalidJson,
    InvalidRequest,
    LeaseLost,
    OperationMismatch,
    StepChanged,
    TooLarge,
    UniqueConflict,
)
from roost.service.runtime import CallInfo, Runtime
from roost.wire import contract
from roost.wire.attempts import Beat, ClaimJobs, Heartbeat, NewLogLine, Outcome, RecordStep, SettleJobs
from roost.wire.jobs import EnqueueJobs, ErrorInfo, JobRef, ListLogs, NewJob, Progress, Unique
from tests.service.calls import claim, enqueue, job, settle_one, state
from tests.service.conftest import MakeRuntime
from tests.service.watched_store import WatchedStore


@pytest.fixture
async def runtime(memory_store: WatchedStore, make_runtime: MakeRuntime) -> Runtime:
    return await make_runtime(memory_store, loops=False)


def string(size: int) -> msgspec.Raw:
    """A JSON string of ``size`` bytes."""
    return msgspec.Raw(b'"' + b"x" * (size - 2) + b'"')


async def test_every_operation_of_the_contract_has_its_use_case() -> None:
    from roost.service.operations import USE_CASES
    from roost.wire.receiving import RECEIVED

    assert set(USE_CASES) == {operation.name for operation in (*contract.OPERATIONS, *RECEIVED)}


async def test_one_bad_outcome_refuses_itself_alone(runtime: Runtime) -> None:
    ids = [await enqueue(runtime) for _ in range(5)]
    token, _ = await claim(runtime, limit=5)
    outcomes = [
        Outcome(id=ids[0], token=token, result=msgspec.Raw(b'{"a":1}')),
        Outcome(id=ids[1], token=token, result=msgspec.Raw(b'{"a":1,"a":2}')),
        Outcome(id=ids[2], token=token, result=string(INPUT_LIMIT + 1)),
        Outcome(id=ids[3], token="f" * 32),
        Outcome(id=ids[4], token=token, outcome="snooze"),
    ]
    results = (await runtime.handle(contract.SETTLE, SettleJobs(outcomes=outcomes))).results
    assert [result.id for result in results] == ids
    assert [result.error.code if result.error else None for result in results] == [
        None,
        "invalid_json",
        "too_large",
        "lease_lost",
        "invalid_request",
    ]
    assert [result.error.path for result in results if result.error] == [
        "outcomes[1].result",
        "outcomes[2].result",
        "",
        "outcomes[4].after",
    ]
    assert [await state(runtime, id) for id in ids] == [State.SUCCEEDED] + [State.RUNNING] * 4


async def test_an_error_is_kept_whatever_is_in_it(runtime: Runtime) -> None:
    id = await enqueue(runtime)
    token, _ = await claim(runtime)
    error = ErrorInfo(type="Bad\0Type", message="half \ud800 of a pair", traceback="line\nline")
    assert (await settle_one(runtime, id, token, outcome="fail", error=error, fatal=True)).error is None
    kept = (await job(runtime, id)).error
    assert kept is not None
    assert (kept.type, kept.message) == ("Bad\ufffdType", "half ? of a pair")


async def test_a_heartbeat_renews_even_where_what_it_carries_is_refused(runtime: Runtime) -> None:
    ids = [await enqueue(runtime) for _ in range(2)]
    token, _ = await claim(runtime, limit=2)
    beats = [
        Beat(id=ids[0], token=token, saved=string(SAVED_LIMIT + 1)),
        Beat(
            id=ids[1],
            token=token,
            saved=msgspec.Raw(b'{"page":3}'),
            progress=Progress(current=1, total=2),
            logs=[NewLogLine(message="first"), NewLogLine(message="second", level="warning")],
        ),
        Beat(id=ids[1], token="0" * 32),
    ]
    before = (await job(runtime, ids[0])).lease_until
    reply = await runtime.handle(contract.HEARTBEAT, Heartbeat(worker="tester", lease="1m", beats=beats))
    assert [each.error.code if each.error else None for each in reply.beats] == ["too_large", None, "lease_lost"]
    after = (await job(runtime, ids[0])).lease_until
    assert before is not None
    assert after is not None
    assert after > before
    kept = await job(runtime, ids[1])
    assert (bytes(kept.saved or b""), kept.progress) == (b'{"page":3}', Progress(current=1, total=2))
    page = await runtime.handle(contract.JOB_LOGS, ListLogs(id=ids[1]))
    assert [(line.level, line.message) for line in page.lines] == [("info", "first"), ("warning", "second")]


async def test_a_step_is_recorded_once_byte_for_byte(runtime: Runtime) -> None:
    id = await enqueue(runtime)
    token, _ = await claim(runtime)
    step = RecordStep(id=id, token=token, name="read", input_hash="aa", output=msgspec.Raw(b'{"b":1.50, "a":[]}'))
    first = await runtime.handle(contract.RECORD_STEP, step)
    again = await runtime.handle(contract.RECORD_STEP, msgspec.structs.replace(step, output=msgspec.Raw(b"2")))
    assert (first.recorded, again.recorded) == (True, False)
    assert bytes(again.step.output) == b'{"b":1.50, "a":[]}'
    with pytest.raises(StepChanged):
        await runtime.handle(contract.RECORD_STEP, msgspec.structs.replace(step, input_hash="bb"))
    with pytest.raises(LeaseLost):
        await runtime.handle(contract.RECORD_STEP, msgspec.structs.replace(step, name="other", token="f" * 32))
    steps = (await runtime.handle(contract.STEPS, JobRef(id=id))).steps
    assert [each.name for each in steps] == ["read"]


async def test_many_jobs_are_stored_all_or_none(runtime: Runtime) -> None:
    jobs = [NewJob(kind="work"), NewJob(kind="work"), NewJob(kind="work", input=msgspec.Raw(b"[1,"))]
    with pytest.raises(InvalidJson) as refused:
        await runtime.handle(contract.ENQUEUE_MANY, EnqueueJobs(jobs=jobs))
    assert refused.value.path == "jobs[2].input"
    assert (await claim(runtime, limit=10))[1] == []


async def test_many_jobs_answer_their_unique_conflicts_one_by_one(runtime: Runtime) -> None:
    def wish(text: bytes) -> NewJob:
        return NewJob(kind="work", unique=Unique(key="one"), input=msgspec.Raw(text))

    reply = await runtime.handle(contract.ENQUEUE_MANY, EnqueueJobs(jobs=[wish(b"1"), wish(b"1"), wish(b"2")]))
    first, second, third = reply.jobs
    assert (second.id, second.duplicate, second.error) == (first.id, True, None)
    assert third.error is not None
    assert third.error.code == "unique_conflict"
    with pytest.raises(UniqueConflict):
        await runtime.handle(contract.ENQUEUE, wish(b"3"))


async def test_an_operation_id_answers_the_same_call_again_and_refuses_another(runtime: Runtime) -> None:
    call = CallInfo("op-7")
    first = await runtime.handle(contract.ENQUEUE, NewJob(kind="work"), call)
    assert await runtime.handle(contract.ENQUEUE, NewJob(kind="work"), call) == first
    with pytest.raises(OperationMismatch):
        await runtime.handle(contract.ENQUEUE, NewJob(kind="work", input=msgspec.Raw(b"1")), call)
    with pytest.raises(InvalidRequest) as refused:
        await runtime.handle(contract.ENQUEUE, NewJob(kind="work"), CallInfo("no spaces please"))
    assert refused.value.path == "operation-id"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"wait": "61s"}, "wait"),
        ({"lease": "10ms"}, "lease"),
        ({"lease": "2h"}, "lease"),
        ({"queues": ["ok", "not ok"]}, "queues[1]"),
        ({"worker": "\n"}, "worker"),
    ],
)
async def test_a_claim_is_refused_by_its_field(runtime: Runtime, fields: dict[str, object], path: str) -> None:
    request = msgspec.structs.replace(ClaimJobs(worker="tester", queues=["default"]), **fields)
    with pytest.raises(InvalidRequest) as refused:
        await runtime.handle(contract.CLAIM, request)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("job", "error", "path"),
    [
        (NewJob(kind="no kind"), InvalidRequest, "kind"),
        (NewJob(kind="work", input=string(INPUT_LIMIT + 1)), TooLarge, "input"),
        (NewJob(kind="work", input=msgspec.Raw(b"NaN")), InvalidJson, "input"),
        (NewJob(kind="work", delay="soon"), InvalidRequest, "delay"),
        (NewJob(kind="work", tags={"a b": "c"}), InvalidRequest, "tags.a b"),
    ],
)
async def test_a_job_is_refused_by_its_field(runtime: Runtime, job: NewJob, error: type[Exception], path: str) -> None:
    with pytest.raises(error) as refused:
        await runtime.handle(contract.ENQUEUE, job)
    assert getattr(refused.value, "path", None) == path
    assert (await claim(runtime))[1] == []
