"""One key, one job, one effect, from as many clients as there are."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

import roost
from roost.embedded import Embedded
from roost.errors import UniqueConflict
from roost.wire.jobs import Enqueued, NewJob, Unique
from tests.e2e.stand import Stand, ended, eventually, open_hold, until, working

pytestmark = pytest.mark.feature("unique")

CLIENTS = 4
TIMES = 100


async def many_clients(stand: Stand) -> list[roost.AsyncClient]:
    """Clients that share nothing: connections of their own, or (embedded) the store opened once for each."""
    if stand.transport == "http":
        return [roost.AsyncClient.connect(stand.url) for _ in range(CLIENTS)]
    opened = [await asyncio.to_thread(Embedded, stand.store_url) for _ in range(CLIENTS)]
    clients = [roost.AsyncClient(each.async_transport()) for each in opened]
    for each in opened:
        each.release()
    return clients


@pytest.mark.parametrize("within", [None, "1h"])
async def test_four_hundred_enqueues_from_four_clients_have_one_effect(
    stand: Stand, app: roost.App, queue: str, within: str | None
) -> None:
    effects: list[int] = []
    may_end = asyncio.Event()

    @app.job(name=f"charge.{queue}", queue=queue)
    async def charge(invoice: int) -> None:
        effects.append(invoice)
        await may_end.wait()

    unique = Unique(key="invoice-7", within=within)

    async def enqueue(client: roost.AsyncClient) -> list[Enqueued]:
        job = NewJob(kind=charge.kind, queue=queue, input=msgspec.Raw(b'{"invoice":7}'), unique=unique)
        single = [client.jobs.enqueue(job) for _ in range(TIMES // 2)]
        # half of them one by one, half in batches of ten that hold the key ten times
        batches = [client.jobs.enqueue_many([job] * 10) for _ in range(TIMES // 20)]
        answers = await asyncio.gather(*single)
        return [*answers, *(answer for batch in await asyncio.gather(*batches) for answer in batch)]

    clients = await many_clients(stand)
    async with working(app, queue):
        if within is not None:
            # With a period the job may end in the middle of it all, and still be the only one.
            may_end.set()
        answers = [answer for each in await asyncio.gather(*map(enqueue, clients)) for answer in each]
        assert len(answers) == CLIENTS * TIMES
        assert len({answer.id for answer in answers}) == 1
        assert [answer.duplicate for answer in answers].count(False) == 1
        assert all(answer.error is None for answer in answers)
        may_end.set()
        assert (await ended(app, answers[0].id)).state == "succeeded"
    assert effects == [7]
    page = await app.client.jobs.list(queue=[queue])
    assert [job.id for job in page.jobs] == [answers[0].id]
    for client in clients:
        await client.aclose()


async def test_another_input_for_the_same_key_is_a_conflict(app: roost.App, queue: str) -> None:
    def new(input: bytes, **fields: Any) -> NewJob:
        return NewJob(
            kind=f"k.{queue}", queue=queue, input=msgspec.Raw(input), unique=Unique(key="key", within="1h"), **fields
        )

    first = await app.client.jobs.enqueue(new(b'{"a":1}'))
    with pytest.raises(UniqueConflict) as refused:
        await app.client.jobs.enqueue(new(b'{"a":2}'))
    error = refused.value
    assert (error.code, error.status, bool(error.help)) == ("unique_conflict", 409, True)
    assert str(first.id) in error.message
    batch = await app.client.jobs.enqueue_many([new(b'{"a":1}'), new(b'{"a":2}')])
    assert (batch[0].id, batch[0].duplicate) == (first.id, True)
    assert batch[1].error is not None
    assert batch[1].error.code == "unique_conflict"
    # Priority or time make no other job of it.
    assert (await app.client.jobs.enqueue(new(b'{"a":1}', priority=9, delay="1h"))).id == first.id
    # "reject" refuses even the same input.
    strict = new(b'{"a":1}')
    strict.unique = Unique(key="key", within="1h", on_conflict="reject")
    with pytest.raises(UniqueConflict):
        await app.client.jobs.enqueue(strict)
    # The period outlives the end.
    await app.client.jobs.cancel(first.id)
    with pytest.raises(UniqueConflict):
        await app.client.jobs.enqueue(new(b'{"a":2}'))
    assert (await app.client.jobs.enqueue(new(b'{"a":1}'))).duplicate
    page = await app.client.jobs.list(queue=[queue])
    assert [job.id for job in page.jobs] == [first.id]


async def test_scopes_keep_keys_apart(app: roost.App, queue: str) -> None:
    async def enqueue(kind: str, where: str, scope: Any) -> int:
        unique = Unique(key=queue, scope=scope)
        return (await app.client.jobs.enqueue(NewJob(kind=kind, queue=where, unique=unique))).id

    other = f"{queue}-other"
    assert await enqueue("a", queue, "kind") == await enqueue("a", other, "kind")
    assert await enqueue("a", queue, "kind") != await enqueue("b", queue, "kind")
    assert await enqueue("a", queue, "queue") != await enqueue("a", other, "queue")
    assert await enqueue("a", queue, "global") == await enqueue("a", other, "global")


async def test_a_key_lives_for_its_period_or_as_long_as_its_job(app: roost.App, queue: str) -> None:
    new = NewJob(kind=f"k.{queue}", queue=queue, unique=Unique(key="key", within="300ms"))
    first = await app.client.jobs.enqueue(new)
    # The job has not ended when the period has: it keeps the key.
    witness = await app.client.jobs.enqueue(NewJob(kind="k", queue=queue, ttl="400ms"))
    await until(app, witness.id, "expired")
    assert (await app.client.jobs.enqueue(new)).id == first.id
    await app.client.jobs.cancel(first.id)

    async def freed() -> int | None:
        found = await app.client.jobs.enqueue(new)
        return None if found.duplicate else found.id

    assert await eventually(freed, "the key is free") > first.id


@pytest.mark.parametrize("ending", ["succeeded", "failed", "cancelled", "expired", "denied", "deleted"])
async def test_every_end_frees_the_key(app: roost.App, queue: str, ending: str) -> None:
    @app.job(name=f"work.{queue}", queue=queue, retries=0)
    async def work() -> None:
        if ending == "failed":
            raise ValueError("no")

    new = work.new_job()
    new.unique = Unique(key="key")
    if ending == "denied":
        new.hold = roost.HoldRule()
    if ending == "expired":
        new.ttl = "100ms"
    first = await app.client.jobs.enqueue(new)
    if ending == "expired":
        new.ttl = None
    else:
        assert (await app.client.jobs.enqueue(new)).id == first.id
    if ending in ("succeeded", "failed"):
        async with working(app, queue):
            await ended(app, first.id)
    elif ending == "cancelled":
        await app.client.jobs.cancel(first.id)
    elif ending == "denied":
        hold = await open_hold(app, first.id)
        await app.client.holds.deny(hold.id, hold.subject_hash)
    elif ending == "deleted":
        await app.client.jobs.delete(first.id)
    else:
        await until(app, first.id, "expired")
    if ending != "deleted":
        assert (await app.client.jobs.get(first.id)).state == ("failed" if ending == "denied" else ending)
    second = await app.client.jobs.enqueue(new)
    assert (second.duplicate, second.id > first.id) == (False, True)
    if ending != "deleted":
        # Run again, the first one would share the key.
        with pytest.raises(UniqueConflict):
            await app.client.jobs.reopen(first.id)
