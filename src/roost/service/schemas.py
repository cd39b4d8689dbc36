"""Kinds and their schemas: look, set, take away."""

from __future__ import annotations

from roost.domain.names import check_name
from roost.engine import calls
from roost.service.admitting import checked
from roost.service.core import CallInfo, Core
from roost.service.kinds import SCHEMA_LIMIT, compiled
from roost.wire.jobs import Empty
from roost.wire.kinds import KindRef, KindSchema, KindSchemas, PutKind


async def every(core: Core, request: Empty, call: CallInfo) -> KindSchemas:
    """All kinds that have a schema."""
    return KindSchemas(kinds=await core.read(core.reader.kinds))


async def get(core: Core, request: KindRef, call: CallInfo) -> KindSchema:
    """A kind's schema; raises `NotFound`."""
    return await core.read(core.reader.kind, check_name(request.name, "name"))


async def put(core: Core, request: PutKind, call: CallInfo) -> KindSchema:
    """Give a kind a schema; raises `InvalidRequest` for what is none. Other nodes know within seconds."""
    check_name(request.name, "name")
    text = checked(request.schema, SCHEMA_LIMIT, "schema", "a schema's limit, which no setting raises")
    compiled(text, "schema")
    action = calls.PutKind(request.name, text, actor=request.actor or call.actor)
    stored = await core.act(action, KindSchema, name="kinds.put", request=request, call=call)
    await core.read_rules()
    return stored


async def delete(core: Core, request: KindRef, call: CallInfo) -> Empty:
    """Take a kind's schema away; raises `NotFound`."""
    action = calls.DeleteKind(check_name(request.name, "name"), actor=request.actor or call.actor)
    gone = await core.act(action, Empty, name="kinds.delete", request=request, call=call)
    await core.read_rules()
    return gone
