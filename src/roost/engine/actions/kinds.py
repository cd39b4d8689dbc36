"""Schemas of kinds; they hold for inputs that come later, nothing stored is looked at again."""

from __future__ import annotations

from roost.engine import rows
from roost.engine.batch import Effects
from roost.engine.calls import Acted, DeleteKind, PutKind
from roost.engine.driver import Transaction
from roost.engine.work.moves import record
from roost.errors import NotFound
from roost.wire.codec import encode


def put(transaction: Transaction, action: PutKind, now: int) -> Acted:
    """Give a kind a schema, or another one."""
    transaction.send("kind_put", name=action.name, schema=action.schema, actor=action.actor or None, now=now)
    record(transaction, [(None, "kind_changed", action.actor, {"kind": action.name})], now)
    told = rows.kind(transaction.row("kind_row", name=action.name))
    return Acted(encode(told).decode(), Effects(rules=True), 1)


def delete(transaction: Transaction, action: DeleteKind, now: int) -> Acted:
    """Take its schema away: any input fits again."""
    if not transaction.run("kind_delete", name=action.name):
        raise NotFound(
            f"the kind {action.name} has no schema", path="name", help="roost kinds list shows those that have"
        )
    record(transaction, [(None, "kind_deleted", action.actor, {"kind": action.name})], now)
    return Acted("{}", Effects(rules=True), 1)
