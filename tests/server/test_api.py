"""Every operation of the contract over HTTP, on both engines."""

from __future__ import annotations

from typing import Any

import pytest

from roost.server.examples import EXAMPLES
from roost.wire.attempts import Claimed
from roost.wire.codec import decode, encode
from roost.wire.contract import OPERATIONS, Operation
from tests.server.raw import call, connect, request

API = "/api/v1"


async def ok(port: int, operation: str, body: object = None, query: str = "", **parts: object) -> Any:
    """Call an operation by name; its reply, read as the type that the contract promises."""
    found = next(known for known in OPERATIONS if known.name == operation)
    path = API + found.path.format(**parts) + (f"?{query}" if query else "")
    reply = await call(port, found.method, path, body)
    assert reply.status == found.status, reply.body
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "server" not in reply.headers
    return decode(reply.body, found.reply)


async def claim(port: int, **fields: object) -> Claimed:
    found: Claimed = await ok(port, "jobs.claim", {"worker": "w", "queues": ["default"], **fields})
    return found


async def test_a_job_lives_from_enqueue_to_success(port: int) -> None:
    job = (await ok(port, "jobs.enqueue", {"kind": "k", "input": {"ü": [1, None]}})).id
    lease = await claim(port)
    assert [(one.id, bytes(one.input)) for one in lease.jobs] == [(job, '{"ü":[1,null]}'.encode())]
    beat = {
        "id": job,
        "token": lease.token,
        "progress": {"current": 1},
        "saved": {"at": 1},
        "logs": [{"message": "hi"}],
    }
    beats = await ok(port, "jobs.heartbeat", {"worker": "w", "beats": [beat]})
    assert [(one.id, one.cancel, one.error) for one in beats.beats] == [(job, False, None)]
    step = {"token": lease.token, "name": "read", "input_hash": "0", "output": {"n": 1.50}}
    assert (await ok(port, "jobs.record_step", step, id=job)).recorded
    assert not (await ok(port, "jobs.record_step", step, id=job)).recorded
    assert [bytes(one.output) for one in (await ok(port, "jobs.steps", id=job)).steps] == [b'{"n":1.5}']
    settled = await ok(port, "jobs.settle", {"outcomes": [{"id": job, "token": lease.token, "result": {"done": True}}]})
    assert [one.state for one in settled.results] == ["succeeded"]
    whole = await ok(port, "jobs.get", id=job)
    assert (whole.state, bytes(whole.result), bytes(whole.saved)) == ("succeeded", b'{"done":true}', b'{"at":1}')
    assert (await ok(port, "jobs.wait", id=job, query="wait=5s")).state == "succeeded"
    assert [one.message for one in (await ok(port, "jobs.logs", id=job)).lines] == ["hi"]
    assert (await ok(port, "jobs.events", id=job)).events[0].type == "created"
    assert (await ok(port, "jobs.explain", id=job)).state == "succeeded"
    assert (await ok(port, "jobs.reopen", {}, id=job)).state == "ready"
    assert (await ok(port, "jobs.cancel", {"note": "enough"}, id=job)).state == "cancelled"
    await ok(port, "jobs.delete", id=job)
    assert (await call(port, "GET", f"{API}/jobs/{job}")).problem().code == "not_found"


async def test_many_jobs_and_pages_of_them(port: int) -> None:
    jobs = [{"kind": f"k{number % 2}", "queue": "a/b" if number < 3 else "c"} for number in range(6)]
    ids = [one.id for one in (await ok(port, "jobs.enqueue_many", {"jobs": jobs})).jobs]
    assert len(set(ids)) == 6
    first = await ok(port, "jobs.list", query="limit=4")
    rest = await ok(port, "jobs.list", query=f"limit=4&cursor={first.cursor}")
    assert [one.id for one in first.jobs + rest.jobs] == sorted(ids, reverse=True)
    assert rest.cursor is None
    for query in ("kind=k0,k1&queue=a%2Fb", "kind=k0&kind=k1&queue=a/b&state=ready,waiting"):
        assert sorted(one.id for one in (await ok(port, "jobs.list", query=query)).jobs) == ids[:3]
    assert (await ok(port, "jobs.list", query="state=failed")).jobs == []


async def test_queues(port: int) -> None:
    await ok(port, "jobs.enqueue", {"kind": "k", "queue": "team/mail"})
    assert (await ok(port, "queues.pause", name="team%2Fmail")).paused
    assert not (await claim(port, queues=["team/mail"])).jobs
    assert not (await ok(port, "queues.resume", name="team%2Fmail")).paused
    edited = await ok(port, "queues.edit", {"rules": {}}, name="team%2Fmail")
    assert (edited.name, edited.ready) == ("team/mail", 1)
    assert (await ok(port, "queues.get", name="team%2Fmail")).name == "team/mail"
    assert [one.name for one in (await ok(port, "queues.list")).queues] == ["team/mail"]


async def test_schedules(port: int) -> None:
    body = {"rule": {"cron": "0 8 * * *", "zone": "America/New_York"}, "job": {"kind": "k"}}
    assert (await ok(port, "schedules.put", body, name="brief")).next_fire
    assert len((await ok(port, "schedules.preview_rule", {"rule": body["rule"], "count": 3})).fires) == 3
    assert len((await ok(port, "schedules.preview", name="brief", query="count=2")).fires) == 2
    assert (await ok(port, "schedules.pause", name="brief")).paused
    assert not (await ok(port, "schedules.resume", {}, name="brief")).paused
    job = (await ok(port, "schedules.run", name="brief")).id
    assert [one.job for one in (await ok(port, "schedules.runs", name="brief")).runs] == [job]
    assert (await ok(port, "schedules.get", name="brief")).name == "brief"
    assert [one.name for one in (await ok(port, "schedules.list")).schedules] == ["brief"]
    await ok(port, "schedules.delete", name="brief")
    assert (await ok(port, "schedules.list")).schedules == []


