# Generated from src/roost/sdk/_async/webhooks.py by scripts/generate_sync.py; do not edit.
"""Webhooks: endpoints and their deliveries, and sources whose webhooks become jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from roost.domain.deliveries import DeliveryState
from roost.domain.signatures import Scheme
from roost.wire import contract
from roost.wire.jobs import Empty, Enqueued
from roost.wire.receiving import RECEIVE_WEBHOOK
from roost.wire.webhooks import (
    Delivery,
    DeliveryPage,
    DeliveryRef,
    DeliverySummary,
    EnableWebhook,
    ListDeliveries,
    PutSource,
    PutWebhook,
    ReceiveWebhook,
    ReplayDeliveries,
    Replayed,
    RotateWebhook,
    Source,
    SourceRef,
    Webhook,
    WebhookRef,
)

if TYPE_CHECKING:
    from roost.sdk._sync.client import Client


class Webhooks:
    """``client.webhooks``: endpoints that are told of events."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Sequence[Webhook]:
        """All endpoints."""
        return (self._client.call(contract.LIST_WEBHOOKS, Empty())).webhooks

    def get(self, name: str) -> Webhook:
        """An endpoint; raises `NotFound`."""
        return self._client.call(contract.GET_WEBHOOK, WebhookRef(name=name))

    def put(
        self,
        name: str,
        url: str,
        *,
        events: Iterable[str] | None = None,
        queues: Iterable[str] | None = None,
        kinds: Iterable[str] | None = None,
        tags: Mapping[str, str] | None = None,
        include: Iterable[Literal["result"]] = (),
        ed25519: bool = False,
        disable_after: str = "5d",
        actor: str = "",
        operation_id: str | None = None,
    ) -> Webhook:
        """Create an endpoint or edit it as a whole; a new one's ``secret`` is told this once.

        ``events``, ``queues``, ``kinds`` and the values of ``tags`` (of which a job has all) are patterns: ``*`` is any
        text without ``.`` and ``/``, ``**`` any text. ``ed25519`` signs with a key too, whose public half is in the
        answer's ``public_key``.
        """
        request = PutWebhook(
            name=name,
            url=url,
            events=None if events is None else [*events],
            queues=None if queues is None else [*queues],
            kinds=None if kinds is None else [*kinds],
            tags=None if tags is None else dict(tags),
            include=[*include],
            ed25519=ed25519,
            disable_after=disable_after,
            actor=actor,
        )
        return self._client.call(contract.PUT_WEBHOOK, request, operation_id)

    def rotate(self, name: str, *, overlap: str = "24h", actor: str = "", operation_id: str | None = None) -> Webhook:
        """Give it a new ``secret``, told this once; the old ones sign beside it for ``overlap``, with ``0s`` none."""
        request = RotateWebhook(name=name, overlap=overlap, actor=actor)
        return self._client.call(contract.ROTATE_WEBHOOK, request, operation_id)

    def enable(self, name: str, *, skip: bool = False, actor: str = "", operation_id: str | None = None) -> Webhook:
        """Send to it again: what happened meanwhile first, or with ``skip`` what happens from now on."""
        request = EnableWebhook(name=name, skip=skip, actor=actor)
        return self._client.call(contract.ENABLE_WEBHOOK, request, operation_id)

    def disable(self, name: str, *, actor: str = "", operation_id: str | None = None) -> Webhook:
        """Send nothing more to it."""
        return self._client.call(contract.DISABLE_WEBHOOK, WebhookRef(name=name, actor=actor), operation_id)

    def delete(self, name: str, *, actor: str = "", operation_id: str | None = None) -> None:
        """Forget it and its deliveries."""
        self._client.call(contract.DELETE_WEBHOOK, WebhookRef(name=name, actor=actor), operation_id)

    def test(self, name: str, *, actor: str = "", operation_id: str | None = None) -> DeliverySummary:
        """Send it a ping; `delivery` tells what became of it."""
        return self._client.call(contract.TEST_WEBHOOK, WebhookRef(name=name, actor=actor), operation_id)

    def deliveries(
        self, name: str, *, state: DeliveryState | None = None, limit: int = 50, cursor: str | None = None
    ) -> DeliveryPage:
        """What was sent to it, newest first."""
        request = ListDeliveries(name=name, state=state, limit=limit, cursor=cursor)
        return self._client.call(contract.LIST_DELIVERIES, request)

    def delivery(self, id: int) -> Delivery:
        """A delivery with its body and tries; raises `NotFound`."""
        return self._client.call(contract.GET_DELIVERY, DeliveryRef(id=id))

    def replay(self, id: int, *, actor: str = "", operation_id: str | None = None) -> DeliverySummary:
        """Send a delivery again, under the same webhook-id."""
        return self._client.call(contract.REPLAY_DELIVERY, DeliveryRef(id=id, actor=actor), operation_id)

    def replay_since(
        self, name: str, since: datetime, *, all: bool = False, actor: str = "", operation_id: str | None = None
    ) -> Replayed:
        """Send again what was made ``since`` then and failed, with ``all`` also what was accepted."""
        request = ReplayDeliveries(name=name, since=since, all=all, actor=actor)
        return self._client.call(contract.REPLAY_WEBHOOK, request, operation_id)


class Sources:
    """``client.sources``: whose webhooks become jobs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Sequence[Source]:
        """All sources."""
        return (self._client.call(contract.LIST_SOURCES, Empty())).sources

    def get(self, name: str) -> Source:
        """A source; raises `NotFound`."""
        return self._client.call(contract.GET_SOURCE, SourceRef(name=name))

    def put(
        self,
        name: str,
        queue: str,
        *,
        kind: str = "{source}.{event}",
        scheme: Scheme = "standard",
        secrets: Iterable[str] | None = None,
        actor: str = "",
        operation_id: str | None = None,
    ) -> Source:
        """Create a source or edit it; secrets that are not given stay as they are."""
        request = PutSource(
            name=name,
            queue=queue,
            kind=kind,
            scheme=scheme,
            secrets=None if secrets is None else [*secrets],
            actor=actor,
        )
        return self._client.call(contract.PUT_SOURCE, request, operation_id)

    def delete(self, name: str, *, actor: str = "", operation_id: str | None = None) -> None:
        """Take no more webhooks of it; its jobs stay."""
        self._client.call(contract.DELETE_SOURCE, SourceRef(name=name, actor=actor), operation_id)

    def receive(
        self,
        queue: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        source: str | None = None,
        operation_id: str | None = None,
    ) -> Enqueued:
        """Make a job of a webhook that your own HTTP server took: its raw body and its headers.

        Raises `InvalidSignature` where no secret of the source fits.
        """
        request = ReceiveWebhook(queue=queue, source=source, headers=dict(headers), body=body)
        return self._client.call(RECEIVE_WEBHOOK, request, operation_id)
