"""Endpoints through the Python client, over HTTP and embedded, on both engines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import roost
from roost.errors import Conflict, InvalidRequest, NotFound
from roost.wire.jobs import NewJob

pytestmark = pytest.mark.feature("webhooks-out")

URL = "https://receiver.invalid/hook"


async def test_an_endpoints_life(app: roost.App, queue: str) -> None:
    webhooks = app.client.webhooks
    made = await webhooks.put(
        queue, URL, events=["created"], queues=[queue], tags={"env": "*"}, include=["result"], ed25519=True
    )
    assert (made.tags, (made.public_key or "")[:5]) == ({"env": "*"}, "whpk_")
    assert made.secret is not None
    assert made.secret.startswith("whsec_")
    again = await webhooks.put(queue, URL, events=["created"], queues=[queue], disable_after="2d")
    assert (again.secret, again.disable_after, again.include) == (None, "2d", [])
    assert (again.tags, again.public_key) == (None, None)
    assert again.created_at == made.created_at
    assert queue in [webhook.name for webhook in await webhooks.list()]
    rotated = await webhooks.rotate(queue, overlap="1h")
    assert rotated.secret not in (None, made.secret)
    assert rotated.old_secret_until is not None
    assert (await webhooks.disable(queue)).disabled_reason == "requested"
    with pytest.raises(Conflict):
        await webhooks.test(queue)
    assert (await webhooks.enable(queue, skip=True)).enabled
    ping = await webhooks.test(queue)
    delivery = await webhooks.delivery(ping.id)
    assert (delivery.type, delivery.webhook, '"type":"ping"' in delivery.body) == ("ping", queue, True)
    assert [found.id for found in (await webhooks.deliveries(queue)).deliveries] == [ping.id]
    since = datetime.now(UTC) - timedelta(hours=1)
    assert (await webhooks.replay_since(queue, since)).count == 0
    await webhooks.delete(queue)
    for asked in (webhooks.get(queue), webhooks.delivery(ping.id), webhooks.test(queue), webhooks.delete(queue)):
        with pytest.raises(NotFound):
            await asked


async def test_the_same_call_again_tells_the_same_secret(app: roost.App, queue: str) -> None:
    """An answer that was lost on the way is asked for again, under the same operation id."""
    first = await app.client.webhooks.put(queue, URL, operation_id=f"put-{queue}")
    again = await app.client.webhooks.put(queue, URL, operation_id=f"put-{queue}")
    assert first.secret is not None
    assert again.secret == first.secret
    # Not for ever: when the secret is used no more, nothing tells it.
    await app.client.webhooks.rotate(queue, overlap="0s")
    assert (await app.client.webhooks.put(queue, URL, operation_id=f"put-{queue}")).secret is None
    await app.client.webhooks.delete(queue)


async def test_what_happens_is_delivered(app: roost.App, queue: str) -> None:
    """To nobody: the name does not exist. Each try is on record."""
    from tests.e2e.stand import eventually

    await app.client.webhooks.put(queue, URL, queues=[queue])
    job = await app.client.jobs.enqueue(NewJob(kind="k", queue=queue))

    async def tried() -> object:
        page = await app.client.webhooks.deliveries(queue, state="pending")
        return page.deliveries if page.deliveries and page.deliveries[0].attempts else None

    await eventually(tried, "the delivery was tried")
    (delivery,) = (await app.client.webhooks.deliveries(queue)).deliveries
    assert (delivery.type, delivery.job) == ("created", job.id)
    whole = await app.client.webhooks.delivery(delivery.id)
    assert whole.tries[0].status is None
    assert "no connection" in (whole.tries[0].error or "")
    assert (await app.client.webhooks.replay(delivery.id)).message == delivery.message
    await app.client.webhooks.delete(queue)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"url": "http://example.com/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://a@example.com/"}, "url"),
        ({"events": []}, "events"),
        ({"events": ["no good"]}, "events"),
        ({"include": ["input"]}, "include"),
        ({"disable_after": "5 days"}, "disable_after"),
        ({"disable_after": "1m"}, "disable_after"),
    ],
)
async def test_endpoints_that_cannot_be(app: roost.App, queue: str, fields: dict[str, object], path: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await app.client.webhooks.put(queue, **{"url": URL, **fields})  # type: ignore[arg-type]
    assert refused.value.path.startswith(path)
    with pytest.raises(NotFound):
        await app.client.webhooks.get(queue)
