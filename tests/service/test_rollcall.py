"""Every node knows which workers are there, whichever of them they call, and which of them are to drain."""

from __future__ import annotations

import pytest

from roost.engine.store import Store
from roost.errors import NotFound
from roost.service.runtime import Runtime
from roost.wire import contract
from roost.wire.attempts import Beat, ClaimJobs, Heartbeat, Register, WorkerRef
from roost.wire.jobs import Empty
from tests.service.calls import claim, enqueue
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock

pytestmark = pytest.mark.feature("shutdown")


async def known(runtime: Runtime) -> list[tuple[str, bool]]:
    found = (await runtime.handle(contract.LIST_WORKERS, Empty())).workers
    return [(worker.id, worker.draining) for worker in found]


async def asked_to_drain(runtime: Runtime) -> bool:
    return (await runtime.handle(contract.CLAIM, ClaimJobs(worker="w", queues=["default"]))).drain


async def test_a_worker_is_known_to_nodes_that_never_heard_it(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    one, other = await make_runtime(store, clock=clock), await make_runtime(store, clock=clock)
    await one.handle(contract.REGISTER_WORKER, Register(id="w", queues=["default"]))
    for _ in range(8):
        await clock.advance(30_000)
        assert not await asked_to_drain(one)
    assert await known(one) == await known(other) == [("w", False)]
    await clock.advance(180_000)
    assert await known(one) == await known(other) == []


async def test_a_drain_reaches_the_worker_wherever_it_calls_until_it_starts_again(
    store: Store, make_runtime: MakeRuntime, clock: VirtualClock
) -> None:
    one, other = await make_runtime(store, clock=clock), await make_runtime(store, clock=clock)
    await one.handle(contract.REGISTER_WORKER, Register(id="w", queues=["default"]))
    id = await enqueue(one)
    token, _ = await claim(one, worker="w", lease="1h")
    await other.handle(contract.DRAIN_WORKER, WorkerRef(id="w"))
    assert await asked_to_drain(other)
    # Where no hint comes through, the node reads again who is to drain.
    await clock.advance(11_000)
    await asked_to_drain(one)
    await clock.advance(1)
    assert await asked_to_drain(one)
    beats = [Beat(id=id, token=token)]
    assert (await one.handle(contract.HEARTBEAT, Heartbeat(worker="w", beats=beats))).drain
    assert not (await one.handle(contract.HEARTBEAT, Heartbeat(worker="v", beats=beats))).drain
    assert await known(one) == [("w", True)]
    await one.handle(contract.REGISTER_WORKER, Register(id="w", queues=["default"]))
    assert not await asked_to_drain(one)
    await clock.advance(11_000)
    await asked_to_drain(other)
    await clock.advance(1)
    assert not await asked_to_drain(other)
    with pytest.raises(NotFound):
        await one.handle(contract.DRAIN_WORKER, WorkerRef(id="nobody"))
