"""Jobs moved, cloned, reopened and labelled, queues drained and destroyed, kinds with schemas: as users have them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

import roost
from roost.domain.admission import SAVED_LIMIT
from roost.domain.schedule import ScheduleRule
from roost.errors import Conflict, InvalidRequest, NotFound, SchemaMismatch, TooLarge, UniqueConflict
from roost.wire.attempts import Beat, Heartbeat, NewLogLine, Outcome, RecordStep
from roost.wire.contract import HEARTBEAT
from roost.wire.jobs import NewJob, Unique
from tests.e2e.stand import ended, eventually, working


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


async def failed(app: roost.App, queue: str, **more: object) -> int:
    """A job that failed for good."""
    job = NewJob(kind="k", queue=queue, retry=roost.RetryRule(retries=0), **more)  # type: ignore[arg-type]
    id = (await app.client.jobs.enqueue(job)).id
    claimed = await app.client.jobs.claim("w", [queue])
    await app.client.jobs.settle([Outcome(id=id, token=claimed.token, outcome="fail")])
    return id


# --- enqueue ----------------------------------------------------------------------------------------------------------


@pytest.mark.feature("enqueue")
async def test_the_batch_form_drops_nothing(app: roost.App, queue: str) -> None:
    run_at = datetime.now(UTC) + timedelta(hours=1)
    job = NewJob(
        kind="k",
        input=raw('{"a":1}'),
        queue=queue,
        priority="high",
        run_at=run_at,
        ttl="2h",
        deadline="7d",
        timeout="5m",
        retry=roost.RetryRule(retries=7),
        unique=Unique(key=f"{queue}-one"),
        tags={"team": "blue"},
        owner="mia",
        metadata=raw('{"ticket":7}'),
    )
    batch = msgspec.structs.replace(job, unique=Unique(key=f"{queue}-many"))
    one = (await app.client.jobs.enqueue(job)).id
    (two,) = [each.id for each in await app.client.jobs.enqueue_many([batch])]
    told = [msgspec.json.decode(msgspec.json.encode(await app.client.jobs.get(id))) for id in (one, two)]
    for each in told:
        for name in ("id", "created_at", "unique_key", "deadline_at"):
            assert each.pop(name)
    assert told[0] == told[1]
    assert (told[0]["priority"], told[0]["timeout"], told[0]["metadata"]) == (8, "5m", {"ticket": 7})
    assert told[0]["expires_at"] > told[0]["run_at"]
    again = await app.client.jobs.enqueue_many([batch])
    assert (again[0].id, again[0].duplicate) == (two, True), "the batch form knows unique keys"


@pytest.mark.feature("enqueue")
async def test_a_batch_with_one_bad_job_stores_none(app: roost.App, queue: str) -> None:
    jobs = [NewJob(kind="k", queue=queue), NewJob(kind="k", queue=queue, delay="soon")]
    with pytest.raises(InvalidRequest) as refused:
        await app.client.jobs.enqueue_many(jobs)
    assert refused.value.path == "jobs[1].delay"
    assert (await app.client.jobs.list(queue=[queue])).jobs == []


@pytest.mark.feature("priority")
async def test_low_is_not_normal_and_names_are_numbers(app: roost.App, queue: str) -> None:
    wishes = ["low", 5, None, "high", 9, 0, "normal"]
    ids = [(await app.client.jobs.enqueue(NewJob(kind="k", queue=queue, priority=one))).id for one in wishes]  # type: ignore[arg-type]
    assert [(await app.client.jobs.get(id)).priority for id in ids] == [2, 5, 5, 8, 9, 0, 5]
    claimed = await app.client.jobs.claim("w", [queue], limit=10)
    assert [job.id for job in claimed.jobs] == [ids[place] for place in (4, 3, 1, 2, 6, 0, 5)]


@pytest.mark.feature("priority")
async def test_a_queue_has_a_priority_a_deadline_and_a_payload_limit_for_its_jobs(app: roost.App, queue: str) -> None:
    await app.client.queues.edit(queue, roost.QueueRules(priority="low", deadline="24h", payload_limit=20))
    job = await app.client.jobs.get((await app.client.jobs.enqueue(NewJob(kind="k", queue=queue))).id)
    assert job.priority == 2
    assert job.deadline_at is not None
    created = datetime.fromisoformat(job.created_at)
    assert timedelta(hours=23) < datetime.fromisoformat(job.deadline_at) - created < timedelta(hours=25)
    named = (await app.client.jobs.enqueue(NewJob(kind="k", queue=queue, priority=7, deadline="1h"))).id
    assert (await app.client.jobs.get(named)).priority == 7
    with pytest.raises(TooLarge) as refused:
        await app.client.jobs.enqueue(NewJob(kind="k", queue=queue, input=raw('"' + "x" * 20 + '"')))
    assert refused.value.status == 413
    assert refused.value.path == "input"
    assert "limit of 20" in refused.value.message
    assert "payload_limit" in refused.value.message


# --- move, hold, clone, reopen ----------------------------------------------------------------------------------------


@pytest.mark.feature("cancel-move-clone")
async def test_a_job_is_moved_held_and_let_go(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    id = (await jobs.enqueue(NewJob(kind="k", queue=queue))).id
    moved = await jobs.move(id, queue=f"{queue}-b", priority="high", note="urgent", actor="mia")
    assert (moved.queue, moved.priority, moved.state) == (f"{queue}-b", 8, "ready")
    held = await jobs.hold(id, title="Look first", actor="mia")
    assert (held.state, held.reason) == ("held", "manual")
    assert (await jobs.move(id, delay="0s")).state == "held"
    assert (await jobs.claim("w", [queue, f"{queue}-b"])).jobs == []
    (hold,) = (await app.client.holds.list(job=id)).holds
    await app.client.holds.approve(hold.id, hold.subject_hash)
    assert [job.id for job in (await jobs.claim("w", [f"{queue}-b"])).jobs] == [id]
    types = [event.type for event in await jobs.events(id)]
    assert "moved" in types
    assert "hold_requested" in types
    assert "decided" in types
    with pytest.raises(InvalidRequest):
        await jobs.move(id)


@pytest.mark.feature("cancel-move-clone")
async def test_a_clone_is_a_new_job_without_the_old_ones_key(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    old = NewJob(
        kind="k", input=raw("[1]"), queue=queue, priority=7, tags={"a": "b"}, owner="mia", unique=Unique(key=queue),
        metadata=raw('{"m":1}'), timeout="1m", retry=roost.RetryRule(retries=9),
    )  # fmt: skip
    id = (await jobs.enqueue(old)).id
    clone = await jobs.get((await jobs.clone(id, input=[2], delay="1h")).id)
    assert clone.id != id
    assert (clone.kind, clone.queue, clone.priority, bytes(clone.input)) == ("k", queue, 7, b"[2]")
    assert (clone.tags, clone.owner, clone.timeout, clone.unique_key) == ({"a": "b"}, "mia", "1m", None)
    assert clone.retry is not None
    assert clone.retry.retries == 9
    assert bytes(clone.metadata or b"") == b'{"m":1}'
    assert clone.state == "waiting"
    kept = await jobs.clone(id, unique="keep")
    assert (kept.id, kept.duplicate) == (id, True)
    with pytest.raises(UniqueConflict):
        await jobs.clone(id, input=[3], unique="keep")
    with pytest.raises(NotFound):
        await jobs.clone(10**9)


@pytest.mark.feature("cancel-move-clone", "failed-jobs")
async def test_neither_clone_nor_redrive_leads_around_an_approval(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    held = (await jobs.enqueue(NewJob(kind="k", queue=queue, hold=roost.HoldRule()))).id
    assert (await jobs.get((await jobs.clone(held, queue=f"{queue}-free")).id)).state == "held"
    careful = f"{queue}-careful"
    await app.client.queues.edit(careful, roost.QueueRules(hold=roost.HoldRule(title="Sure?")))
    id = await failed(app, f"{queue}-f")
    assert (await jobs.reopen(id, queue=careful)).state == "held"
    ready = (await jobs.enqueue(NewJob(kind="k", queue=f"{queue}-f"))).id
    assert (await jobs.move(ready, queue=careful)).state == "held"


@pytest.mark.feature("failed-jobs")
async def test_a_failed_job_starts_again_with_another_input(app: roost.App, queue: str) -> None:
    id = await failed(app, queue, input=raw('{"to":"nobody"}'))
    seen: list[object] = []

    @app.job(name="k", queue=f"{queue}-again")
    async def handler(to: str) -> None:
        seen.append(to)

    await app.client.jobs.reopen(id, input={"to": "ana"}, queue=f"{queue}-again", note="typo", actor="mia")
    async with working(app, f"{queue}-again"):
        job = await ended(app, id)
    assert (job.state, seen, len(job.attempts)) == ("succeeded", ["ana"], 2)


async def test_run_now_does_not_wait_for_the_retry(app: roost.App, queue: str) -> None:
    id = (await app.client.jobs.enqueue(NewJob(kind="k", queue=queue, delay="1h"))).id
    assert (await app.client.jobs.run_now(id)).state == "ready"
    with pytest.raises(Conflict):
        await app.client.jobs.run_now(id)


# --- labels, notes, results -------------------------------------------------------------------------------------------


@pytest.mark.feature("tags-notes")
async def test_labels_and_notes(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    id = await failed(app, queue, tags={"team": "blue", "draft": "1"})
    await jobs.edit(id, tags={"team": "red"}, untag=["draft"], owner="bo", metadata={"ticket": 7}, actor="mia")
    await jobs.note(id, "asked the customer", actor="mia")
    job = await jobs.get(id)
    assert (job.tags, job.owner, bytes(job.metadata or b"")) == ({"team": "red"}, "bo", b'{"ticket":7}')
    told = {event.type: event for event in await jobs.events(id)}
    assert (told["note"].actor, bytes(told["note"].data or b"")) == ("mia", b'{"note":"asked the customer"}')
    other = (await jobs.enqueue(NewJob(kind="k", queue=queue))).id
    await jobs.cancel(other, note="50% off")
    for query, found in (
        ('note:"Asked the"', [id]), ("note:50%", [other]), ("note:0_", []), ("-note:*", []), ("note:*", [other, id]),
        (f"tag.team:red owner:bo metadata.ticket:7 queue:{queue}", [id]),
    ):  # fmt: skip
        page = await jobs.search(f"queue:{queue} {query}")
        assert [job.id for job in page.jobs] == found, query
    assert told["edited"].actor == "mia"
    for wrong in ({"metadata": [1]}, {"metadata": {"x": "y" * 17_000}}, {"tags": {"": "x"}}, {}):
        with pytest.raises((InvalidRequest, TooLarge)):
            await jobs.edit(id, **wrong)  # type: ignore[arg-type]


@pytest.mark.feature("progress-result")
async def test_a_result_of_a_hundred_thousand_characters_is_kept_whole(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    id = (await jobs.enqueue(NewJob(kind="k", queue=queue))).id
    token = (await jobs.claim("w", [queue])).token
    result = '"' + "x" * 100_000 + '"'
    beat = Beat(id=id, token=token, chunks=[raw("1")], logs=[NewLogLine(message="hello")])
    request = Heartbeat(worker="w", beats=[beat])
    for _ in range(2):
        await app.client.call(HEARTBEAT, request, f"beat-{id}")
    outcome = Outcome(id=id, token=token, result=raw(result), summary="Fine.", chunks=[raw("2")])
    assert [(await jobs.settle([outcome]))[0].state for _ in range(2)] == ["succeeded", "succeeded"]
    job = await jobs.get(id)
    assert (bytes(job.result or b"").decode(), job.summary, job.chunks) == (result, "Fine.", 2)
    page = await jobs.chunks(id)
    assert [bytes(chunk.chunk) for chunk in page.chunks] == [b"1", b"2"]
    assert page.ended
    assert len((await jobs.logs(id)).lines) == 1


@pytest.mark.feature("progress-result")
@pytest.mark.feature("retention")
async def test_the_largest_state_travels_with_a_heartbeat_and_with_the_largest_step(app: roost.App, queue: str) -> None:
    """What the limits allow reaches the store on every path: a lease must not be lost to a body's limit."""
    jobs = app.client.jobs
    id = (await jobs.enqueue(NewJob(kind="k", queue=queue))).id
    token = (await jobs.claim("w", [queue])).token
    largest = raw('"' + "s" * (SAVED_LIMIT - 2) + '"')
    (beaten,) = (await jobs.heartbeat("w", [Beat(id=id, token=token, saved=largest)])).beats
    assert beaten.error is None
    step = RecordStep(
        id=id, token=token, name="s", kind="code", input_hash="h", output=largest, saved=largest, started_at=0
    )
    assert (await jobs.record_step(step)).recorded
    over = raw('"' + "s" * (SAVED_LIMIT - 1) + '"')
    (beaten,) = (await jobs.heartbeat("w", [Beat(id=id, token=token, saved=over)])).beats
    assert beaten.error is not None
    assert (beaten.error.code, beaten.error.path) == ("too_large", "beats[0].saved")
    with pytest.raises(TooLarge) as refused:
        await jobs.record_step(msgspec.structs.replace(step, name="t", output=over))
    assert (refused.value.status, refused.value.path) == (413, "output")


