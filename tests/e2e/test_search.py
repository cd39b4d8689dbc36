"""Search, errors and bulk operations as users have them: over HTTP and embedded, on both engines, workers at it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
import pytest

import roost
from roost.errors import Conflict, InvalidCursor, InvalidQuery, InvalidRequest, NotFound, SubjectChanged
from roost.wire.bulk import Bulk
from roost.wire.jobs import HoldRule, NewJob
from tests.e2e.stand import eventually, working

names = itertools.count()


async def finished(client: roost.AsyncClient, id: int) -> Bulk:
    async def look() -> Bulk | None:
        found = await client.bulk.get(id)
        return found if found.ended_at is not None else None

    return await eventually(look, f"bulk {id} ends")


@pytest.mark.feature("query")
async def test_one_query_language_in_every_call(app: roost.App, queue: str) -> None:
    client = app.client
    jobs = [
        NewJob(kind="mail.send", queue=queue, input=msgspec.Raw(b'{"user":{"id":%d}}' % number), tags={"run": queue})
        for number in range(5)
    ]
    ids = [made.id for made in await client.jobs.enqueue_many(jobs)]
    page = await client.jobs.search(f"tag.run:{queue} input.user.id:>=3", count=True)
    assert [job.id for job in page.jobs] == [ids[4], ids[3]]
    assert page.count is not None
    assert (page.count.jobs, page.count.exact) == (2, True)
    assert (page.searched.index, page.searched.complete, page.searched.scan) == ("job_tag", True, False)

    first = await client.jobs.search(f"queue:{queue} state:ready", sort="created", limit=2)
    rest = await client.jobs.search(f"queue:{queue} state:ready", sort="created", limit=10, cursor=first.cursor)
    assert [job.id for job in (*first.jobs, *rest.jobs)] == ids
    assert rest.cursor is None
    with pytest.raises(InvalidCursor):
        await client.jobs.search("state:held", sort="created", cursor=first.cursor)

    checked = await client.jobs.check_query(f"queue:{queue} state:ready error:x")
    assert [(term.field, term.use) for term in checked.terms] == [
        ("queue", "filter"), ("state", "index" if checked.index == "job_ready" else "filter"),
        ("error", "filter" if checked.index == "job_ready" else "index"),
    ] or checked.index == "job_error"  # fmt: skip
    wrong = await client.jobs.check_query("state:reddy")
    assert wrong.fault is not None
    assert (wrong.fault.position, wrong.fault.help) == (6, "did you mean ready?")
    with pytest.raises(InvalidQuery, match="reddy"):
        await client.jobs.search("state:reddy")

    facets = await client.jobs.facets("tag.run", prefix=queue[:6], query=f"queue:{queue}")
    assert [(one.value, one.jobs) for one in facets.values] == [(queue, 5)]
    assert (facets.jobs, facets.complete) == (5, True)
    with pytest.raises(InvalidRequest):
        await client.jobs.facets("token")


@pytest.mark.feature("query")
async def test_jq_runs_in_a_child_that_has_little(app: roost.App, queue: str) -> None:
    client = app.client
    for number in range(3):
        await client.jobs.enqueue(NewJob(kind="k", queue=queue, input=msgspec.Raw(b'{"n":%d}' % number)))
    query = f"queue:{queue} state:ready"
    page = await client.jobs.search(query, jq=".input.n >= 1 and (.tags | not)")
    assert len(page.jobs) == 2
    assert (await client.jobs.search(query, jq="empty")).jobs == []
    assert len((await client.jobs.search(query, jq=".input.n, .queue")).jobs) == 3
    hostile = [
        ".input.n | (", "def f: f; f", "[range(1e12)]", "[limit(1e9;repeat(0))]", 'input_filename as $x | "a" * 1e9',
        '1) | ("x" ; 2', "error",   '@base32d', "halt_error", '"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!" | test("(a+)+$")',
    ]  # fmt: skip
    for program in hostile:
        with pytest.raises(InvalidRequest) as refused:
            await asyncio.wait_for(client.jobs.search(query, jq=program), 3)
        assert refused.value.path == "jq", program
    assert (await client.jobs.search(query, jq='$ENV == {} or ($ENV | keys) == ["LC_CTYPE"]')).jobs != []


@pytest.mark.feature("views-errors")
async def test_a_group_of_errors_is_looked_at_retried_and_resolved(app: roost.App, queue: str) -> None:
    broken = [True]
    kind = f"mail.{next(names)}"

    @app.job(name=kind, queue=queue, retries=0)
    async def send(number: int) -> None:
        if broken[0]:
            raise LookupError(f"no mailbox {number} in {queue.replace('-', '')}")

    async with working(app, queue):
        handles = [await send.enqueue(number) for number in range(4)]
        for handle in handles:
            with pytest.raises(roost.JobFailed):
                await handle.result()
        client = app.client
        (group,) = [
            one for one in (await client.errors.list(limit=500)).errors if queue.replace("-", "") in one.message
        ]
        assert (group.type, group.count, group.state) == ("LookupError", 4, "open")
        assert group.frame.endswith(":send")
        detail = await client.errors.get(group.fingerprint)
        assert [(share.queue, share.kind, share.jobs) for share in detail.jobs] == [(queue, kind, 4)]
        assert detail.error is not None
        assert "LookupError" in detail.error.traceback
        assert len((await client.jobs.search(f"fp:{group.fingerprint} state:failed")).jobs) == 4

        broken[0] = False
        started = await client.errors.retry(group.fingerprint, actor="ana")
        assert started.jobs == 4
        assert started.bulk is not None
        done = await finished(client, started.bulk.id)
        assert (done.done, done.failed, done.actor) == (4, 0, "ana")
        for handle in handles:
            assert await handle.result() is None
        assert (await client.errors.resolve(group.fingerprint, actor="ana")).state == "resolved"
    with pytest.raises(NotFound):
        await app.client.errors.mute("nothing")


@pytest.mark.feature("bulk")
async def test_a_preview_counts_and_touches_nothing(app: roost.App, queue: str) -> None:
    client = app.client
    ids = [made.id for made in await client.jobs.enqueue_many([NewJob(kind="k", queue=queue) for _ in range(6)])]
    await client.jobs.cancel(ids[0])
    preview = await client.bulk.create("cancel", f"queue:{queue}", dry_run=True)
    assert (preview.jobs, preview.exact, preview.skips, preview.bulk) == (6, True, {"cancelled": 1}, None)
    assert len((await client.jobs.search(f"queue:{queue} state:ready")).jobs) == 5
    for wrong in ({}, {"query": "", "ids": [1]}, {"query": "x", "rate": "0/s"}):
        with pytest.raises(InvalidRequest):
            await client.bulk.create("cancel", **wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        await client.bulk.create("move", f"queue:{queue}")
    with pytest.raises(InvalidQuery):
        await client.bulk.create("cancel", "state:reddy")


@pytest.mark.feature("bulk")
async def test_an_approval_in_bulk_quotes_what_is_asked(app: roost.App, queue: str) -> None:
    client, query = app.client, f"queue:{queue}"
    held = [NewJob(kind="k", queue=queue, hold=HoldRule(title="go?")) for _ in range(3)]
    await client.jobs.enqueue_many(held[:2])
    preview = await client.bulk.create("approve", query, dry_run=True)
    assert preview.asked is not None
    with pytest.raises(InvalidRequest) as refused:
        await client.bulk.create("approve", query)
    assert refused.value.path == "asked"
    (late,) = await client.jobs.enqueue_many(held[2:])
    with pytest.raises(SubjectChanged):
        await client.bulk.create("approve", query, asked=preview.asked)
    again = await client.bulk.create("approve", query, dry_run=True)
    for _ in range(2):  # an answer that was lost is asked for again, when nothing is asked any more
        started = await client.bulk.create("approve", query, asked=again.asked, operation_id=f"approve-{queue}")
        assert started.bulk is not None
        assert (await finished(client, started.bulk.id)).done == 3
    assert (await client.jobs.get(late.id)).state == "ready"


@pytest.mark.feature("bulk")
async def test_bulk_while_workers_run(app: roost.App, queue: str) -> None:
    ran: list[int] = []

    @app.job(name=f"count.{next(names)}", queue=queue)
    async def count(number: int) -> None:
        ran.append(number)

    client = app.client
    handles = await count.enqueue_many([(number,) for number in range(300)])
    async with working(app, queue, concurrency=2):
        started = await client.bulk.create("cancel", f"queue:{queue}", note="stop", actor="ana")
        assert started.bulk is not None
        again = await client.bulk.create("cancel", f"queue:{queue}", operation_id=f"bulk-{queue}")
        assert again.bulk is not None
        done = await finished(client, started.bulk.id)
        second = await finished(client, again.bulk.id)
        assert done.state == second.state == "done"

        async def quiet() -> bool:
            page = await client.jobs.search(f"queue:{queue} -state:cancelled,succeeded")
            return not page.jobs and page.cursor is None

        await eventually(quiet, "every job ends")
    cancelled = 0
    for handle in handles:
        job = await handle.job()
        events = [event.type for event in await client.jobs.events(handle.id)]
        asked = events.count("cancel_requested") + events.count("cancelled")
        if job.state == "cancelled":
            cancelled += 1
            assert events.count("cancelled") == 1
        else:
            assert asked == events.count("cancel_requested") <= 1
    assert len(ran) == len(set(ran))
    assert cancelled + len(ran) >= len(handles)


@pytest.mark.feature("bulk")
async def test_abort_and_a_rate(app: roost.App, queue: str) -> None:
    client = app.client
    await client.jobs.enqueue_many([NewJob(kind="k", queue=queue) for _ in range(60)])
    started = await client.bulk.create("cancel", f"queue:{queue}", rate="10/s")
    assert started.bulk is not None

    async def moved() -> Bulk | None:
        found = await client.bulk.get(started.bulk.id)  # type: ignore[union-attr]
        return found if found.done else None

    assert (await eventually(moved, "it begins")).done <= 20
    paused = await client.bulk.pause(started.bulk.id)
    assert paused.state == "paused"
    assert (await client.bulk.resume(started.bulk.id)).state == "running"
    ended = await client.bulk.abort(started.bulk.id, actor="bo")
    assert ended.state == "aborted"
    assert 0 < ended.done < 60
    assert len((await client.jobs.search(f"queue:{queue} state:ready", limit=100)).jobs) == 60 - ended.done
    with pytest.raises(Conflict):
        await client.bulk.resume(started.bulk.id)
    assert started.bulk.id in [one.id for one in (await client.bulk.list()).bulks]


@pytest.mark.feature("query")
async def test_a_declared_path_becomes_ready(app: roost.App, queue: str) -> None:
    client = app.client
    path = f"input.{queue}.id"
    made = await client.jobs.enqueue(
        NewJob(kind="k", queue=queue, input=msgspec.Raw(b'{"%s":{"id":7}}' % queue.encode()))
    )
    await client.indexes.declare(path, actor="ana")

    async def ready() -> bool:
        return any(one.path == path and one.state == "ready" for one in await client.indexes.list())

    await eventually(ready, "the index is ready")
    page: Any = await client.jobs.search(f"{path}:7")
    assert ([job.id for job in page.jobs], page.searched.index) == ([made.id], "job_index")
    await client.indexes.remove(path)
    for wrong in ("result.x", "input", "input.a b", "input.a:1 state"):
        with pytest.raises(InvalidRequest):
            await client.indexes.declare(wrong)


@pytest.mark.feature("views-errors")
async def test_views(app: roost.App, queue: str) -> None:
    client = app.client
    await client.views.put(queue, f"queue:{queue}", sort="-finished", actor="ana")
    assert (await client.views.get(queue)).query == f"queue:{queue}"
    with pytest.raises(InvalidQuery):
        await client.views.put(queue, "state:reddy")
    assert queue in [view.name for view in await client.views.list()]
    await client.views.delete(queue)
    with pytest.raises(NotFound):
        await client.views.get(queue)
