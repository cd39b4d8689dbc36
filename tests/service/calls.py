"""Short words for the calls the tests make."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import msgspec

from roost.domain.states import State
from roost.service.runtime import CallInfo, Runtime
from roost.wire import contract
from roost.wire.attempts import (
    Beat,
    Beaten,
    ClaimJobs,
    Heartbeat,
    Lease,
    Outcome,
    RawClaimed,
    Settled,
    SettleJobs,
)
from roost.wire.jobs import Job, JobRef, NewJob

_leases = msgspec.json.Decoder(list[Lease])


async def enqueue(runtime: Runtime, kind: str = "work", *, queue: str = "default", **fields: Any) -> int:
    """Enqueue a job; its id."""
    return (await runtime.handle(contract.ENQUEUE, NewJob(kind=kind, queue=queue, **fields))).id


async def claim(
    runtime: Runtime,
    *queues: str,
    limit: int = 1,
    wait: str = "0s",
    lease: str = "15s",
    worker: str = "tester",
    operation: str | None = None,
) -> tuple[str, list[int]]:
    """Claim jobs; the token and the jobs' ids."""
    request = ClaimJobs(worker=worker, queues=list(queues or ["default"]), limit=limit, wait=wait, lease=lease)
    reply = cast(object, await runtime.handle(contract.CLAIM, request, CallInfo(operation)))
    assert isinstance(reply, RawClaimed)
    return reply.token, [lease.id for lease in _leases.decode(bytes(reply.jobs))]


async def settle_one(runtime: Runtime, id: int, token: str, **fields: Any) -> Settled:
    """End an attempt."""
    request = SettleJobs(outcomes=[Outcome(id=id, token=token, **fields)])
    return (await runtime.handle(contract.SETTLE, request)).results[0]


async def beat_one(runtime: Runtime, id: int, token: str, **fields: Any) -> Beaten:
    """Renew a lease."""
    request = Heartbeat(worker="tester", beats=[Beat(id=id, token=token, **fields)])
    return (await runtime.handle(contract.HEARTBEAT, request)).beats[0]


async def job(runtime: Runtime, id: int) -> Job:
    """A job, whole."""
    return await runtime.handle(contract.GET_JOB, JobRef(id=id))


async def state(runtime: Runtime, id: int) -> State:
    """Where a job is."""
    return (await job(runtime, id)).state


def ms(text: str | None) -> int:
    """Milliseconds since the epoch."""
    assert text is not None
    return round(datetime.fromisoformat(text).timestamp() * 1000)