@pytest.mark.feature("retention")
async def test_a_result_over_the_limit_is_refused_with_its_size_and_the_setting(app: roost.App, queue: str) -> None:
    jobs = app.client.jobs
    id = (await jobs.enqueue(NewJob(kind="k", queue=queue))).id
    token = (await jobs.claim("w", [queue])).token
    result = raw('"' + "x" * 300_000 + '"')
    (answer,) = await jobs.settle([Outcome(id=id, token=token, result=result)])
    assert answer.error is not None
    assert (answer.error.code, answer.error.path) == ("too_large", "outcomes[0].result")
    assert "300,002 bytes" in answer.error.message
    assert "payload_limit" in answer.error.message
    assert (await jobs.get(id)).state == "running", "nothing was cut off and nothing was stored"


# --- queues -----------------------------------------------------------------------------------------------------------


@pytest.mark.feature("queue-control")
async def test_a_drain_answers_when_the_last_job_has_ended(app: roost.App, queue: str) -> None:
    jobs, queues = app.client.jobs, app.client.queues
    ids = [(await jobs.enqueue(NewJob(kind="k", queue=queue))).id for _ in range(3)]
    claimed = await jobs.claim("w", [queue], limit=2)
    draining = asyncio.create_task(queues.drain(queue, wait="20s", actor="mia"))

    async def paused() -> bool:
        return (await queues.get(queue)).paused

    await eventually(paused, "the queue is paused")
    assert (await jobs.claim("other", [queue])).jobs == [], "a draining queue starts nothing"
    await jobs.settle([Outcome(id=ids[0], token=claimed.token)])
    await asyncio.sleep(0.1)
    assert not draining.done(), "one still runs"
    # The last attempt fails and its job goes back to waiting: nothing runs all the same.
    await jobs.settle([Outcome(id=ids[1], token=claimed.token, outcome="fail")])
    drained = await asyncio.wait_for(draining, 10)
    assert (drained.drained, drained.running, drained.queue.paused_by) == (True, 0, "mia")
    assert (drained.queue.ready, drained.queue.waiting) == (1, 1)


