"""What a store does for webhooks (control operations as data, see `roost.engine.calls`) and tells of them."""

from __future__ import annotations

from typing import Protocol

import msgspec

from roost.domain.deliveries import Try, WebhookRule
from roost.domain.signatures import Scheme
from roost.wire.webhooks import Delivery, DeliveryPage, ListDeliveries, Source, Webhook


class HookAction(msgspec.Struct, tag=True, kw_only=True):
    """What all of them are."""


class PutWebhook(HookAction, tag=True, kw_only=True):
    """``secret`` and ``position`` are for a new endpoint: what it starts with.

    ``signing_key`` is for one that has none; None: it shall have none.
    """

    name: str
    url: str
    rule: WebhookRule
    secret: str
    position: str
    signing_key: str | None = None
    actor: str = ""


class DeleteWebhook(HookAction, tag=True, kw_only=True):
    name: str
    actor: str = ""


class EnableWebhook(HookAction, tag=True, kw_only=True):
    """``position`` is where to go on; None: where it stopped."""

    name: str
    position: str | None = None
    actor: str = ""


class DisableWebhook(HookAction, tag=True, kw_only=True):
    name: str
    actor: str = ""


class RotateWebhook(HookAction, tag=True, kw_only=True):
    """``signing_key`` is for an endpoint that has one."""

    name: str
    secret: str
    signing_key: str
    overlap_ms: int
    actor: str = ""


class NewDelivery(msgspec.Struct, array_like=True):
    """A message for one endpoint."""

    message: str
    type: str
    job: int | None
    body: str


class PingWebhook(HookAction, tag=True, kw_only=True):
    """One delivery that no event caused."""

    name: str
    delivery: NewDelivery
    actor: str = ""


class AdvanceWebhook(HookAction, tag=True, kw_only=True):
    """Deliveries for the events up to ``position``; does nothing where another node was first."""

    name: str
    expected: str
    position: str
    deliveries: list[NewDelivery]
    lost: bool = False
    """The events in between are kept no more: nobody will be told of them."""


class WorkDeliveries(HookAction, tag=True, kw_only=True):
    """What came of sending; and up to ``take`` due deliveries to send, nobody else's until ``lock_ms`` are over."""

    name: str
    token: str
    tries: list[Try]
    take: int
    lock_ms: int


class Taken(msgspec.Struct, array_like=True):
    """A delivery to be sent now."""

    id: int
    message: str
    body: str


class Work(msgspec.Struct):
    """The reply to `WorkDeliveries`: what is this caller's now, and how it is addressed and signed."""

    url: str = ""
    secrets: list[str] = []
    """Secrets and private keys, the newest first."""
    deliveries: list[Taken] = []


class ReplayDelivery(HookAction, tag=True, kw_only=True):
    id: int
    actor: str = ""


class ReplayDeliveries(HookAction, tag=True, kw_only=True):
    name: str
    since: int
    all: bool
    limit: int
    actor: str = ""


class PruneDeliveries(HookAction, tag=True, kw_only=True):
    """Forget deliveries that ended before ``before``."""

    before: int
    limit: int = 1000


class PutSource(HookAction, tag=True, kw_only=True):
    """``secrets`` None: as they are; ``generated`` is what a new source gets that brings none."""

    name: str
    queue: str
    kind: str
    scheme: Scheme
    secrets: list[str] | None
    generated: str | None
    actor: str = ""


class DeleteSource(HookAction, tag=True, kw_only=True):
    name: str
    actor: str = ""


HookActions = (
    PutWebhook
    | DeleteWebhook
    | EnableWebhook
    | DisableWebhook
    | RotateWebhook
    | PingWebhook
    | AdvanceWebhook
    | WorkDeliveries
    | ReplayDelivery
    | ReplayDeliveries
    | PruneDeliveries
    | PutSource
    | DeleteSource
)


class Cursor(msgspec.Struct, kw_only=True):
    """An enabled endpoint as the dispatcher sees it."""

    name: str
    rule: WebhookRule
    position: str
    next_at: int | None
    """When its next delivery is due."""
    crowded: bool = False
    """So much is pending that no more is added."""


class SourceFacts(msgspec.Struct, kw_only=True):
    """A source with its secrets."""

    name: str
    queue: str
    kind: str
    scheme: Scheme
    secrets: list[str]


class HookReader(Protocol):
    """What a store tells of webhooks; raises as `roost.engine.reading.Reader`."""

    def webhooks(self) -> list[Webhook]:
        """All endpoints by name."""
        ...

    def webhook(self, name: str) -> Webhook: ...
    def webhook_cursors(self) -> list[Cursor]:
        """The enabled endpoints as the dispatcher sees them."""
        ...

    def deliveries(self, query: ListDeliveries) -> DeliveryPage: ...
    def delivery(self, id: int) -> Delivery: ...
    def tags(self, ids: list[int]) -> dict[int, dict[str, str]]:
        """The tags of those jobs that have any."""
        ...

    def results(self, ids: list[int]) -> dict[int, str]:
        """The results, as JSON texts, of those jobs that have one."""
        ...

    def sources(self) -> list[Source]:
        """All sources by name."""
        ...

    def source(self, name: str) -> Source: ...
    def source_facts(self, name: str) -> SourceFacts: ...
    def sources_of(self, queue: str) -> list[SourceFacts]:
        """The first two of the sources that lead to a queue."""
        ...
