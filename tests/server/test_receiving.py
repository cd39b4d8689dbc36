"""Webhooks of others over a bare socket: what a sender's own HTTP client does, and what an attacker's does."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from roost.wire.contract import PREFIX
from tests.server.raw import Reply, connect, request

pytestmark = pytest.mark.feature("webhooks-in")

SECRET = "a github secret"


async def send(port: int, method: str, path: str, body: bytes = b"", *headers: str) -> Reply:
    wire = await connect(port)
    lines = "".join(f"{line}\r\n" for line in (*headers, f"content-length: {len(body)}"))
    await wire.send(f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{lines}\r\n".encode() + body)
    reply = await wire.reply()
    await wire.close()
    return reply


async def put_source(port: int, name: str, queue: str) -> None:
    body = f'{{"queue":"{queue}","scheme":"github","secrets":["{SECRET}"],"kind":"gh"}}'.encode()
    wire = await connect(port)
    await wire.send(request("PUT", f"{PREFIX}/sources/{name}", body))
    assert (await wire.reply()).status == 200
    await wire.close()


def signed(body: bytes, id: str = "1") -> tuple[str, ...]:
    digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    return (f"X-Hub-Signature-256: sha256={digest}", f"X-GitHub-Delivery: {id}", "X-GitHub-Event: push")


async def test_the_body_is_the_senders_whatever_it_says_it_is(port: int) -> None:
    await put_source(port, "gh", "in/box")
    path = f"{PREFIX}/webhooks/in%2Fbox"
    for id, (media, body) in enumerate(
        [
            ("application/json", b'{"a": 1}'),
            ("application/x-www-form-urlencoded", b"payload=%7B%7D"),
            ("image/png", b"\x89"),
        ]
    ):
        reply = await send(port, "POST", path, body, f"content-type: {media}", *signed(body, str(id)))
        assert (reply.status, reply.json()) == (201, {"id": id + 1})
    body = b'{"a": 1}'
    again = await send(port, "POST", f"{path}?source=gh", body, "content-type: application/json", *signed(body, "0"))
    assert (again.status, again.json()) == (201, {"id": 1, "duplicate": True})


async def test_what_a_wrong_signature_is_told(port: int) -> None:
    await put_source(port, "gh", "inbox")
    for headers in ((), signed(b"other"), ("X-Hub-Signature-256: sha256=\xe4".encode("latin-1").decode("latin-1"),)):
        reply = await send(port, "POST", f"{PREFIX}/webhooks/inbox", b"{}", *headers)
        assert reply.status == 401
        assert reply.problem().code == "invalid_signature"
        assert SECRET not in reply.body.decode()
    listed = await send(port, "GET", f"{PREFIX}/jobs?queue=inbox")
    assert listed.json() == {"jobs": []}


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("sauce=gh", "sauce"),
        ("source=a%20b", "source"),
        ("body=eA", "body"),
        ("headers=x", "headers"),
        ("queue=q", "queue"),
    ],
)
async def test_parameters(port: int, query: str, path: str) -> None:
    await put_source(port, "gh", "inbox")
    reply = await send(port, "POST", f"{PREFIX}/webhooks/inbox?{query}", b"{}", *signed(b"{}"))
    assert reply.status == 422
    assert path in reply.problem().path or path in reply.problem().message


async def test_a_body_over_the_limit_is_refused_and_never_cut(port: int) -> None:
    await put_source(port, "gh", "inbox")
    body = b'"' + b"x" * (1024 * 1024) + b'"'
    reply = await send(port, "POST", f"{PREFIX}/webhooks/inbox", body, *signed(body))
    assert (reply.status, reply.problem().code) == (413, "too_large")
    body = b'"' + b"x" * 300_000 + b'"'
    reply = await send(port, "POST", f"{PREFIX}/webhooks/inbox", body, *signed(body))
    assert (reply.status, reply.problem().code, reply.problem().path) == (413, "too_large", "body")
    assert (await send(port, "GET", f"{PREFIX}/jobs?queue=inbox")).json() == {"jobs": []}


async def test_endpoints_and_receiving_share_a_path_and_nothing_else(port: int) -> None:
    assert (await send(port, "GET", f"{PREFIX}/webhooks/inbox")).status == 404
    assert (await send(port, "POST", f"{PREFIX}/webhooks/inbox", b"{}")).problem().path == "source"
    allowed = (await send(port, "PATCH", f"{PREFIX}/webhooks/inbox")).headers["allow"]
    assert set(allowed.split(", ")) >= {"GET", "PUT", "DELETE", "POST"}