@pytest.mark.feature("queue-control")
async def test_a_drain_that_takes_too_long_says_how_many_run(app: roost.App, queue: str) -> None:
    await app.client.jobs.enqueue(NewJob(kind="k", queue=queue))
    await app.client.jobs.claim("w", [queue])
    drained = await app.client.queues.drain(queue, wait="50ms")
    assert (drained.drained, drained.running) == (False, 1)
    with pytest.raises(InvalidRequest):
        await app.client.queues.drain(queue, wait="2h")


@pytest.mark.feature("queue-control")
async def test_a_queue_that_jobs_come_into_by_themselves_is_not_destroyed(app: roost.App, queue: str) -> None:
    queues, schedules = app.client.queues, app.client.schedules
    await app.client.jobs.enqueue(NewJob(kind="k", queue=queue))
    await schedules.put(f"s{queue}", ScheduleRule(every="1h"), NewJob(kind="k", queue=queue))
    await app.client.sources.put(f"w{queue}", queue)
    with pytest.raises(Conflict, match=f"schedule 's{queue}', webhook source 'w{queue}'"):
        await queues.destroy(queue)
    assert (await queues.get(queue)).ready == 1, "a refused destroy changes nothing"
    await schedules.pause(f"s{queue}")
    with pytest.raises(Conflict, match="webhook source"):
        await queues.destroy(queue)
    assert await queues.destroy(queue, force=True) == 1


