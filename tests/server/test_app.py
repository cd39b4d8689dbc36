"""What the application adds to a reply: the error body, Retry-After, pages, and no word of the server's insides."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roost.errors import BY_CODE, ForeignHost, Overloaded, RoostError, StoreError, Unavailable
from roost.server.app import App
from roost.server.docs import render
from roost.server.guard import Limits
from roost.server.hosts import Hosts, is_loopback
from roost.server.listener import Listener, bind
from roost.server.openapi import document
from roost.server.pages import pages
from roost.service.ids import SystemIds
from roost.wire.contract import OPERATIONS, PREFIX
from roost.wire.receiving import RECEIVED
from roost.wire.streams import STREAMS
from tests.server.raw import Reply, call

EVERYWHERE = "0.0.0.0"  # noqa: S104 - only looked at
SECRET = "SELECT password FROM users"


class Failing:
    """Carries out nothing."""

    def __init__(self) -> None:
        self.error: Exception = RuntimeError(SECRET)

    def check_room(self, operation: Any) -> None:
        pass

    async def handle(self, operation: Any, request: Any, call: Any = None) -> Any:
        raise self.error


@pytest.fixture
def failing() -> Failing:
    return Failing()


@pytest.fixture
async def port(failing: Failing) -> AsyncIterator[int]:
    bound = bind("127.0.0.1", 0)
    found: int = bound.getsockname()[1]
    hosts = Hosts("127.0.0.1", found)
    listener = Listener(App(failing, hosts=hosts, ids=SystemIds(), pages=pages("1.2")), bound, Limits())
    await listener.start()
    yield found
    listener.close()
    await asyncio.wait_for(listener.finished(), 10)
    listener.abort()


@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET), RoostError(SECRET)])
async def test_a_fault_is_told_by_its_id_only(
    port: int, failing: Failing, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    failing.error = error
    with caplog.at_level(logging.ERROR, "roost.server"):
        reply = await call(port, "GET", f"{PREFIX}/info")
    assert reply.status == 500
    assert SECRET.encode() not in reply.body
    identity = reply.problem().message.rpartition(" ")[2]
    assert len(identity) == 12
    assert identity in caplog.text
    assert SECRET in caplog.text


async def test_a_store_s_failure_is_told_by_its_id_only(
    port: int, failing: Failing, caplog: pytest.LogCaptureFixture
) -> None:
    failing.error = StoreError(SECRET)
    reply = await call(port, "GET", f"{PREFIX}/info")
    assert (reply.status, reply.problem().code) == (503, "store_error")
    assert SECRET.encode() not in reply.body
    assert SECRET in caplog.text


@pytest.mark.parametrize("error", BY_CODE.values(), ids=BY_CODE.keys())
async def test_each_error_is_told_with_its_status(port: int, failing: Failing, error: type[RoostError]) -> None:
    failing.error = error("what", path="a[1].b", help="how")
    reply = await call(port, "GET", f"{PREFIX}/info")
    assert reply.status == error.status
    if error.status != 500 and error is not StoreError:
        problem = reply.problem()
        assert (problem.code, problem.message, problem.path, problem.help) == (error.code, "what", "a[1].b", "how")


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Overloaded("full", retry_after=2.4), "2"),
        (Unavailable("gone", retry_after=0.1), "1"),
        (Unavailable("gone"), "1"),
    ],
)
async def test_overload_says_when_to_try_again(port: int, failing: Failing, error: RoostError, seconds: str) -> None:
    failing.error = error
    reply = await call(port, "POST", f"{PREFIX}/jobs", {"kind": "k"})
    assert (reply.status, reply.headers["retry-after"]) == (error.status, seconds)


def policy(reply: Reply) -> dict[str, str]:
    found = (part.strip().partition(" ") for part in reply.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in found}


async def test_pages_bring_no_script_and_allow_none_from_elsewhere(port: int) -> None:
    home = await call(port, "GET", "/")
    assert (home.status, home.headers["location"]) == (307, "/docs")
    page = await call(port, "GET", "/docs")
    assert page.status == 200
    assert policy(page)["default-src"] == "'none'"
    assert policy(page)["frame-ancestors"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    text = page.body.decode()
    assert "<script" not in text
    assert "style=" not in text
    assert 'src="' not in text
    assert {link for link in _links(text) if not link.startswith("#")} == {"/docs", "/docs/docs.css", "/openapi.json"}
    for operation in OPERATIONS:
        assert f'id="{operation.name}"' in text
    style = await call(port, "GET", "/docs/docs.css")
    assert (style.status, style.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "url(" not in style.body.decode()
    assert (await call(port, "POST", "/docs", {})).headers["allow"] == "GET, HEAD"


def _links(text: str) -> list[str]:
    return [part.partition('"')[0] for part in text.split('href="')[1:]]


def test_the_page_shows_texts_as_texts() -> None:
    found = document("<script>alert(1)</script>")
    found["tags"][0]["description"] = '"><img src=x onerror=alert(1)>'
    text = render(found)
    assert "<script" not in text
    assert "<img" not in text


async def test_the_openapi_document_tells_every_operation(port: int) -> None:
    reply = await call(port, "GET", "/openapi.json")
    found = json.loads(reply.body)
    assert found["openapi"] == "3.1.0"
    assert found["info"]["version"] == "1.2"
    told = {
        (method, path): operation for path, methods in found["paths"].items() for method, operation in methods.items()
    }
    assert len(told) == len(OPERATIONS) + len(STREAMS) + len(RECEIVED)
    for operation in (*OPERATIONS, *STREAMS):
        entry = told[operation.method.lower(), operation.path]
        assert entry["operationId"] == operation.name
        names = {(part["in"], part["name"]) for part in entry["parameters"]}
        assert {name for place, name in names if place == "path"} == set(operation.path_fields)
        assert (("header", "Operation-Id") in names) == operation.mutates
        assert str(operation.status) in entry["responses"]
        fields = set(operation.request.__struct_fields__) - set(operation.path_fields)
        if operation.method in ("GET", "DELETE"):
            assert {name for place, name in names if place == "query"} == fields
            assert "requestBody" not in entry
        else:
            shape = entry["requestBody"]["content"]["application/json"]["schema"]
            shape = found["components"]["schemas"][shape["$ref"].rpartition("/")[2]] if "$ref" in shape else shape
            assert set(shape["properties"]) == fields
    references = {part.partition('"')[0] for part in reply.body.decode().split('"$ref":"')[1:]}
    assert references
    assert {name.rpartition("/")[2] for name in references} <= found["components"]["schemas"].keys()


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        (EVERYWHERE, False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("", False),
        ("localhost.example.org", False),
    ],
)
def test_what_is_loopback(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


@pytest.mark.parametrize(
    ("bound", "host", "origin", "fine"),
    [
        ("127.0.0.1", b"localhost:8080", None, True),
        ("127.0.0.1", b"LOCALHOST:8080", b"http://localhost:8080", True),
        ("127.0.0.1", b"[::1]:8080", b"http://[::1]:8080", True),
        ("127.0.0.1", b"127.0.0.1", None, True),
        ("127.0.0.1", b"127.0.0.1:9", b"http://127.0.0.1:8080", False),
        ("127.0.0.1", b"10.1.2.3:8080", None, False),
        ("127.0.0.1", b"roost.example.org", b"https://roost.example.org", True),
        ("127.0.0.1", b"roost.example.org.evil", None, False),
        (EVERYWHERE, b"10.1.2.3:8080", None, True),
        (EVERYWHERE, b"rebound.example", None, False),
        ("10.1.2.3", b"10.1.2.3:8080", None, True),
        ("10.1.2.3", b"10.1.2.4:8080", None, False),
    ],
)
def test_whom_the_server_answers_to(bound: str, host: bytes, origin: bytes | None, fine: bool) -> None:
    hosts = Hosts(bound, 8080, ["roost.example.org"])
    if fine:
        hosts.check(host, origin, "1.1")
    else:
        with pytest.raises(ForeignHost):
            hosts.check(host, origin, "1.1")


def test_only_probes_may_leave_the_host_out() -> None:
    hosts = Hosts("127.0.0.1", 8080)
    hosts.check(None, None, "1.0")
    with pytest.raises(ForeignHost):
        hosts.check(None, None, "1.1")
    with pytest.raises(ForeignHost):
        hosts.check(None, b"http://evil.example", "1.0")
