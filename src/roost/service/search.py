"""Search: jobs by a query, what a query means, values to complete with, errors, saved views, declared paths."""

from __future__ import annotations

from collections.abc import Callable

from roost.domain.names import check_name
from roost.domain.query import parse
from roost.engine.searching import protocol
from roost.errors import InvalidQuery, InvalidRequest
from roost.service import filtering
from roost.service.core import CallInfo, Core
from roost.wire.jobs import Empty
from roost.wire.search import (
    CheckedQuery,
    CheckQuery,
    DeclareIndex,
    ErrorDetail,
    ErrorGroup,
    ErrorPage,
    ErrorRef,
    ErrorState,
    Facets,
    Indexes,
    ListErrors,
    ListFacets,
    PutView,
    QueryFault,
    RemoveIndex,
    SearchJobs,
    SearchPage,
    View,
    ViewRef,
    Views,
)


async def search(core: Core, request: SearchJobs, call: CallInfo) -> SearchPage:
    """A page of the jobs that match; raises `InvalidQuery`, `InvalidCursor`, `Unavailable`."""
    elapsed: Callable[[], float] = core.clock.monotonic
    page = await core.read(
        core.reader.searches.search,
        request.query,
        request.sort,
        request.limit,
        request.cursor,
        request.count,
        core.now(),
        elapsed,
    )
    if request.jq is not None:
        page.jobs = await filtering.by_jq(core, request.jq, page.jobs)
    return page


async def check(core: Core, request: CheckQuery, call: CallInfo) -> CheckedQuery:
    """What a query means; a query that cannot be read is an answer too."""
    try:
        return await core.read(core.reader.searches.check, request.query, request.sort, core.now())
    except InvalidQuery as error:
        return CheckedQuery(fault=QueryFault(message=error.message, position=error.position, help=error.help))


async def facets(core: Core, request: ListFacets, call: CallInfo) -> Facets:
    """Frequent values of a field, up to a minute old; raises `InvalidQuery`, `InvalidRequest`."""
    key = (request.field, request.prefix, request.query, request.limit)
    at = core.clock.monotonic()
    found = core.facets.get(key, at)
    if found is None:
        found = await core.read(core.reader.searches.facets, request, core.now(), core.clock.monotonic)
        core.facets.put(key, at, found)
    return found


# --- errors -----------------------------------------------------------------------------------------------------------


async def errors(core: Core, request: ListErrors, call: CallInfo) -> ErrorPage:
    """Groups of errors, last seen first; raises `InvalidCursor`."""
    return await core.read(core.reader.searches.errors, request)


async def error(core: Core, request: ErrorRef, call: CallInfo) -> ErrorDetail:
    """A group, whole; raises `NotFound`."""
    return await core.read(core.reader.searches.error, request.fingerprint)


async def mute(core: Core, request: ErrorRef, call: CallInfo) -> ErrorGroup:
    """Show it no more among the open ones, also when it comes back."""
    return await _set_state(core, request, call, "muted")


async def resolve(core: Core, request: ErrorRef, call: CallInfo) -> ErrorGroup:
    """It is repaired: when it comes back it is open again."""
    return await _set_state(core, request, call, "resolved")


async def reopen(core: Core, request: ErrorRef, call: CallInfo) -> ErrorGroup:
    """Open it again."""
    return await _set_state(core, request, call, "open")


async def _set_state(core: Core, request: ErrorRef, call: CallInfo, state: ErrorState) -> ErrorGroup:
    action = protocol.SetErrorState(fingerprint=request.fingerprint, state=state, actor=request.actor or call.actor)
    await core.act(action, Empty, name=f"errors.{state}", request=request, call=call)
    return await core.read(core.reader.searches.error_group, request.fingerprint)


# --- saved views ------------------------------------------------------------------------------------------------------


async def views(core: Core, request: Empty, call: CallInfo) -> Views:
    """Every saved view."""
    return Views(views=await core.read(core.reader.searches.views))


async def view(core: Core, request: ViewRef, call: CallInfo) -> View:
    """A saved view; raises `NotFound`."""
    return await core.read(core.reader.searches.view, request.name)


async def put_view(core: Core, request: PutView, call: CallInfo) -> View:
    """Save a query under a name; raises `InvalidQuery` for one that cannot be read."""
    check_name(request.name, "name")
    parse(request.query, core.now())
    action = protocol.PutView(
        name=request.name,
        query=request.query,
        sort=request.sort,
        columns=request.columns,
        shared=request.shared,
        actor=request.actor or call.actor,
    )
    return await core.act(action, View, name="views.put", request=request, call=call)


async def delete_view(core: Core, request: ViewRef, call: CallInfo) -> Empty:
    """Forget a view; raises `NotFound`."""
    action = protocol.DeleteView(name=request.name, actor=request.actor or call.actor)
    return await core.act(action, Empty, name="views.delete", request=request, call=call)


# --- declared paths ---------------------------------------------------------------------------------------------------


async def indexes(core: Core, request: Empty, call: CallInfo) -> Indexes:
    """Every declared path."""
    return Indexes(indexes=await core.read(core.reader.searches.indexes))


async def declare_index(core: Core, request: DeclareIndex, call: CallInfo) -> Indexes:
    """Index a path of inputs; declared already, it stays as it is."""
    action = protocol.DeclareIndex(
        path=_below_input(request.path), kind=_kind(request.kind), actor=request.actor or call.actor
    )
    await core.act(action, Empty, name="indexes.declare", request=request, call=call)
    return await indexes(core, Empty(), call)


async def remove_index(core: Core, request: RemoveIndex, call: CallInfo) -> Indexes:
    """Use an index no more, and forget it in small sets; raises `NotFound`."""
    action = protocol.RemoveIndex(
        path=_below_input(request.path), kind=_kind(request.kind), actor=request.actor or call.actor
    )
    await core.act(action, Empty, name="indexes.remove", request=request, call=call)
    return await indexes(core, Empty(), call)


def _below_input(path: str) -> str:
    head, _, rest = path.partition(".")
    # In this process no pattern was tried; a query of the path is what it is for, so the parser decides.
    (term, *others) = parse(f"{path}:*", 0).terms
    if head != "input" or others or term.path != rest:
        raise InvalidRequest("only paths of inputs are indexed", path="path", help="write input.user.id")
    return rest


def _kind(kind: str | None) -> str:
    return "" if kind is None else check_name(kind, "kind")
