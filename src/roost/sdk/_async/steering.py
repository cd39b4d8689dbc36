"""What people do to stored jobs: the part of ``client.jobs`` that changes them one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from roost.sdk.adapters import encode
from roost.sdk.options import Priority
from roost.wire import contract
from roost.wire.jobs import (
    ChunkPage,
    CloneJob,
    EditJob,
    Enqueued,
    ErrorInfo,
    HoldJob,
    JobSummary,
    ListChunks,
    MoveJob,
    NoteJob,
    Progress,
    ReopenJob,
    RunJob,
    TakeJob,
    TakenJob,
    UpdateJob,
)

if TYPE_CHECKING:
    from roost.sdk._async.client import AsyncClient


class AsyncSteering:
    """Changes of stored jobs; values of ``input``, ``result`` and the like are anything that is JSON."""

    _client: AsyncClient

    async def reopen(
        self,
        id: int,
        *,
        input: object = msgspec.UNSET,
        queue: str | None = None,
        note: str = "",
        actor: str = "",
        operation_id: str | None = None,
    ) -> JobSummary:
        """Run a job that has ended again, maybe with another input or in another queue; its holds ask again.

        Raises `Conflict` where it has not ended, `SchemaMismatch` for an input its kind refuses.
        """
        request = ReopenJob(id=id, input=_given(input, "input"), queue=queue, note=note, actor=actor)
        return await self._client.call(contract.REOPEN_JOB, request, operation_id)

    async def move(
        self,
        id: int,
        *,
        queue: str | None = None,
        priority: Priority | None = None,
        run_at: datetime | None = None,
        delay: str | None = None,
        note: str = "",
        actor: str = "",
        operation_id: str | None = None,
    ) -> JobSummary:
        """Give a job that has not started another queue, priority or time; a held one stays held."""
        request = MoveJob(id=id, queue=queue, priority=priority, run_at=run_at, delay=delay, note=note, actor=actor)
        return await self._client.call(contract.MOVE_JOB, request, operation_id)

    async def run_now(self, id: int, *, note: str = "", actor: str = "", operation_id: str | None = None) -> JobSummary:
        """Let a job that waits for a time start now; raises `Conflict` for any other."""
        return await self._client.call(contract.RUN_JOB, RunJob(id=id, note=note, actor=actor), operation_id)

    async def hold(
        self,
        id: int,
        *,
        title: str = "held by hand",
        note: str = "",
        actor: str = "",
        operation_id: str | None = None,
    ) -> JobSummary:
        """Hold a job that has not started until somebody approves its hold (``client.holds``)."""
        request = HoldJob(id=id, title=title, note=note, actor=actor)
        return await self._client.call(contract.HOLD_JOB, request, operation_id)

    async def clone(
        self,
        id: int,
        *,
        input: object = msgspec.UNSET,
        queue: str | None = None,
        priority: Priority | None = None,
        run_at: datetime | None = None,
        delay: str | None = None,
        ttl: str | None = None,
        deadline: str | None = None,
        unique: Literal["drop", "keep"] = "drop",
        tags: Mapping[str, str] | None = None,
        owner: str | None = None,
        metadata: object = msgspec.UNSET,
        operation_id: str | None = None,
    ) -> Enqueued:
        """A new job like an old one, with what is given instead; its unique key only where ``unique`` is keep."""
        request = CloneJob(
            id=id,
            input=_given(input, "input"),
            queue=queue,
            priority=priority,
            run_at=run_at,
            delay=delay,
            ttl=ttl,
            deadline=deadline,
            unique=unique,
            tags=None if tags is None else dict(tags),
            owner=owner,
            metadata=_given(metadata, "metadata"),
        )
        return await self._client.call(contract.CLONE_JOB, request, operation_id)

    async def edit(
        self,
        id: int,
        *,
        tags: Mapping[str, str] | None = None,
        untag: Sequence[str] = (),
        owner: str | None = None,
        metadata: object = msgspec.UNSET,
        actor: str = "",
        operation_id: str | None = None,
    ) -> JobSummary:
        """Change tags, owner or metadata, in any state; the empty owner and the metadata None take theirs away."""
        request = EditJob(
            id=id,
            tags=None if tags is None else dict(tags),
            untag=[*untag],
            owner=owner,
            metadata=_given(metadata, "metadata"),
            actor=actor,
        )
        return await self._client.call(contract.EDIT_JOB, request, operation_id)

    async def note(self, id: int, text: str, *, actor: str = "", operation_id: str | None = None) -> JobSummary:
        """Write a line into the job's history, in any state."""
        return await self._client.call(contract.NOTE_JOB, NoteJob(id=id, text=text, actor=actor), operation_id)

    async def chunks(self, id: int, *, after: int = 0, limit: int = 500) -> ChunkPage:
        """The job's result chunks after chunk number ``after``."""
        return await self._client.call(contract.JOB_CHUNKS, ListChunks(id=id, after=after, limit=limit))

    async def take(
        self, id: int, worker: str, *, lease: str | None = None, operation_id: str | None = None
    ) -> TakenJob:
        """Start an attempt of a ready job by hand; without ``lease`` it goes on until `update` ends it."""
        return await self._client.call(contract.TAKE_JOB, TakeJob(id=id, worker=worker, lease=lease), operation_id)

    async def update(
        self,
        id: int,
        attempt: int,
        state: Literal["running", "ready", "succeeded", "failed", "cancelled"] = "running",
        *,
        note: str = "",
        progress: Progress | None = None,
        saved: object = msgspec.UNSET,
        chunks: Sequence[object] = (),
        summary: str | None = None,
        result: object = msgspec.UNSET,
        error: ErrorInfo | None = None,
        retry: bool = False,
        lease: str | None = None,
        actor: str = "",
        operation_id: str | None = None,
    ) -> JobSummary:
        """Tell what became of a taken attempt; raises `LeaseLost` where another one is the current one."""
        request = UpdateJob(
            id=id,
            attempt=attempt,
            state=state,
            note=note,
            progress=progress,
            saved=_given(saved, "saved"),
            chunks=[msgspec.Raw(encode(chunk, "chunks")) for chunk in chunks],
            summary=summary,
            result=_given(result, "result"),
            error=error,
            retry=retry,
            lease=lease,
            actor=actor,
        )
        return await self._client.call(contract.UPDATE_JOB, request, operation_id)


def _given(value: object, path: str) -> Any:
    return None if value is msgspec.UNSET else msgspec.Raw(encode(value, path))
