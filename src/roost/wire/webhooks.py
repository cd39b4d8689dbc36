"""Webhooks: endpoints that are told of events, what was delivered to them, and sources that jobs come from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from roost.domain.deliveries import DeliveryState
from roost.domain.globs import Glob
from roost.domain.names import Name
from roost.domain.signatures import Scheme
from roost.domain.targets import LONGEST_URL
from roost.wire.codec import Wire
from roost.wire.jobs import Duration, JobId

Actor = Annotated[str, msgspec.Meta(max_length=200)]
Globs = Annotated[list[Glob], msgspec.Meta(min_length=1, max_length=64)]
Secret = Annotated[str, msgspec.Meta(min_length=8, max_length=256)]
TagPattern = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
TagPatterns = Annotated[dict[str, TagPattern], msgspec.Meta(max_length=16)]


class PutWebhook(Wire, kw_only=True):
    """Create an endpoint that events are sent to, or edit it as a whole; its secrets and its place stay.

    Patterns: ``*`` stands for any text without ``.`` and ``/``, ``**`` for any text. A new endpoint gets what happens
    from now on.
    """

    name: Name = ""
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_URL)]
    events: Globs | None = None
    """Types of events; all where absent."""
    queues: Globs | None = None
    """What concerns these queues alone."""
    kinds: Globs | None = None
    """Jobs of these kinds alone."""
    tags: TagPatterns | None = None
    """Jobs that have all these tags alone, as they are when the event is read: ``{"tenant": "acme*"}``."""
    ed25519: bool = False
    """Sign with ed25519 too (``v1a`` beside ``v1``): whoever checks with the public key can make no message himself."""
    include: Annotated[list[Literal["result"]], msgspec.Meta(max_length=1)] = []
    """What is sent beside the names and states of things."""
    disable_after: Duration = "5d"
    """An endpoint that has accepted nothing for so long is disabled."""
    actor: Actor = ""


class Webhook(Wire, kw_only=True):
    """An endpoint; ``secret`` is told once, when it is made or replaced."""

    name: str
    url: str
    events: list[str] | None = None
    queues: list[str] | None = None
    kinds: list[str] | None = None
    tags: dict[str, str] | None = None
    include: list[str] = []
    disable_after: Duration
    enabled: bool = True
    disabled_at: str | None = None
    disabled_reason: str | None = None
    """failing, gone or requested."""
    failing_since: str | None = None
    """The first failure after the last success."""
    failures: int = 0
    """Tries that failed since then."""
    pending: int = 0
    """Deliveries that are still to be made, counted up to 10,000."""
    succeeded: int = 0
    """Deliveries that were accepted."""
    failed: int = 0
    """Deliveries that were given up."""
    old_secret_until: str | None = None
    """Secrets and keys before these sign until then, too."""
    public_key: str | None = None
    """What checks its ``v1a`` signatures, where it has them; no secret."""
    created_at: str
    changed_at: str
    secret: str | None = None


class Webhooks(Wire, kw_only=True):
    webhooks: list[Webhook]


class WebhookRef(Wire, kw_only=True):
    """Which endpoint."""

    name: Name = ""
    actor: Actor = ""


class RotateWebhook(Wire, kw_only=True):
    """Give an endpoint a new secret, and a new key where it has one; the old ones sign beside them for ``overlap``.

    With an overlap of ``0s`` all old ones end at once, those of earlier rotations too.
    """

    name: Name = ""
    overlap: Duration = "24h"
    actor: Actor = ""


class EnableWebhook(Wire, kw_only=True):
    """Send to an endpoint again: what happened meanwhile first, or with ``skip`` only what happens from now on."""

    name: Name = ""
    skip: bool = False
    actor: Actor = ""


class ListDeliveries(Wire, kw_only=True):
    """An endpoint's deliveries, newest first."""

    name: Name = ""
    state: DeliveryState | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: str | None = None


class DeliverySummary(Wire, kw_only=True):
    """A delivery in a list; ``message`` is the webhook-id, the same on every try."""

    id: int
    webhook: str
    message: str
    type: str
    job: JobId | None = None
    state: DeliveryState
    attempts: int = 0
    status: int | None = None
    """The last answer's."""
    error: str | None = None
    """Why the last try failed."""
    created_at: str
    next_at: str | None = None
    """When it is tried next."""
    finished_at: str | None = None


class DeliveryPage(Wire, kw_only=True):
    """``cursor`` is None on the last page."""

    deliveries: list[DeliverySummary]
    cursor: str | None = None


class DeliveryRef(Wire, kw_only=True):
    """Which delivery."""

    id: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    actor: Actor = ""


class DeliveryAttempt(Wire, kw_only=True):
    """One try; ``response`` is the beginning of what was answered."""

    number: int
    at: str
    duration_ms: int
    status: int | None = None
    error: str | None = None
    response: str = ""


class Delivery(DeliverySummary, kw_only=True):
    """A delivery, whole: the body as it is sent, and its tries."""

    body: str
    tries: list[DeliveryAttempt] = []


class ReplayDeliveries(Wire, kw_only=True):
    """Send again what was made ``since`` then and failed; with ``all`` also what was accepted. 10,000 a call."""

    name: Name = ""
    since: datetime
    all: bool = False
    actor: Actor = ""


class Replayed(Wire, kw_only=True):
    """How many will be sent again; ``more``: call again for the rest."""

    count: int
    more: bool = False


class PutSource(Wire, kw_only=True):
    """Let webhooks of others become jobs in ``queue``, or edit how; secrets that are absent stay.

    ``kind`` may hold ``{source}`` and ``{event}``: the source's name and the sender's type of event.
    """

    name: Name = ""
    queue: Name
    kind: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] = "{source}.{event}"
    scheme: Scheme = "standard"
    """Who signs how; ``none`` takes anything from anybody."""
    secrets: Annotated[list[Secret], msgspec.Meta(min_length=1, max_length=4)] | None = None
    """The sender's; several while one replaces the other. A new ``standard`` source without any is given one.

    Of a ``standard`` sender who signs with ed25519 his public key, ``whpk_…``.
    """
    actor: Actor = ""


class Source(Wire, kw_only=True):
    """A source; ``secret`` is told once, where Roost made it."""

    name: str
    queue: str
    kind: str
    scheme: Scheme
    secrets: int
    """How many are valid."""
    created_at: str
    changed_at: str
    secret: str | None = None


class Sources(Wire, kw_only=True):
    sources: list[Source]


class SourceRef(Wire, kw_only=True):
    """Which source."""

    name: Name = ""
    actor: Actor = ""


class ReceiveWebhook(Wire, kw_only=True):
    """A webhook of somebody else's: its raw body and the headers that tell what it is.

    Over HTTP the body is the request's, as it comes, and ``headers`` are the request's own.
    """

    queue: Name = ""
    source: Name | None = None
    """May be left out where the queue has one source."""
    headers: Annotated[dict[str, str], msgspec.Meta(max_length=100)] = {}
    """By lower-case names."""
    body: bytes = b""
