"""The operations of webhooks, their deliveries and sources; part of `roost.wire.contract`."""

from __future__ import annotations

from typing import Any

from roost.wire import jobs, webhooks
from roost.wire.operation import Operation

LIST_WEBHOOKS = Operation(
    "webhooks.list", "GET", "/webhooks", jobs.Empty, webhooks.Webhooks, "read", "All endpoints that are told of events"
)
GET_WEBHOOK = Operation(
    "webhooks.get", "GET", "/webhooks/{name}", webhooks.WebhookRef, webhooks.Webhook, "read", "An endpoint"
)
PUT_WEBHOOK = Operation(
    "webhooks.put",
    "PUT",
    "/webhooks/{name}",
    webhooks.PutWebhook,
    webhooks.Webhook,
    "write",
    "Create or edit an endpoint; a new one's secret is told once",
)
DELETE_WEBHOOK = Operation(
    "webhooks.delete",
    "DELETE",
    "/webhooks/{name}",
    webhooks.WebhookRef,
    jobs.Empty,
    "write",
    "Forget an endpoint and its deliveries",
)
ROTATE_WEBHOOK = Operation(
    "webhooks.rotate",
    "POST",
    "/webhooks/{name}/rotate",
    webhooks.RotateWebhook,
    webhooks.Webhook,
    "write",
    "Give an endpoint a new secret; the old one signs beside it for a while",
)
ENABLE_WEBHOOK = Operation(
    "webhooks.enable",
    "POST",
    "/webhooks/{name}/enable",
    webhooks.EnableWebhook,
    webhooks.Webhook,
    "write",
    "Send to an endpoint again",
)
DISABLE_WEBHOOK = Operation(
    "webhooks.disable",
    "POST",
    "/webhooks/{name}/disable",
    webhooks.WebhookRef,
    webhooks.Webhook,
    "write",
    "Send nothing more to an endpoint",
)
TEST_WEBHOOK = Operation(
    "webhooks.test",
    "POST",
    "/webhooks/{name}/test",
    webhooks.WebhookRef,
    webhooks.DeliverySummary,
    "write",
    "Send an endpoint a ping",
)
REPLAY_WEBHOOK = Operation(
    "webhooks.replay",
    "POST",
    "/webhooks/{name}/replay",
    webhooks.ReplayDeliveries,
    webhooks.Replayed,
    "write",
    "Send again what failed since a time, or all since then",
)
LIST_DELIVERIES = Operation(
    "deliveries.list",
    "GET",
    "/webhooks/{name}/deliveries",
    webhooks.ListDeliveries,
    webhooks.DeliveryPage,
    "read",
    "An endpoint's deliveries, newest first",
)
GET_DELIVERY = Operation(
    "deliveries.get", "GET", "/deliveries/{id}", webhooks.DeliveryRef, webhooks.Delivery, "read", "A delivery, whole"
)
REPLAY_DELIVERY = Operation(
    "deliveries.replay",
    "POST",
    "/deliveries/{id}/replay",
    webhooks.DeliveryRef,
    webhooks.DeliverySummary,
    "write",
    "Send a delivery again",
)

LIST_SOURCES = Operation(
    "sources.list", "GET", "/sources", jobs.Empty, webhooks.Sources, "read", "Whose webhooks become jobs"
)
GET_SOURCE = Operation("sources.get", "GET", "/sources/{name}", webhooks.SourceRef, webhooks.Source, "read", "A source")
PUT_SOURCE = Operation(
    "sources.put",
    "PUT",
    "/sources/{name}",
    webhooks.PutSource,
    webhooks.Source,
    "write",
    "Let webhooks of somebody else become jobs of a queue",
)
DELETE_SOURCE = Operation(
    "sources.delete",
    "DELETE",
    "/sources/{name}",
    webhooks.SourceRef,
    jobs.Empty,
    "write",
    "Take no more webhooks of a source; its jobs stay",
)

HOOKS: tuple[Operation[Any, Any], ...] = tuple(value for value in globals().values() if isinstance(value, Operation))
"""All of them, in the order they are documented."""
