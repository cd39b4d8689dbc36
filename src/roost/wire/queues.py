"""Queues."""

from __future__ import annotations

from typing import Annotated, Literal

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


class DrainQueue(PauseQueue, kw_only=True):
    """Pause a queue and wait until its last running job has ended, or for ``wait`` (30 s at most)."""

    wait: Annotated[str, msgspec.Meta(max_length=64)] = "30s"


class Drained(Wire, kw_only=True):
    """``drained`` when nothing of the queue runs and nothing of it will start; it stays paused."""

    drained: bool
    running: int
    queue: Queue


class ClearQueue(PauseQueue, kw_only=True):
    """Delete a queue's jobs in these states; running ones are never deleted.

    A call deletes ``limit`` jobs at most; ``more`` in its answer says that there are others.
    """

    states: (
        Annotated[
            list[Literal["waiting", "ready", "held", "succeeded", "failed", "cancelled", "expired"]],
            msgspec.Meta(min_length=1, max_length=7),
        ]
        | None
    ) = None
    """Waiting, ready and held where None."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000


class Cleared(Wire, kw_only=True):
    deleted: int
    more: bool = False


class DestroyQueue(DrainQueue, kw_only=True):
    """Pause a queue, delete all its jobs whatever their state, and forget its rules.

    Refused while jobs run, unless ``force`` cancels them first (``wait`` is how long their ends are waited for), and
    while a schedule or a webhook source puts jobs into it, but with ``force``.
    """

    force: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10_000
