"""A drain answers when nothing of the queue runs and nothing of it will start, whatever was under way as it began."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from roost.engine.store import Store
from roost.wire import contract
from roost.wire.queues import DrainQueue, QueueRef
from tests.service.calls import enqueue, settle_one
from tests.service.conftest import MakeRuntime

pytestmark = pytest.mark.feature("queue-control")


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)
async def test_a_claim_that_looked_before_the_pause_is_waited_for(
    store: Store, postgres_store: str, make_runtime: MakeRuntime
) -> None:
    """Where one transaction writes at a time there is none under way when the pause is committed."""
    runtime = await make_runtime(store)
    id = await enqueue(runtime)
    with psycopg.connect(postgres_store) as claim:
        claim.execute("SELECT 1 FROM job WHERE id = %s FOR UPDATE", [id])
        drain = asyncio.create_task(runtime.handle(contract.DRAIN_QUEUE, DrainQueue(name="default", wait="30s")))
        while not (await runtime.handle(contract.GET_QUEUE, QueueRef(name="default"))).paused:
            await asyncio.sleep(0.01)
        at_once = await runtime.handle(contract.DRAIN_QUEUE, DrainQueue(name="default", wait="0s"))
        assert (at_once.drained, at_once.running) == (False, 1)
        assert not (await asyncio.wait([drain], timeout=0.5))[0], "it may be about to start"
        claim.execute(
            "UPDATE job SET state = 'running', attempt = 1, token = %s, worker = 'w', started_at = created_at,"
            " lease_until = created_at + 600000 WHERE id = %s",
            ["t" * 32, id],
        )
    assert not (await asyncio.wait([drain], timeout=0.2))[0], "it runs"
    await settle_one(runtime, id, "t" * 32)
    told = await asyncio.wait_for(drain, 30)
    assert (told.drained, told.running) == (True, 0)
