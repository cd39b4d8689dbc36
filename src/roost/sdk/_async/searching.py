"""Errors by fingerprint, saved views, indexed paths, bulk operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from roost.domain.bulk import BulkAction
from roost.wire import contract
from roost.wire.bulk import (
    Bulk,
    BulkRef,
    BulkResults,
    Bulks,
    BulkStarted,
    CreateBulk,
    ListBulkResults,
    ListBulks,
)
from roost.wire.jobs import Empty
from roost.wire.search import (
    DeclareIndex,
    ErrorDetail,
    ErrorGroup,
    ErrorPage,
    ErrorRef,
    ErrorState,
    IndexDeclared,
    ListErrors,
    PutView,
    RemoveIndex,
    SortText,
    View,
    ViewRef,
)

if TYPE_CHECKING:
    from roost.sdk._async.client import AsyncClient


class AsyncErrors:
    """``client.errors``: failures that are alike, in groups."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self, *, state: ErrorState | None = None, limit: int = 50, cursor: str | None = None) -> ErrorPage:
        """Groups, last seen first."""
        return await self._client.call(contract.LIST_ERRORS, ListErrors(state=state, limit=limit, cursor=cursor))

    async def get(self, fingerprint: str) -> ErrorDetail:
        """A group, where its jobs are now, and its last error; raises `NotFound`."""
        return await self._client.call(contract.GET_ERROR, ErrorRef(fingerprint=fingerprint))

    async def mute(self, fingerprint: str, *, actor: str = "", operation_id: str | None = None) -> ErrorGroup:
        """Keep it out of the open ones, also when it comes back."""
        request = ErrorRef(fingerprint=fingerprint, actor=actor)
        return await self._client.call(contract.MUTE_ERROR, request, operation_id)

    async def resolve(self, fingerprint: str, *, actor: str = "", operation_id: str | None = None) -> ErrorGroup:
        """It is repaired: open again when it comes back."""
        request = ErrorRef(fingerprint=fingerprint, actor=actor)
        return await self._client.call(contract.RESOLVE_ERROR, request, operation_id)

    async def reopen(self, fingerprint: str, *, actor: str = "", operation_id: str | None = None) -> ErrorGroup:
        """Open it again."""
        request = ErrorRef(fingerprint=fingerprint, actor=actor)
        return await self._client.call(contract.REOPEN_ERROR, request, operation_id)

    async def retry(self, fingerprint: str, *, actor: str = "", operation_id: str | None = None) -> BulkStarted:
        """Run its failed jobs again, in bulk."""
        request = ErrorRef(fingerprint=fingerprint, actor=actor)
        return await self._client.call(contract.RETRY_ERROR, request, operation_id)


class AsyncViews:
    """``client.views``: saved queries."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self) -> Sequence[View]:
        """All of them, by name."""
        return (await self._client.call(contract.LIST_VIEWS, Empty())).views

    async def get(self, name: str) -> View:
        """A saved query; raises `NotFound`."""
        return await self._client.call(contract.GET_VIEW, ViewRef(name=name))

    async def put(
        self,
        name: str,
        query: str,
        *,
        sort: SortText = "-created",
        columns: Sequence[str] = (),
        shared: bool = True,
        actor: str = "",
        operation_id: str | None = None,
    ) -> View:
        """Save a query under a name; raises `InvalidQuery`."""
        request = PutView(name=name, query=query, sort=sort, columns=[*columns], shared=shared, actor=actor)
        return await self._client.call(contract.PUT_VIEW, request, operation_id)

    async def delete(self, name: str, *, actor: str = "", operation_id: str | None = None) -> None:
        """Forget it; raises `NotFound`."""
        await self._client.call(contract.DELETE_VIEW, ViewRef(name=name, actor=actor), operation_id)


class AsyncIndexes:
    """``client.indexes``: paths of inputs that searches find at once."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list(self) -> Sequence[IndexDeclared]:
        """All of them, and whether they are ready."""
        return (await self._client.call(contract.LIST_INDEXES, Empty())).indexes

    async def declare(
        self, path: str, *, kind: str | None = None, actor: str = "", operation_id: str | None = None
    ) -> Sequence[IndexDeclared]:
        """Index a path such as ``input.user.id``, of one kind's jobs or of all; used when it is ready."""
        request = DeclareIndex(path=path, kind=kind, actor=actor)
        return (await self._client.call(contract.DECLARE_INDEX, request, operation_id)).indexes

    async def remove(
        self, path: str, *, kind: str | None = None, actor: str = "", operation_id: str | None = None
    ) -> Sequence[IndexDeclared]:
        """Use it no more; raises `NotFound`."""
        request = RemoveIndex(path=path, kind=kind, actor=actor)
        return (await self._client.call(contract.REMOVE_INDEX, request, operation_id)).indexes


class AsyncBulkOperations:
    """``client.bulk``: one action on everything that matches, carried out by the server."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(
        self,
        action: BulkAction,
        query: str | None = None,
        *,
        ids: Sequence[int] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        title: str = "held by hand",
        tags: dict[str, str] | None = None,
        untag: Sequence[str] = (),
        asked: str | None = None,
        rate: str | None = None,
        note: str = "",
        dry_run: bool = False,
        actor: str = "",
        operation_id: str | None = None,
    ) -> BulkStarted:
        """Count what matches and, but for ``dry_run``, start; raises `InvalidQuery`, `InvalidRequest`.

        ``approve`` quotes what a dry run answered as ``asked``; raises `SubjectChanged` where that is another now.
        """
        request = CreateBulk(
            action=action,
            query=query,
            ids=None if ids is None else [*ids],
            queue=queue,
            priority=priority,
            title=title,
            tags=tags,
            untag=[*untag],
            asked=asked,
            rate=rate,
            note=note,
            dry_run=dry_run,
            actor=actor,
        )
        return await self._client.call(contract.CREATE_BULK, request, operation_id)

    async def list(self, *, limit: int = 50, cursor: str | None = None) -> Bulks:
        """Operations, last first."""
        return await self._client.call(contract.LIST_BULKS, ListBulks(limit=limit, cursor=cursor))

    async def get(self, id: int) -> Bulk:
        """How far it is; raises `NotFound`."""
        return await self._client.call(contract.GET_BULK, BulkRef(id=id))

    async def results(self, id: int, *, limit: int = 500, cursor: str | None = None) -> BulkResults:
        """Jobs it skipped or failed on, and why."""
        return await self._client.call(contract.BULK_RESULTS, ListBulkResults(id=id, limit=limit, cursor=cursor))

    async def pause(self, id: int, *, actor: str = "", operation_id: str | None = None) -> Bulk:
        """Begin no further set."""
        return await self._client.call(contract.PAUSE_BULK, BulkRef(id=id, actor=actor), operation_id)

    async def resume(self, id: int, *, actor: str = "", operation_id: str | None = None) -> Bulk:
        """Go on."""
        return await self._client.call(contract.RESUME_BULK, BulkRef(id=id, actor=actor), operation_id)

    async def abort(self, id: int, *, actor: str = "", operation_id: str | None = None) -> Bulk:
        """End it; what is done stays done."""
        return await self._client.call(contract.ABORT_BULK, BulkRef(id=id, actor=actor), operation_id)
