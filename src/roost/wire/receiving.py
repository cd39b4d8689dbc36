"""The call that others make: its body is not the API's but the sender's, whatever it is, and its headers are read."""

from __future__ import annotations

from typing import Any

from roost.wire.contract import Operation
from roost.wire.jobs import Enqueued
from roost.wire.webhooks import ReceiveWebhook

RECEIVE_WEBHOOK = Operation(
    "webhooks.receive",
    "POST",
    "/webhooks/{queue}",
    ReceiveWebhook,
    Enqueued,
    "enqueue",
    "Make a job of a webhook that one of the queue's sources sent",
    201,
)
"""Not in the table of operations: over HTTP the body is taken as it comes, and ``source`` is a query parameter."""
RECEIVED: tuple[Operation[Any, Any], ...] = (RECEIVE_WEBHOOK,)
"""All calls of this sort."""
