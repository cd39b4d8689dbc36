"""Hostile input: one clear 4xx with code, path and help, the same on both engines, and nothing stored."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from roost.wire.contract import OPERATIONS
from tests.server.raw import call, exchange, request

API = "/api/v1"
DEEP = 100_000


class Case(NamedTuple):
    name: str
    method: str
    path: str
    body: bytes
    status: int
    code: str
    at: str


def new(fields: str) -> bytes:
    return b'{"kind":"k",' + fields.encode("utf-8", "surrogatepass") + b"}"


def enqueue(name: str, body: bytes, status: int, code: str, at: str = "") -> Case:
    return Case(name, "POST", "/jobs", body, status, code, at)


def batch(name: str, job: bytes, status: int, code: str, at: str) -> Case:
    return Case(f"batch {name}", "POST", "/jobs/batch", b'{"jobs":[{"kind":"fine"},' + job + b"]}", status, code, at)


def get(path: str, at: str, code: str = "invalid_request", status: int = 422) -> Case:
    return Case(path[:60], "GET", path, b"", status, code, at)


def schedule(name: str, rule: str, code: str, at: str) -> Case:
    return Case(name, "PUT", "/schedules/s", f'{{"rule":{rule},"job":{{"kind":"k"}}}}'.encode(), 422, code, at)


JSON, REQUEST, DURATION = "invalid_json", "invalid_request", "invalid_duration"

CORPUS = [
    # no JSON, or not as strict as what is stored
    enqueue("truncated", b'{"kind":', 400, JSON),
    enqueue("two values", b'{"kind":"k"} {}', 400, JSON),
    enqueue("single quotes", b"{'kind':'k'}", 400, JSON),
    enqueue("utf-16", '{"kind":"k"}'.encode("utf-16"), 400, JSON),
    enqueue("byte order mark", b'\xef\xbb\xbf{"kind":"k"}', 400, JSON),
    enqueue("broken utf-8", new('"input":"')[:-1] + b'\xff"}', 400, JSON),
    enqueue("overlong utf-8", new('"input":"')[:-1] + b'\xc0\x80"}', 400, JSON),
    enqueue("raw surrogate", new('"input":"\ud800"'), 400, JSON),
    enqueue("raw NUL", new('"input":"\x00"'), 400, JSON, "input"),
    enqueue("escaped NUL", new(r'"input":"\u0000"'), 400, JSON, "input"),
    enqueue("escaped NUL in a name", b'{"kind":"k\\u0000"}', 400, JSON, "kind"),
    enqueue("escaped NUL in a tag", new(r'"tags":{"a":"\u0000"}'), 400, JSON, "tags.a"),
    enqueue("escaped NUL in a key", new(r'"input":{"\u0000":1}'), 400, JSON, "input"),
    enqueue("lone surrogate", new(r'"input":["\ud800"]'), 400, JSON, "input[0]"),
    enqueue("lone surrogate in an owner", new(r'"owner":"\udfff"'), 400, JSON, "owner"),
    enqueue("swapped surrogates", new(r'"input":"\udc00\ud800"'), 400, JSON, "input"),
    enqueue("NaN", new('"input":NaN'), 400, JSON),
    enqueue("Infinity", new('"input":[-Infinity]'), 400, JSON),
    enqueue("overflow", new('"input":1e999'), 400, JSON),
    enqueue("wide integer", new('"input":9223372036854775808'), 400, JSON),
    enqueue("5,000 digits", new('"input":' + "9" * 5000), 400, JSON),
    enqueue("doubled key", new('"input":{"a":1,"a":2}'), 400, JSON),
    enqueue("doubled field", b'{"kind":"a","kind":"b"}', 400, JSON),
    enqueue("doubled key by escape", new(r'"input":{"a":1,"\u0061":2}'), 400, JSON),
    enqueue("10,300 keys", new('"input":{' + ",".join(f'"{n}":1' for n in range(10_300)) + "}"), 400, JSON),
    enqueue("deep arrays", new('"input":' + "[" * DEEP + "]" * DEEP), 400, JSON),
    enqueue("deep objects", new('"input":' + '{"a":' * DEEP + "1" + "}" * DEEP), 400, JSON),
    enqueue("deep unclosed", new('"input":' + "[" * DEEP), 400, JSON),
    enqueue("deep under an unknown field", new('"what":' + "[" * DEEP + "]" * DEEP), 400, JSON),
    enqueue("deep at the top", b"[" * DEEP, 400, JSON),
    batch("deep arrays", new('"input":' + "[" * DEEP + "]" * DEEP), 400, JSON, ""),
    batch("80 levels", new('"input":' + "[" * 80 + "]" * 80), 400, JSON, "jobs[1].input"),
    batch("doubled key", new('"input":{"a":1,"a":2}'), 400, JSON, "jobs[1].input"),
    batch("NUL in an input", new(r'"input":"\u0000"'), 400, JSON, "jobs[1].input"),
    batch("NUL in a tag", new(r'"tags":{"a":"\u0000"}'), 400, JSON, "jobs[1].tags.a"),
    batch("broken utf-8", new('"input":"')[:-1] + b'\xff"}', 400, JSON, "jobs[1].input"),
    batch("overflow", new('"input":1e999'), 400, JSON, "jobs[1].input"),
    # fields
    enqueue("empty body", b"", 422, REQUEST),
    enqueue("an array", b"[]", 422, REQUEST),
    enqueue("no kind", b"{}", 422, REQUEST),
    enqueue("unknown field", new('"retries":3'), 422, REQUEST),
    enqueue("unknown field within", new('"retry":{"what":1}'), 422, REQUEST, "retry"),
    enqueue("kind of the wrong type", b'{"kind":1}', 422, REQUEST, "kind"),
    enqueue("empty kind", b'{"kind":""}', 422, REQUEST, "kind"),
    enqueue("kind with a newline", b'{"kind":"k\\n"}', 422, REQUEST, "kind"),
    enqueue("emoji kind", '{"kind":"🐦"}'.encode(), 422, REQUEST, "kind"),
    enqueue("right-to-left kind", '{"kind":"a\u202eb"}'.encode(), 422, REQUEST, "kind"),
    enqueue("64 KiB kind", b'{"kind":"' + b"k" * 65536 + b'"}', 422, REQUEST, "kind"),
    enqueue("bad queue", new('"queue":"a b"'), 422, REQUEST, "queue"),
    enqueue("negative priority", new('"priority":-1'), 422, REQUEST, "priority"),
    enqueue("huge priority", new('"priority":99999999999999'), 422, REQUEST, "priority"),
    enqueue("priority as text", new('"priority":"5"'), 422, REQUEST, "priority"),
    enqueue("a number for a duration", new('"delay":5'), 422, REQUEST, "delay"),
    enqueue("a bad duration", new('"delay":"5 parsecs"'), 422, DURATION, "delay"),
    enqueue("a negative duration", new('"ttl":"-5s"'), 422, DURATION, "ttl"),
    enqueue("an endless duration", new('"timeout":"999999999w"'), 422, DURATION, "timeout"),
    enqueue("a time without an offset", new('"run_at":"2030-01-01T00:00:00"'), 422, REQUEST, "run_at"),
    enqueue("year 0", new('"run_at":"0000-01-01T00:00:00Z"'), 422, REQUEST, "run_at"),
    enqueue("year 10000", new('"run_at":"10000-01-01T00:00:00Z"'), 422, REQUEST, "run_at"),
    enqueue("year 1", new('"run_at":"0001-01-01T00:00:00Z"'), 422, REQUEST, "run_at"),
    enqueue("hour 24", new('"run_at":"2030-01-01T24:00:00Z"'), 422, REQUEST, "run_at"),
    enqueue("two ways to say when", new('"delay":"5s","run_at":"2030-01-01T00:00:00Z"'), 422, REQUEST, "delay"),
    enqueue("long unique key", new('"unique":{"key":"' + "k" * 300 + '"}'), 422, REQUEST, "unique.key"),
    enqueue("long owner", new('"owner":"' + "o" * 201 + '"'), 422, REQUEST, "owner"),
    enqueue("300 KiB input", new('"input":"' + "x" * 300_000 + '"'), 413, "too_large", "input"),
    enqueue("2 MiB payload", new('"input":"' + "x" * 2_097_152 + '"'), 413, "too_large", "input"),
    enqueue("3 MiB payload", new('"input":"' + "x" * 3_145_728 + '"'), 413, "too_large"),
    batch("unknown field", new('"x":1'), 422, REQUEST, "jobs[1]"),
    batch("bad duration", new('"delay":"soon"'), 422, DURATION, "jobs[1].delay"),
    batch("bad kind", b'{"kind":"a b"}', 422, REQUEST, "jobs[1].kind"),
    Case(
        "1,001 jobs",
        "POST",
        "/jobs/batch",
        b'{"jobs":[' + b'{"kind":"k"},' * 1000 + b'{"kind":"k"}]}',
        422,
        REQUEST,
        "jobs",
    ),
    Case("no jobs", "POST", "/jobs/batch", b'{"jobs":[]}', 422, REQUEST, "jobs"),
    Case("claim nothing", "POST", "/jobs/claim", b'{"worker":"w","queues":[]}', 422, REQUEST, "queues"),
    Case(
        "claim too long", "POST", "/jobs/claim", b'{"worker":"w","queues":["q"],"wait":"1 day"}', 422, DURATION, "wait"
    ),
    Case(
        "NUL in an error",
        "POST",
        "/jobs/settle",
        b'{"outcomes":[{"id":1,"token":"t","outcome":"fail","error":{"type":"\\u0000"}}]}',
        400,
        JSON,
        "outcomes[0].error.type",
    ),
    Case("id in path and body", "POST", "/jobs/7/cancel", b'{"id":8}', 422, REQUEST, "id"),
    # schedules
    schedule("bad cron", '{"cron":"61 * * * *"}', "invalid_cron", "rule.cron"),
    schedule("cron with step 0", '{"cron":"*/0 * * * *"}', "invalid_cron", "rule.cron"),
    schedule("wide cron", '{"cron":"0-99999999 * * * *"}', "invalid_cron", "rule.cron"),
    schedule("cron that never fires", '{"cron":"0 0 30 2 *"}', "invalid_cron", "rule.cron"),
    schedule("bad zone", '{"cron":"0 8 * * *","zone":"Mars/Olympus"}', "invalid_zone", "rule.zone"),
    schedule("zone as a path", '{"cron":"0 8 * * *","zone":"../../etc/passwd"}', "invalid_zone", "rule.zone"),
    schedule("bad interval", '{"every":"now and then"}', DURATION, "rule.every"),
    schedule("no rule", "{}", REQUEST, "rule"),
    # paths and query strings
    get("/jobs/abc", "id"),
    get("/jobs/-1", "id"),
    get("/jobs/9999999999999999999999", "id"),
    get("/jobs/1%00", "id"),
    get("/queues/%00", "name"),
    get("/queues/%ff", "name"),
    get("/jobs?what=1", ""),
    get("/jobs?limit=0", "limit"),
    get("/jobs?limit=501", "limit"),
    get("/jobs?limit=1&limit=2", "limit"),
    get("/jobs?limit=ten", "limit"),
    get("/jobs?state=sleeping", "state[0]"),
    get("/jobs?cursor=nonsense", "cursor", "invalid_cursor"),
    get("/jobs?cursor=%00", "cursor"),
    get("/jobs?created_after=yesterday", "created_after"),
    get("/jobs?queue=" + "&queue=".join(["q"] * 2000), "", "headers_too_large", 431),
    get("/jobs?" + "a&" * 100_000, "", "headers_too_large", 431),
    get("/jobs/1?id=2", "id"),
    get("/jobs/1/wait?wait=ever", "wait", DURATION),
    get("/info?x=1", ""),
    get("/jobs/", "", "not_found", 404),
    get("/../etc/passwd", "", "not_found", 404),
]


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: f"{case.method} {case.name}")
async def test_bad_input_is_refused_and_stores_nothing(shared_port: int, case: Case) -> None:
    reply = await exchange(shared_port, request(case.method, API + case.path, case.body))
    problem = reply.problem()
    assert (reply.status, problem.code, problem.path) == (case.status, case.code, case.at), problem
    assert problem.help
    assert len(problem.message) < 500
    for place in ("jobs", "schedules", "queues", "holds"):
        left = await call(shared_port, "GET", f"{API}/{place}")
        assert left.status == 200
        assert left.json() == {place: []}


HEADERS = {
    "no media type": ({"content-type": "text/plain"}, 415, "unsupported_media_type"),
    "form": ({"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    "multipart": ({"content-type": "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"),
    "other charset": ({"content-type": "application/json; charset=utf-16"}, 415, "unsupported_media_type"),
    "gzip": ({"content-encoding": "gzip"}, 415, "unsupported_media_type"),
    "foreign host": ({"host": "evil.example"}, 421, "foreign_host"),
    "host with a prefix": ({"host": "localhost.evil.example"}, 421, "foreign_host"),
    "host with user": ({"host": "localhost@evil.example"}, 421, "foreign_host"),
    "host with a bad port": ({"host": "localhost:80@evil"}, 421, "foreign_host"),
    "empty host": ({"host": ""}, 421, "foreign_host"),
    "foreign origin": ({"origin": "http://evil.example"}, 421, "foreign_host"),
    "null origin": ({"origin": "null"}, 421, "foreign_host"),
    "origin of another port": ({"origin": "http://127.0.0.1:3000"}, 421, "foreign_host"),
    "forwarded host": ({"x-forwarded-host": "localhost", "host": "evil.example"}, 421, "foreign_host"),
    "operation id with a space": ({"operation-id": "a b"}, 422, "invalid_request"),
    "long operation id": ({"operation-id": "a" * 65}, 422, "invalid_request"),
    "two operation ids": ({"operation-id": "a", "Operation-Id": "b"}, 422, "invalid_request"),
    "two hosts": ({"host": "127.0.0.1", "Host": "evil.example"}, 422, "invalid_request"),
}


@pytest.mark.parametrize(("headers", "status", "code"), HEADERS.values(), ids=HEADERS.keys())
async def test_bad_headers_are_refused_and_store_nothing(
    shared_port: int, headers: dict[str, str], status: int, code: str
) -> None:
    reply = await exchange(shared_port, request("POST", f"{API}/jobs", b'{"kind":"k"}', headers))
    assert (reply.status, reply.problem().code) == (status, code)
    assert reply.problem().help
    assert (await call(shared_port, "GET", f"{API}/jobs")).json() == {"jobs": []}


async def test_method_override_is_not_heeded(shared_port: int) -> None:
    reply = await exchange(shared_port, request("POST", f"{API}/jobs/1", b"{}", {"x-http-method-override": "DELETE"}))
    assert reply.status == 405


async def test_bodies_where_none_belongs(shared_port: int) -> None:
    for method in ("GET", "DELETE"):
        reply = await exchange(shared_port, request(method, f"{API}/jobs/1", b'{"id":2}'))
        assert (reply.status, reply.problem().code) == (422, "invalid_request")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
async def test_no_operation_takes_unknown_fields(shared_port: int, operation: object) -> None:
    from roost.wire.contract import Operation

    assert isinstance(operation, Operation)
    path = API + operation.path.format_map(dict.fromkeys(operation.path_fields, "n") | {"id": 1, "number": 1})
    if operation.method in ("POST", "PUT"):
        reply = await call(shared_port, operation.method, path, {"surprise": 1})
    else:
        reply = await call(shared_port, operation.method, path + "?surprise=1")
    problem = reply.problem()
    assert (reply.status, problem.code) == (422, "invalid_request")
    assert "surprise" in problem.message or "required" in problem.message
