"""Queues."""

from __future__ import annotations

from typing import Annotated

import msgspec

from roost.domain.names import Name
from roost.domain.records import QueueRules
from roost.wire.codec import Wire


class QueueRef(Wire, kw_only=True):
    name: Name = ""


class Queue(Wire, kw_only=True):
    """A queue: whether it is paused, its rules, its jobs by state and the age of the oldest ready one."""

    name: str
    paused: bool = False
    paused_at: str | None = None
    paused_by: str | None = None
    rules: QueueRules | None = None
    waiting: int = 0
    ready: int = 0
    running: int = 0
    held: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    oldest_ready_seconds: float | None = None


class Queues(Wire, kw_only=True):
    queues: list[Queue]


class PauseQueue(Wire, kw_only=True):
    name: Name = ""
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class EditQueue(Wire, kw_only=True):
    """Set a queue's rules; they hold for jobs enqueued from now on."""

    name: Name = ""
    rules: QueueRules
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""
