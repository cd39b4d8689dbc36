"""A relay's batches on the server's side: stored once, answered the same, whatever else is sent."""

from __future__ import annotations

import asyncio
import itertools

import pytest

import roost
from roost.errors import Conflict, InvalidRequest
from roost.wire.jobs import NewJob, Unique

pytestmark = pytest.mark.feature("outbox")

_names = itertools.count(1)


@pytest.fixture
def outbox() -> str:
    """The name of an outbox nobody else has."""
    return f"outbox-{next(_names)}"


def jobs(queue: str, *kinds: str) -> list[NewJob]:
    return [NewJob(kind=kind, queue=queue) for kind in kinds]


async def stored(app: roost.App, queue: str) -> list[str]:
    page = await app.client.jobs.list(queue=[queue], limit=500)
    return [job.kind for job in reversed(page.jobs)]


async def test_a_batch_is_stored_once(app: roost.App, queue: str, outbox: str) -> None:
    client = app.client.outboxes
    first = await client.deliver(outbox, 1, "a", jobs(queue, "one", "two"))
    assert [answer.error for answer in first] == [None, None]
    assert await client.deliver(outbox, 1, "a", jobs(queue, "one", "two")) == first
    second = await client.deliver(outbox, 2, "b", jobs(queue, "three"))
    assert await client.deliver(outbox, 2, "b", jobs(queue, "three")) == second
    assert await stored(app, queue) == ["one", "two", "three"]


async def test_what_was_passed_is_a_conflict(app: roost.App, queue: str, outbox: str) -> None:
    client = app.client.outboxes
    await client.deliver(outbox, 5, "a", jobs(queue, "one"))
    for number, contents in ((5, "b"), (4, "a"), (1, "a")):
        with pytest.raises(Conflict, match="was passed"):
            await client.deliver(outbox, number, contents, jobs(queue, "other"))
    assert await stored(app, queue) == ["one"]


async def test_each_job_is_answered_for_itself_and_the_answer_stays(app: roost.App, queue: str, outbox: str) -> None:
    client = app.client.outboxes
    await app.client.jobs.enqueue(NewJob(kind="holder", queue=queue, unique=Unique(key=queue, scope="global")))
    batch = [
        NewJob(kind="good", queue=queue),
        NewJob(kind="bad", queue=queue, delay="soon"),
        NewJob(kind="rival", queue=queue, unique=Unique(key=queue, scope="global")),
        NewJob(kind="fine", queue=queue),
    ]
    answers = await client.deliver(outbox, 1, "a", batch)
    codes = [None if answer.error is None else answer.error.code for answer in answers]
    assert codes == [None, "invalid_duration", "unique_conflict", None]
    assert answers[1].id == 0
    # Other rules by now, the same answer.
    batch[1].delay = None
    assert await client.deliver(outbox, 1, "a", batch) == answers
    assert await stored(app, queue) == ["holder", "good", "fine"]


async def test_a_number_that_was_used_up_stores_nothing_later(app: roost.App, queue: str, outbox: str) -> None:
    client = app.client.outboxes
    assert await client.deliver(outbox, 1, "a", []) == []
    assert await client.deliver(outbox, 1, "a", jobs(queue, "late")) == []
    kept = await client.deliver(outbox, 2, "b", jobs(queue, "one"))
    # Too late to use it up: what was stored is told.
    assert await client.deliver(outbox, 2, "b", []) == kept
    assert await stored(app, queue) == ["one"]


async def test_many_at_once_store_one(app: roost.App, queue: str, outbox: str) -> None:
    client = app.client.outboxes
    answers = await asyncio.gather(*(client.deliver(outbox, 1, "a", jobs(queue, "x", "y")) for _ in range(12)))
    assert all(answer == answers[0] for answer in answers)
    assert await stored(app, queue) == ["x", "y"]


async def test_a_nameless_outbox_is_refused(app: roost.App, queue: str) -> None:
    for name, number in (("no name", 1), ("x" * 129, 1), ("fine", 0)):
        with pytest.raises(InvalidRequest):
            await app.client.outboxes.deliver(name, number, "a", jobs(queue, "one"))
    assert await stored(app, queue) == []