@pytest.mark.feature("queue-control")
async def test_a_queue_is_cleared_and_destroyed(app: roost.App, queue: str) -> None:
    jobs, queues = app.client.jobs, app.client.queues
    done = await failed(app, queue)
    await jobs.enqueue_many([NewJob(kind="k", queue=queue, unique=Unique(key=f"{queue}-{n}")) for n in range(5)])
    assert await queues.clear(queue) == 5
    assert [job.id for job in (await jobs.list(queue=[queue])).jobs] == [done]
    again = await jobs.enqueue(NewJob(kind="k", queue=queue, unique=Unique(key=f"{queue}-0"), input=raw("2")))
    assert not again.duplicate, "the key went with its job"
    token = (await jobs.claim("w", [queue])).token
    with pytest.raises(Conflict):
        await queues.destroy(queue)
    assert not (await queues.get(queue)).paused, "a refused destroy changes nothing"

    async def obey() -> None:
        async def asked() -> bool:
            return (await jobs.get(again.id)).cancel_requested

        await eventually(asked, "the job is asked to stop")
        await jobs.settle([Outcome(id=again.id, token=token, outcome="cancel")])

    obeying = asyncio.create_task(obey())
    assert await queues.destroy(queue, force=True) == 2
    await obeying
    with pytest.raises(NotFound):
        await queues.get(queue)


