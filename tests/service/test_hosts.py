"""The same work in the loop, in a thread and in a child process; and a child that dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from roost.domain.states import State
from roost.engine.batch import Applied, ClaimAnswer, Effects, EnqueuedRow, SettledRow
from roost.engine.opening import open_store
from roost.engine.store import Store
from roost.errors import LeaseLost, NotFound, OutcomeUnknown, StoreError
from roost.service import frames
from roost.service.core import HostKind
from roost.service.runtime import CallInfo
from roost.wire import contract
from roost.wire.jobs import CancelJob, NewJob
from roost.wire.problems import Problem
from tests.service.calls import beat_one, claim, enqueue, job, settle_one
from tests.service.conftest import MakeRuntime


def engine_processes() -> list[int]:
    """The engine processes this process started and that have not been waited for."""
    children = [
        child for task in Path("/proc/self/task").iterdir() for child in (task / "children").read_text().split()
    ]
    module = b"roost.service.engine_process"
    return [int(child) for child in children if module in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.fixture
def file_store(sqlite_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{sqlite_path}", "server", rng=random.Random(1).random)
    yield store
    store.close()


@pytest.mark.parametrize("host", ["inline", "thread", "process"])
async def test_a_job_lives_its_whole_life_on_every_host(
    file_store: Store, make_runtime: MakeRuntime, host: HostKind
) -> None:
    runtime = await make_runtime(file_store, host=host)
    waiting = asyncio.create_task(claim(runtime, wait="10s"))
    id = await enqueue(runtime, input=msgspec.Raw(b'{"a":"\xc3\xa9"}'), delay="30ms")
    token, ids = await asyncio.wait_for(waiting, 10)
    assert ids == [id]
    assert (await beat_one(runtime, id, token, saved=msgspec.Raw(b"[1]"))).error is None
    assert (await settle_one(runtime, id, token, result=msgspec.Raw(b"7"))).state is State.SUCCEEDED
    refused = (await settle_one(runtime, id, "f" * 32)).error
    assert refused is not None
    assert refused.code == LeaseLost.code
    with pytest.raises(NotFound):
        await runtime.handle(contract.CANCEL_JOB, CancelJob(id=999))
    ended = await job(runtime, id)
    assert (bytes(ended.input), bytes(ended.result or b"")) == (b'{"a":"\xc3\xa9"}', b"7")


async def test_a_dead_engine_process_is_replaced(file_store: Store, make_runtime: MakeRuntime) -> None:
    runtime = await make_runtime(file_store, host="process", loops=False)
    before = await enqueue(runtime, "before")
    [child] = engine_processes()
    os.kill(child, signal.SIGSTOP)
    call = CallInfo("op-in-flight")
    in_flight = asyncio.create_task(runtime.handle(contract.ENQUEUE, NewJob(kind="during"), call))
    for _ in range(10):
        await asyncio.sleep(0)
    os.kill(child, signal.SIGKILL)
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(in_flight, 10)
    again = await runtime.handle(contract.ENQUEUE, NewJob(kind="during"), call)
    assert again.id > before
    _, ids = await claim(runtime, limit=10)
    assert [(await job(runtime, id)).kind for id in ids] == ["before", "during"]
    await runtime.stop()
    assert engine_processes() == []


def test_an_answer_crosses_the_boundary_as_it_is() -> None:
    refused = Problem.of(LeaseLost("gone", path="token", help="claim again", retry_after=0.5))
    applied = Applied(
        enqueued=[[EnqueuedRow(1), EnqueuedRow(2, True, refused)], refused],
        settled=[[SettledRow(1, State.SUCCEEDED), SettledRow(2, None, refused)]],
        beaten=[],
        steps=[],
        claimed=[ClaimAnswer("t", 1000, 1, '[{"id":1}]'), refused, ClaimAnswer("u", 1000, 0, "[]")],
        effects=Effects(ready={"a": 2}, ended=[1], due_at=5, schedules=True),
    )
    frame = frames.reply(applied)
    size, kind = frames.HEAD.unpack(frame[: frames.HEAD.size])
    assert frames.answer(kind, frame[frames.HEAD.size :]) == applied
    assert size == len(frame) - frames.HEAD.size


def test_an_error_crosses_the_boundary_as_its_own_class() -> None:
    frame = frames.refusal(StoreError("the disk failed", help="replace it"))
    _, kind = frames.HEAD.unpack(frame[: frames.HEAD.size])
    with pytest.raises(StoreError, match="the disk failed"):
        frames.answer(kind, frame[frames.HEAD.size :])
