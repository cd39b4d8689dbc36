"""Webhooks of others become jobs: once for each of their ids, with the body as it came, never without a signature."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime

import msgspec
import pytest
import standardwebhooks

import roost
from roost.domain.records import QueueRules
from roost.domain.signatures import new_signing_key, public_key, sign
from roost.errors import InvalidRequest, InvalidSignature, NotFound, TooLarge, UniqueConflict, UnsupportedMediaType
from roost.wire.contract import LIST_JOBS
from roost.wire.jobs import Job, ListJobs

pytestmark = pytest.mark.feature("webhooks-in")

GITHUB = "a github secret"
JSON = {"content-type": "application/json"}


def standard(secret: str, body: bytes, id: str = "msg_1", off: int = 0) -> dict[str, str]:
    """The headers of a message, by the authors of the specification."""
    now = int(time.time()) + off
    signature = standardwebhooks.Webhook(secret).sign(id, datetime.fromtimestamp(now, UTC), body.decode())
    return {**JSON, "webhook-id": id, "webhook-timestamp": str(now), "webhook-signature": signature}


def github(body: bytes, id: str = "72d3162e", secret: str = GITHUB) -> dict[str, str]:
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    named = {"X-GitHub-Delivery": id, "X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={digest}"}
    return {"Content-Type": "application/json", **named}


async def jobs(app: roost.App, queue: str) -> list[Job]:
    page = await app.client.call(LIST_JOBS, ListJobs(queue=[queue]))
    return [await app.client.jobs.get(job.id) for job in page.jobs]


async def test_a_signed_webhook_becomes_a_job_once(app: roost.App, queue: str) -> None:
    source = await app.client.sources.put("shop-" + queue, queue)
    assert source.secret is not None
    body = b'{ "type": "order.paid",\n "total": 1.0, "big": 12345678901234567890.0}'
    first = await app.client.sources.receive(queue, body, standard(source.secret, body))
    again = await app.client.sources.receive(queue, body, standard(source.secret, body, off=5))
    other = await app.client.sources.receive(queue, body, standard(source.secret, body, "msg_2"))
    assert (again.id, again.duplicate) == (first.id, True)
    assert other.id != first.id
    job = await app.client.jobs.get(first.id)
    assert bytes(job.input) == body
    assert job.kind == f"shop-{queue}.order.paid"
    assert job.tags == {"webhook.source": "shop-" + queue, "webhook.event": "order.paid", "webhook.id": "msg_1"}
    assert len(await jobs(app, queue)) == 2


async def test_a_redelivery_after_the_job_has_ended_is_still_the_same_job(app: roost.App, queue: str) -> None:
    source = await app.client.sources.put("done-" + queue, queue)
    assert source.secret is not None
    first = await app.client.sources.receive(queue, b"{}", standard(source.secret, b"{}"))
    for end in (app.client.jobs.cancel, app.client.jobs.delete):
        await end(first.id)
        again = await app.client.sources.receive(queue, b"{}", standard(source.secret, b"{}"))
        assert (again.id, again.duplicate) == (first.id, True)


async def test_a_sender_with_a_key_of_its_own(app: roost.App, queue: str) -> None:
    """Roost has the public half alone, which makes no message."""
    private = new_signing_key(bytes(range(32)))
    public = public_key(private)
    made = await app.client.sources.put("key-" + queue, queue, secrets=[public])
    assert (made.secret, made.secrets) == (None, 1)
    now = int(time.time())
    signed = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": sign([private], "msg_1", now, b"{}"),
    }
    job = await app.client.sources.receive(queue, b"{}", {**JSON, **signed})
    assert not job.duplicate
    with pytest.raises(InvalidSignature):
        await app.client.sources.receive(queue, b"{}", standard("whsec_" + public[5:], b"{}", "msg_2"))


async def test_what_is_not_signed_well_leaves_nothing(app: roost.App, queue: str) -> None:
    source = await app.client.sources.put("strict-" + queue, queue)
    assert source.secret is not None
    body = b'{"a":1}'
    good = standard(source.secret, body)
    wrong = standardwebhooks.Webhook(base64.b64encode(b"x" * 32).decode())
    cases: list[tuple[dict[str, str], bytes]] = [
        (good, b'{"a":2}'),
        (good, body + b" "),
        (good, b""),
        (JSON, body),
        ({**good, "webhook-id": "msg_9"}, body),
        ({**good, "webhook-timestamp": str(int(time.time()) - 60)}, body),
        ({**good, "webhook-signature": wrong.sign("msg_1", datetime.now(UTC), body.decode())}, body),
        (standard(source.secret, body, off=-400), body),
        (standard(source.secret, body, off=400), body),
        (standard(source.secret, body, "a.b"), body),
        (github(body), body),
    ]
    for headers, text in cases:
        with pytest.raises(InvalidSignature):
            await app.client.sources.receive(queue, text, headers)
    assert await jobs(app, queue) == []


async def test_github_and_its_secrets_in_rotation(app: roost.App, queue: str) -> None:
    name = "gh-" + queue
    await app.client.sources.put(name, queue, kind="github.{event}", scheme="github", secrets=[GITHUB])
    body = b'{"ref":"refs/heads/main"}'
    first = await app.client.sources.receive(queue, body, github(body))
    job = await app.client.jobs.get(first.id)
    assert (job.kind, bytes(job.input)) == ("github.push", body)
    await app.client.sources.put(
        name, queue, kind="github.{event}", scheme="github", secrets=["another secret", GITHUB]
    )
    assert (await app.client.sources.receive(queue, body, github(body))).duplicate
    assert (await app.client.sources.receive(queue, body, github(body, secret="another secret"))).duplicate
    await app.client.sources.put(name, queue, kind="github.{event}", scheme="github", secrets=["another secret"])
    with pytest.raises(InvalidSignature):
        await app.client.sources.receive(queue, body, github(body))
    changed = b'{"ref":"refs/heads/other"}'
    with pytest.raises(UniqueConflict):
        await app.client.sources.receive(queue, changed, github(changed, secret="another secret"))


async def test_stripe(app: roost.App, queue: str) -> None:
    secret, body = "whsec_of_stripe", b'{"id":"evt_7","type":"invoice.paid"}'
    await app.client.sources.put("stripe-" + queue, queue, kind="{event}", scheme="stripe", secrets=[secret])
    now = int(time.time())
    digest = hmac.new(secret.encode(), b"%d.%s" % (now, body), hashlib.sha256).hexdigest()
    headers = {**JSON, "Stripe-Signature": f"t={now},v1={digest}"}
    first = await app.client.sources.receive(queue, body, headers)
    assert (await app.client.sources.receive(queue, body, headers)).id == first.id
    job = await app.client.jobs.get(first.id)
    assert (job.kind, (job.tags or {})["webhook.id"]) == ("invoice.paid", "evt_7")


BODIES: list[tuple[str, bytes, object]] = [
    ("application/x-www-form-urlencoded", b"a=1&b=%20", {"encoding": "text", "body": "a=1&b=%20"}),
    ("text/plain; charset=utf-8", "grüß\n".encode(), {"encoding": "text", "body": "grüß\n"}),
    ("application/octet-stream", b"\x00\xff\x01", {"encoding": "base64", "body": "AP8B"}),
    ("text/plain", b"nul\x00", {"encoding": "base64", "body": "bnVsAA=="}),
    ("application/json", b'{"a":1', {"encoding": "text", "body": '{"a":1'}),
    ("application/json", b'{"a":1,"a":2}', {"encoding": "text", "body": '{"a":1,"a":2}'}),
    ("application/json", b'["\\ud800"]', {"encoding": "text", "body": '["\\ud800"]'}),
    ("application/json", b"[" * 1000 + b"]" * 1000, {"encoding": "text", "body": "[" * 1000 + "]" * 1000}),
    ("", b"", {"encoding": "text", "body": ""}),
    ("text/xml", b'{"a":1}', {"encoding": "text", "body": '{"a":1}'}),
]


@pytest.mark.parametrize(("media", "body", "wanted"), BODIES, ids=range(len(BODIES)))
async def test_every_body_comes_through_whole(
    app: roost.App, queue: str, media: str, body: bytes, wanted: dict[str, str]
) -> None:
    await app.client.sources.put("open-" + queue, queue, kind="thing", scheme="none")
    made = await app.client.sources.receive(queue, body, {"content-type": media} if media else {})
    found = msgspec.json.decode(bytes((await app.client.jobs.get(made.id)).input))
    assert found == {"content_type": media, **wanted}


@pytest.mark.parametrize("media", ["application/json", "application/cloudevents+json; charset=utf-8", ""])
async def test_json_comes_through_byte_for_byte(app: roost.App, queue: str, media: str) -> None:
    await app.client.sources.put("json-" + queue, queue, scheme="none")
    body = ' {"z": 1.10, "a":\t"\\u00e9é", "n": 9223372036854775807 } '.encode()
    made = await app.client.sources.receive(queue, body, {"content-type": media} if media else {})
    job = await app.client.jobs.get(made.id)
    assert bytes(job.input).strip() == body.strip()
    assert job.kind == f"json-{queue}.event"


async def test_what_is_too_large_is_refused_whole(app: roost.App, queue: str) -> None:
    source = await app.client.sources.put("large-" + queue, queue)
    assert source.secret is not None
    body = b'"' + b"x" * (256 * 1024 - 2) + b'"'
    await app.client.sources.receive(queue, body, standard(source.secret, body))
    for size in (256 * 1024 + 1, 900_000):
        body = b'"' + b"x" * (size - 2) + b'"'
        with pytest.raises(TooLarge) as refused:
            await app.client.sources.receive(queue, body, standard(source.secret, body, f"m{size}"))
        assert refused.value.path == "body"
    assert len(await jobs(app, queue)) == 1


async def test_compressed_bodies_are_refused_after_their_signature(app: roost.App, queue: str) -> None:
    await app.client.sources.put("zip-" + queue, queue, scheme="none")
    with pytest.raises(UnsupportedMediaType):
        await app.client.sources.receive(queue, b"\x1f\x8b", {**JSON, "content-encoding": "gzip"})


async def test_which_source_is_meant(app: roost.App, queue: str) -> None:
    with pytest.raises(NotFound):
        await app.client.sources.receive(queue, b"{}", JSON)
    one = await app.client.sources.put("one-" + queue, queue, scheme="none", kind="one")
    await app.client.sources.receive(queue, b"{}", JSON)
    await app.client.sources.put("two-" + queue, queue, scheme="none", kind="two")
    with pytest.raises(InvalidRequest):
        await app.client.sources.receive(queue, b"{}", JSON)
    made = await app.client.sources.receive(queue, b"{}", JSON, source="two-" + queue)
    assert (await app.client.jobs.get(made.id)).kind == "two"
    with pytest.raises(NotFound):
        await app.client.sources.receive("other-" + queue, b"{}", JSON, source="two-" + queue)
    await app.client.sources.delete(one.name)
    assert (await app.client.sources.receive(queue, b"{}", JSON)).id != made.id


async def test_a_source_goes_the_way_of_every_job(app: roost.App, queue: str) -> None:
    """Queue rules hold for it: here each job waits for somebody's approval."""
    await app.client.queues.edit(queue, QueueRules(hold=roost.HoldRule(title="Really?")))
    await app.client.sources.put("held-" + queue, queue, scheme="none")
    made = await app.client.sources.receive(queue, b"{}", JSON)
    assert (await app.client.jobs.get(made.id)).state == "held"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"kind": "{event"}, "kind"),
        ({"kind": "{other}"}, "kind"),
        ({"kind": "{source:99999999999}"}, "kind"),
        ({"kind": "a b"}, "kind"),
        ({"scheme": "github"}, "secrets"),
        ({"scheme": "none", "secrets": ["a secret or so"]}, "secrets"),
        ({"secrets": ["whsec_short"]}, "secrets"),
        ({"queue": "a b"}, "queue"),
    ],
)
async def test_sources_that_cannot_be(app: roost.App, queue: str, fields: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await app.client.sources.put("bad-" + queue, **{"queue": queue, **fields})  # type: ignore[arg-type]
    assert refused.value.path.startswith(path)
    with pytest.raises(NotFound):
        await app.client.sources.get("bad-" + queue)


async def test_secrets_are_not_told_again(app: roost.App, queue: str) -> None:
    made = await app.client.sources.put("quiet-" + queue, queue)
    assert made.secret is not None
    found = await app.client.sources.get(made.name)
    edited = await app.client.sources.put("quiet-" + queue, queue, kind="other")
    listed = await app.client.sources.list()
    assert [source.secret for source in (found, edited, *listed)] == [None] * (2 + len(listed))
    assert found.secrets == 1
    body = b"{}"
    await app.client.sources.receive(queue, body, standard(made.secret, body))
