"""Webhooks out: endpoints that are told of events, what was delivered to them, and sending it again."""

from __future__ import annotations

from roost.domain.deliveries import WebhookRule
from roost.domain.duration import parse_duration
from roost.domain.feed import check_types
from roost.domain.names import check_name
from roost.domain.signatures import new_secret, new_signing_key
from roost.domain.targets import Allowed, parse
from roost.engine import hooks
from roost.engine.hooks import NewDelivery
from roost.errors import InvalidRequest
from roost.service.core import CallInfo, Core
from roost.wire.codec import encode, milliseconds, timestamp
from roost.wire.jobs import Empty
from roost.wire.webhooks import (
    Delivery,
    DeliveryPage,
    DeliveryRef,
    DeliverySummary,
    EnableWebhook,
    ListDeliveries,
    PutWebhook,
    ReplayDeliveries,
    Replayed,
    RotateWebhook,
    Webhook,
    WebhookRef,
    Webhooks,
)

REPLAYED = 10_000
"""Deliveries that one call sends again, at most."""
SHORTEST_DISABLE_MS = 3_600_000


async def every(core: Core, request: Empty, call: CallInfo) -> Webhooks:
    """All endpoints."""
    return Webhooks(webhooks=await core.read(core.reader.webhooks))


async def get(core: Core, request: WebhookRef, call: CallInfo) -> Webhook:
    """An endpoint; raises `NotFound`."""
    return await core.read(core.reader.webhook, request.name)


async def put(core: Core, request: PutWebhook, call: CallInfo) -> Webhook:
    """Create or edit an endpoint; a new one's secret is in the answer, and never told again.

    Raises `InvalidRequest` for a URL that must not be sent to, and for what else is malformed.
    """
    check_name(request.name, "name")
    parse(request.url, Allowed(core.settings.webhook_allow))
    disable_after_ms = parse_duration(request.disable_after, path="disable_after")
    if disable_after_ms < SHORTEST_DISABLE_MS:
        raise InvalidRequest("an endpoint may fail for an hour", path="disable_after", help="give 1h at least")
    check_types(request.events or (), "events", patterns=True)
    for key in request.tags or ():
        check_name(key, "tags")
    action = hooks.PutWebhook(
        name=request.name,
        url=request.url,
        rule=WebhookRule(
            events=request.events,
            queues=request.queues,
            kinds=request.kinds,
            tags=request.tags or None,
            include=list(request.include),
            disable_after_ms=disable_after_ms,
        ),
        secret=made_secret(core),
        signing_key=made_key(core) if request.ed25519 else None,
        position=str(await core.feed.newest()),
        actor=request.actor or call.actor,
    )
    return await core.act(action, Webhook, name="webhooks.put", request=request, call=call)


async def rotate(core: Core, request: RotateWebhook, call: CallInfo) -> Webhook:
    """Give an endpoint a new secret, which is in the answer; raises `NotFound`."""
    overlap_ms = parse_duration(request.overlap, path="overlap")
    action = hooks.RotateWebhook(
        name=request.name,
        secret=made_secret(core),
        signing_key=made_key(core),
        overlap_ms=overlap_ms,
        actor=request.actor or call.actor,
    )
    return await core.act(action, Webhook, name="webhooks.rotate", request=request, call=call)


async def enable(core: Core, request: EnableWebhook, call: CallInfo) -> Webhook:
    """Send to an endpoint again; raises `NotFound`."""
    position = str(await core.feed.newest()) if request.skip else None
    action = hooks.EnableWebhook(name=request.name, position=position, actor=request.actor or call.actor)
    return await core.act(action, Webhook, name="webhooks.enable", request=request, call=call)


async def disable(core: Core, request: WebhookRef, call: CallInfo) -> Webhook:
    """Send nothing more to an endpoint; what happens meanwhile waits in the feed. Raises `NotFound`."""
    action = hooks.DisableWebhook(name=request.name, actor=request.actor or call.actor)
    return await core.act(action, Webhook, name="webhooks.disable", request=request, call=call)


async def delete(core: Core, request: WebhookRef, call: CallInfo) -> Empty:
    """Forget an endpoint and its deliveries; raises `NotFound`."""
    action = hooks.DeleteWebhook(name=request.name, actor=request.actor or call.actor)
    return await core.act(action, Empty, name="webhooks.delete", request=request, call=call)


async def test(core: Core, request: WebhookRef, call: CallInfo) -> DeliverySummary:
    """Send an endpoint a ping; raises `NotFound`, `Conflict` where it is disabled."""
    identity = core.ids.operation()
    body = encode({"id": identity, "type": "ping", "at": timestamp(core.now()), "data": {"webhook": request.name}})
    delivery = NewDelivery(f"msg_ping_{identity}", "ping", None, body.decode())
    action = hooks.PingWebhook(name=request.name, delivery=delivery, actor=request.actor or call.actor)
    return await core.act(action, DeliverySummary, name="webhooks.test", request=request, call=call)


async def deliveries(core: Core, request: ListDeliveries, call: CallInfo) -> DeliveryPage:
    """An endpoint's deliveries, newest first; raises `NotFound`, `InvalidCursor`."""
    return await core.read(core.reader.deliveries, request)


async def delivery(core: Core, request: DeliveryRef, call: CallInfo) -> Delivery:
    """A delivery with its body and tries; raises `NotFound`."""
    return await core.read(core.reader.delivery, request.id)


async def replay(core: Core, request: DeliveryRef, call: CallInfo) -> DeliverySummary:
    """Send one delivery again, under the same webhook-id; raises `NotFound`, `Conflict` before its first try."""
    action = hooks.ReplayDelivery(id=request.id, actor=request.actor or call.actor)
    return await core.act(action, DeliverySummary, name="deliveries.replay", request=request, call=call)


async def replay_since(core: Core, request: ReplayDeliveries, call: CallInfo) -> Replayed:
    """Send again what was made since a time and failed, or all of it; raises `NotFound`."""
    action = hooks.ReplayDeliveries(
        name=request.name,
        since=milliseconds(request.since, "since"),
        all=request.all,
        limit=REPLAYED,
        actor=request.actor or call.actor,
    )
    return await core.act(action, Replayed, name="webhooks.replay", request=request, call=call)


def made_secret(core: Core) -> str:
    """A new secret of 32 random bytes."""
    return new_secret(_random(core))


def made_key(core: Core) -> str:
    """A new private key."""
    return new_signing_key(_random(core))


def _random(core: Core) -> bytes:
    return bytes.fromhex(core.ids.token() + core.ids.token())