# --- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.feature("input-schema")
async def test_an_input_that_does_not_fit_is_refused_before_anything_is_stored(app: roost.App, queue: str) -> None:
    kind = f"mail-{queue}"
    schema = {
        "type": "object",
        "required": ["to"],
        "properties": {"to": {"type": "string"}, "n": {"type": "array", "items": {"type": "integer"}}},
        "additionalProperties": False,
    }
    await app.client.kinds.put(kind, schema, actor="mia")
    good = NewJob(kind=kind, queue=queue, input=raw('{"to":"ana","n":[1]}'))
    bad = NewJob(kind=kind, queue=queue, input=raw('{"to":"ana","n":[1,"x"]}'))
    with pytest.raises(SchemaMismatch) as refused:
        await app.client.jobs.enqueue(bad)
    assert (refused.value.status, refused.value.path) == (422, "input.n[1]")
    with pytest.raises(SchemaMismatch) as refused:
        await app.client.jobs.enqueue_many([good, bad])
    assert refused.value.path == "jobs[1].input.n[1]"
    with pytest.raises(SchemaMismatch):
        await app.client.schedules.put(f"s-{queue}", roost.ScheduleRule(cron="0 0 1 1 *"), bad)
    assert (await app.client.jobs.list(queue=[queue])).jobs == []
    id = (await app.client.jobs.enqueue(good)).id
    with pytest.raises(SchemaMismatch):
        await app.client.jobs.clone(id, input={"n": []})
    await app.client.jobs.cancel(id)
    with pytest.raises(SchemaMismatch):
        await app.client.jobs.reopen(id, input=7)
    assert (await app.client.kinds.get(kind)).changed_by == "mia"
    await app.client.kinds.delete(kind)
    assert (await app.client.jobs.enqueue(bad)).id
    with pytest.raises(NotFound):
        await app.client.kinds.get(kind)


@pytest.mark.feature("input-schema")
@pytest.mark.parametrize(
    "schema", [{"type": "strin"}, {"$ref": "http://127.0.0.1:9/x"}, {"$ref": "file:///etc/passwd"}, {"pattern": "("}, 7]
)
async def test_what_is_no_schema_or_leads_outside_is_refused(app: roost.App, queue: str, schema: object) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await app.client.kinds.put(f"k-{queue}", schema)
    assert refused.value.path == "schema"
    assert f"k-{queue}" not in {kind.name for kind in await app.client.kinds.list()}
