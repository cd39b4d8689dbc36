"""Batches: jobs that belong together, and the jobs that are called back at their end. A chain is a batch in a row."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from roost.wire.codec import Wire
from roost.wire.jobs import JobId, NewJob

BatchId = JobId


class NewBatch(Wire, kw_only=True):
    """A batch with its first jobs, in one transaction; while it is open, jobs join it by naming it.

    When a sealed batch's last job has ended, by whatever way, its callbacks are enqueued, once: ``on_complete`` always,
    ``on_success`` where all succeeded, ``on_failure`` where not. A ``chain`` runs its jobs one after the other: a job
    that does not succeed cancels those behind it, and so does one that exits early, which is no failure.
    """

    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    chain: bool = False
    jobs: Annotated[list[NewJob], msgspec.Meta(max_length=1000)] = []
    on_complete: NewJob | None = None
    on_success: NewJob | None = None
    on_failure: NewJob | None = None
    seal: bool = True
    """No more jobs will join; False leaves it open until it is sealed."""


class BatchRef(Wire, kw_only=True):
    id: BatchId = 0


class Batch(Wire, kw_only=True):
    """A batch and how far it is; ``jobs`` are the first ids of a batch that was just created."""

    id: BatchId
    name: str = ""
    chain: bool = False
    state: Literal["open", "sealed", "finished"]
    total: int = 0
    pending: int = 0
    """Jobs that have not ended."""
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    skipped: int = 0
    """Cancelled because the chain was left early."""
    quarantined: int = 0
    """Held for having killed its workers: the batch does not wait for them."""
    created_at: str
    sealed_at: str | None = None
    finished_at: str | None = None
    callbacks: list[JobId] = []
    """The jobs that were called back."""
    jobs: list[JobId] = []


class CancelBatch(BatchRef, kw_only=True):
    """Cancel every job of it that has not ended; running ones are asked."""

    note: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""


class ListBatches(Wire, kw_only=True):
    """Newest first."""

    state: Literal["open", "sealed", "finished"] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: str | None = None


class BatchPage(Wire, kw_only=True):
    batches: list[Batch]
    cursor: str | None = None
