"""Batches and signals: what jobs have to do with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from roost.sdk.adapters import encode
from roost.wire import contract
from roost.wire.batches import Batch, BatchPage, BatchRef, CancelBatch, ListBatches, NewBatch
from roost.wire.flow import NewSignal, SentSignal

if TYPE_CHECKING:
    from roost.sdk._async.client import AsyncClient


class AsyncBatches:
    """``client.batches``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(self, batch: NewBatch, *, operation_id: str | None = None) -> Batch:
        """Store a batch with its first jobs, in one transaction: all of it, or nothing where a job is invalid."""
        return await self._client.call(contract.CREATE_BATCH, batch, operation_id)

    async def get(self, id: int) -> Batch:
        """A batch and how far it is; raises `NotFound`."""
        return await self._client.call(contract.GET_BATCH, BatchRef(id=id))

    async def list(
        self,
        *,
        state: Literal["open", "sealed", "finished"] | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> BatchPage:
        """A page of batches, newest first; raises `InvalidCursor`."""
        return await self._client.call(contract.LIST_BATCHES, ListBatches(state=state, limit=limit, cursor=cursor))

    async def seal(self, id: int, *, operation_id: str | None = None) -> Batch:
        """No more jobs join it; sealing it again changes nothing."""
        return await self._client.call(contract.SEAL_BATCH, BatchRef(id=id), operation_id)

    async def cancel(self, id: int, *, note: str = "", actor: str = "", operation_id: str | None = None) -> Batch:
        """Seal it and cancel every job of it that has not ended; running ones are asked to stop."""
        return await self._client.call(contract.CANCEL_BATCH, CancelBatch(id=id, note=note, actor=actor), operation_id)


class AsyncSignals:
    """``client.signals``."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def send(
        self, name: str, data: object = None, *, job: int | None = None, operation_id: str | None = None
    ) -> SentSignal:
        """Wake the jobs that wait for ``name`` (or only ``job``) with ``data``, which is anything that is JSON.

        A job that was created before uses it once, also where it only begins to wait later.
        """
        request = NewSignal(name=name, data=msgspec.Raw(encode(data, "data")), job=job)
        return await self._client.call(contract.SEND_SIGNAL, request, operation_id)
