"""What people declare and decide around searches: indexed paths, saved views, states of error groups."""

from __future__ import annotations

from roost.engine.actions import bulks
from roost.engine.batch import Effects
from roost.engine.calls import Acted
from roost.engine.driver import Transaction
from roost.engine.searching.protocol import (
    CreateBulk,
    DeclareIndex,
    DeleteView,
    FillIndex,
    PruneBulks,
    PutView,
    RemoveIndex,
    SearchAction,
    SetBulkState,
    SetErrorState,
    StepBulk,
)
from roost.engine.searching.reading import view
from roost.engine.work.indexing import put as put_index
from roost.engine.work.moves import record
from roost.engine.work.texts import pack, unpack
from roost.errors import Conflict, NotFound
from roost.wire.codec import encode

PATHS_LIMIT = 20
CLEAR_LIMIT = 2_000
"""Rows of a removed index that are deleted at once."""


def act(transaction: Transaction, action: SearchAction, now: int) -> Acted:
    """The answer to an action of this kind."""
    match action:
        case StepBulk():
            return bulks.step(transaction, action, now)
        case CreateBulk():
            return bulks.create(transaction, action, now)
        case SetBulkState():
            return bulks.set_state(transaction, action, now)
        case PruneBulks():
            return bulks.prune(transaction, action, now)
        case DeclareIndex():
            return declare_index(transaction, action, now)
        case RemoveIndex():
            return remove_index(transaction, action, now)
        case FillIndex():
            return fill_index(transaction, action, now)
        case SetErrorState():
            return set_error_state(transaction, action, now)
        case PutView():
            return put_view(transaction, action, now)
        case DeleteView():
            return delete_view(transaction, action, now)
    raise TypeError(f"{type(action).__name__} is no action of searches")


def declare_index(transaction: Transaction, action: DeclareIndex, now: int) -> Acted:
    """Begin to index a path; declared already, it stays as it is."""
    known = {(path, kind): state for path, kind, state, *_ in transaction.rows("index_paths")}
    state = known.get((action.path, action.kind))
    if state == "removing":
        raise Conflict("the index is being removed", path="path", help="wait until it is gone, and declare it again")
    if state is None:
        if len(known) >= PATHS_LIMIT:
            raise Conflict(
                f"{PATHS_LIMIT} paths are declared already", path="path", help="roost indexes remove one of them first"
            )
        transaction.send("index_declare", path=action.path, kind=action.kind, now=now, actor=action.actor or None)
        record(transaction, [(None, "index_declared", action.actor, _named(action))], now)
    return Acted("{}", Effects(chores=True), 1)


def remove_index(transaction: Transaction, action: RemoveIndex, now: int) -> Acted:
    """Use an index no more; its rows go in small sets."""
    known = {(path, kind) for path, kind, *_ in transaction.rows("index_paths")}
    if (action.path, action.kind) not in known:
        raise NotFound(f"there is no index of input.{action.path}", path="path", help="roost indexes list")
    transaction.send("index_state", path=action.path, kind=action.kind, state="removing", filled_to=now)
    record(transaction, [(None, "index_removed", action.actor, _named(action))], now)
    return Acted("{}", Effects(chores=True), 1)


def _named(action: DeclareIndex | RemoveIndex) -> dict[str, object]:
    return {"path": f"input.{action.path}", "kind": action.kind or None}


def fill_index(transaction: Transaction, action: FillIndex, now: int) -> Acted:
    """Index one set of the jobs that were there before the declaration, or delete one set of a removed index."""
    path, kind = action.path, action.kind
    if action.removing:
        count = transaction.run("index_clear", path=path, kind=kind, limit=CLEAR_LIMIT)
        if count < CLEAR_LIMIT:
            transaction.send("index_forget", path=path, kind=kind)
        return Acted("{}", Effects(), count, count >= CLEAR_LIMIT)
    if action.expected is None:
        last, more = transaction.one("index_last_job"), True
    else:
        jobs = unpack(transaction.one("index_inputs", below=action.expected, limit=action.limit))
        put_index(transaction, [(id, name, text) for id, name, text in jobs], {kind: [path]})
        more = len(jobs) == action.limit
        last = jobs[-1][0] - 1 if more else 0
    state = "filling" if more else "ready"
    done = transaction.run(
        "index_advance", path=path, kind=kind, expected=action.expected, filled_to=last, state=state, was="filling"
    )
    return Acted("{}", Effects(), done, more)


def set_error_state(transaction: Transaction, action: SetErrorState, now: int) -> Acted:
    """Mute, resolve or open a group of errors."""
    changed = transaction.run(
        "error_group_state", fingerprint=action.fingerprint, state=action.state, now=now, actor=action.actor or None
    )
    if not changed:
        raise NotFound(f"there is no error {action.fingerprint[:40]!a}", path="fingerprint", help="roost errors list")
    record(transaction, [(None, f"error_{action.state}", action.actor, {"fingerprint": action.fingerprint})], now)
    return Acted("{}", Effects(), 1)


def put_view(transaction: Transaction, action: PutView, now: int) -> Acted:
    """Save a view, or write over it."""
    transaction.send(
        "view_put",
        name=action.name,
        query=action.query,
        sort=action.sort,
        columns=pack(action.columns),
        owner=action.actor or None,
        shared=int(action.shared),
        now=now,
    )
    record(transaction, [(None, "view_saved", action.actor, {"view": action.name, "query": action.query})], now)
    return Acted(encode(view(transaction.row("view_row", name=action.name))).decode(), Effects(), 1)


def delete_view(transaction: Transaction, action: DeleteView, now: int) -> Acted:
    """Forget a view."""
    if not transaction.run("view_delete", name=action.name):
        raise NotFound(f"there is no view {action.name}", path="name", help="roost views list shows what there is")
    record(transaction, [(None, "view_deleted", action.actor, {"view": action.name})], now)
    return Acted("{}", Effects(), 1)