async def test_holds(port: int) -> None:
    ids = [(await ok(port, "jobs.enqueue", {"kind": "k", "hold": {"title": "sure?"}})).id for _ in range(2)]
    found = {one.job: one for one in (await ok(port, "holds.list")).holds}
    assert set(found) == set(ids)
    yes, no = found[ids[0]], found[ids[1]]
    assert (await ok(port, "holds.get", id=yes.id)).subject_hash == yes.subject_hash
    assert (await ok(port, "holds.extend", {"by": "1h"}, id=yes.id)).deadline
    assert (await ok(port, "holds.approve", {"subject_hash": yes.subject_hash}, id=yes.id)).state == "approved"
    assert (await ok(port, "holds.deny", {"subject_hash": no.subject_hash}, id=no.id)).state == "denied"
    assert (await ok(port, "jobs.get", id=ids[1])).state == "failed"
    lease = await claim(port)
    question = {"reason": "question", "title": "which?", "subject": ["a", "b"]}
    outcome = {"id": ids[0], "token": lease.token, "outcome": "hold", "hold": question}
    assert (await ok(port, "jobs.settle", {"outcomes": [outcome]})).results[0].state == "held"
    asked = next(one for one in (await ok(port, "holds.list")).holds if one.title == "which?")
    answer = {"subject_hash": asked.subject_hash, "answer": "b"}
    assert bytes((await ok(port, "holds.answer", answer, id=asked.id)).answer) == b'"b"'


async def test_workers_and_the_server(port: int) -> None:
    await ok(port, "workers.register", EXAMPLES["workers.register"], id="host-1")
    assert [one.id for one in (await ok(port, "workers.list")).workers] == ["host-1"]
    assert (await ok(port, "health.live")).status == "ok"
    assert (await ok(port, "health.ready")).status == "ok"
    info = await ok(port, "server.info")
    assert (info.version, info.url) == ("1.2", f"http://127.0.0.1:{port}")


async def test_every_operation_is_served(port: int) -> None:
    for operation in OPERATIONS:
        path = operation.path.format_map(dict.fromkeys(operation.path_fields, "n") | {"id": 1, "number": 1})
        reply = await call(port, operation.method, API + path, _smallest(operation))
        assert reply.status != 405
        if reply.status == 404:
            assert "path" not in reply.problem().message, operation.name


def _smallest(operation: Operation[Any, Any]) -> object:
    return EXAMPLES.get(operation.name, {}) if operation.method in ("POST", "PUT") else None


async def test_an_operation_id_makes_a_call_repeatable(port: int) -> None:
    body = {"kind": "k", "input": 1}
    first = await call(port, "POST", f"{API}/jobs", body, operation_id="op-1")
    again = await call(port, "POST", f"{API}/jobs", body, operation_id="op-1")
    assert first.body == again.body
    other = await call(port, "POST", f"{API}/jobs", {"kind": "k", "input": 2}, operation_id="op-1")
    assert (other.status, other.problem().code) == (409, "operation_mismatch")
    assert (await call(port, "POST", f"{API}/jobs", body, operation_id="no spaces")).status == 422
    assert len((await ok(port, "jobs.list")).jobs) == 1


async def test_a_claim_waits_and_is_woken(port: int) -> None:
    waiting = await connect(port)
    await waiting.send(request("POST", f"{API}/jobs/claim", b'{"worker":"w","queues":["default"],"wait":"30s"}'))
    job = (await ok(port, "jobs.enqueue", {"kind": "k"})).id
    reply = await waiting.reply()
    assert [one.id for one in decode(reply.body, Claimed).jobs] == [job]
    await waiting.close()


async def test_a_claimer_that_left_gets_no_job(port: int) -> None:
    gone = await connect(port)
    await gone.send(request("POST", f"{API}/jobs/claim", b'{"worker":"gone","queues":["default"],"wait":"30s"}'))
    # on the same connection as nothing else, so that the server has read the claim before it sees the end
    await ok(port, "health.live")
    await gone.close()
    await ok(port, "health.live")
    job = (await ok(port, "jobs.enqueue", {"kind": "k"})).id
    assert [one.id for one in (await claim(port, wait="10s")).jobs] == [job]


async def test_methods(port: int) -> None:
    head = await connect(port)
    await head.send(request("HEAD", f"{API}/info") + request("GET", f"{API}/health/live"))
    first = await head.head()
    assert first.startswith("HTTP/1.1 200")
    assert (await head.reply()).json() == {"status": "ok"}
    await head.close()
    options = await call(port, "OPTIONS", f"{API}/jobs", origin=f"http://127.0.0.1:{port}", host=f"127.0.0.1:{port}")
    assert (options.status, options.headers["allow"]) == (200, "GET, HEAD, POST, OPTIONS")
    assert not [name for name in options.headers if name.startswith("access-control")]
    wrong = await call(port, "PUT", f"{API}/jobs", {})
    assert (wrong.status, wrong.problem().code, wrong.headers["allow"]) == (
        405,
        "method_not_allowed",
        "GET, HEAD, POST",
    )
    nowhere = await call(port, "GET", f"{API}/nowhere")
    assert (nowhere.status, nowhere.problem().code) == (404, "not_found")


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.name in EXAMPLES], ids=lambda one: one.name)
def test_the_examples_are_requests(operation: Operation[Any, Any]) -> None:
    assert encode(decode(encode(EXAMPLES[operation.name]), operation.request))
