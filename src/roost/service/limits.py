"""Limits: what each key allows and how much of it is taken; what it allows from now on."""

from __future__ import annotations

from roost.domain import limits
from roost.domain.templates import check_key
from roost.engine import calls
from roost.errors import InvalidRequest
from roost.service.core import CallInfo, Core
from roost.wire.limits import EditLimit, Limiter, LimitPage, ListLimits


async def page(core: Core, request: ListLimits, call: CallInfo) -> LimitPage:
    """A page of keys, in their order; raises `InvalidCursor`, and `InvalidRequest` for a prefix of no key."""
    if request.prefix:
        check_key(request.prefix, "prefix")
    return await core.read(core.reader.limits, request, core.now())


async def edit(core: Core, request: EditLimit, call: CallInfo) -> Limiter:
    """Set what a key allows; raises `InvalidRequest` with the field's path."""
    check_key(request.key, "key")
    if request.key.startswith(limits.QUEUE):
        queue = request.key.removeprefix(limits.QUEUE)
        raise InvalidRequest(
            "this is a queue's own limit", path="key", help=f"roost queues edit {queue[:40]} --concurrency 4"
        )
    numbers = limits.numbers(request.concurrency, request.rate, request.burst, "")
    action = calls.SetLimit(request.key, numbers, actor=request.actor or call.actor)
    return await core.act(action, Limiter, name="limits.edit", request=request, call=call)
