"""What a store does for searches and bulk operations: control operations as data, see `roost.engine.calls`."""

from __future__ import annotations

from typing import Literal

import msgspec

from roost.domain.bulk import Work


class SearchAction(msgspec.Struct, tag=True, kw_only=True):
    """What all of them are."""


class DeclareIndex(SearchAction, tag="DeclareIndexedPath", kw_only=True):
    """``path`` is below the input; an empty ``kind`` is every kind."""

    path: str
    kind: str
    actor: str = ""


class RemoveIndex(SearchAction, tag="RemoveIndexedPath", kw_only=True):
    path: str
    kind: str
    actor: str = ""


class FillIndex(SearchAction, tag="FillIndexedPath", kw_only=True):
    """One set of an index that is made or removed; does nothing where ``expected`` holds no more."""

    path: str
    kind: str
    expected: int | None = None
    limit: int = 500
    removing: bool = False


class SetErrorState(SearchAction, tag=True, kw_only=True):
    fingerprint: str
    state: Literal["open", "muted", "resolved"]
    actor: str = ""


class PutView(SearchAction, tag="PutSavedView", kw_only=True):
    name: str
    query: str
    sort: str
    columns: list[str]
    shared: bool
    actor: str = ""


class DeleteView(SearchAction, tag="DeleteSavedView", kw_only=True):
    name: str
    actor: str = ""


class CreateBulk(SearchAction, tag=True, kw_only=True):
    """``ids`` instead of a query; ``now`` is what the query's relative times count from.

    An approval always has ``ids``, and ``asked``: see `roost.domain.holds.asked`.
    """

    query: str
    ids: list[int] | None
    work: Work
    asked: str | None = None
    total: int
    exact: bool
    actor: str = ""


class StepBulk(SearchAction, tag=True, kw_only=True):
    """One set: ``ids`` were found below ``expected``, and ``cursor`` is where the next set begins (-1: at the end).

    Does nothing where another node was first, or somebody stopped the operation.
    """

    id: int
    expected: int
    cursor: int
    ids: list[int]
    next_at: int | None = None


class SetBulkState(SearchAction, tag=True, kw_only=True):
    """``failed`` is the server's own, with ``error``: a set could not be carried out."""

    id: int
    state: Literal["running", "paused", "aborted", "failed"]
    actor: str = ""
    error: str | None = None


class PruneBulks(SearchAction, tag=True, kw_only=True):
    """Forget operations and groups of errors that ended before."""

    before: int


SearchActions = (
    DeclareIndex
    | RemoveIndex
    | FillIndex
    | SetErrorState
    | PutView
    | DeleteView
    | CreateBulk
    | StepBulk
    | SetBulkState
    | PruneBulks
)
