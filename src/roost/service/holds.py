"""Holds: what people are asked, and what they decide."""

from __future__ import annotations

from roost.domain.admission import INPUT_LIMIT
from roost.domain.duration import parse_duration
from roost.domain.holds import Decision
from roost.engine import calls
from roost.service.admitting import checked
from roost.service.core import CallInfo, Core
from roost.wire.holds import AnswerHold, DecideHold, ExtendHold, Hold, HoldPage, HoldRef, ListHolds


async def page(core: Core, request: ListHolds, call: CallInfo) -> HoldPage:
    """A page of holds, first to expire first; raises `InvalidCursor`."""
    return await core.read(core.reader.holds, request)


async def get(core: Core, request: HoldRef, call: CallInfo) -> Hold:
    """A hold with its subject; raises `NotFound`."""
    return await core.read(core.reader.hold, request.id)


async def approve(core: Core, request: DecideHold, call: CallInfo) -> Hold:
    """Let the job go on; raises `SubjectChanged`, `HoldDecided`, `HoldExpired`, `Conflict`."""
    return await _decide(core, request, call, "approve", None)


async def deny(core: Core, request: DecideHold, call: CallInfo) -> Hold:
    """Fail the job; raises as `approve`."""
    return await _decide(core, request, call, "deny", None)


async def answer(core: Core, request: AnswerHold, call: CallInfo) -> Hold:
    """Answer, and let the job go on; raises as `approve`, and `InvalidJson` or `TooLarge` for the answer."""
    return await _decide(core, request, call, "answer", checked(request.answer, INPUT_LIMIT, "answer"))


async def extend(core: Core, request: ExtendHold, call: CallInfo) -> Hold:
    """Move the deadline; raises `InvalidDuration`, `HoldDecided`, `HoldExpired`."""
    by_ms = parse_duration(request.by, path="by")
    action = calls.ExtendHold(id=request.id, by_ms=by_ms, actor=request.actor or call.actor)
    return await core.act(action, Hold, name="holds.extend", request=request, call=call)


async def _decide(core: Core, request: DecideHold, call: CallInfo, decision: Decision, text: str | None) -> Hold:
    action = calls.DecideHold(
        id=request.id,
        decision=decision,
        subject_hash=request.subject_hash,
        actor=request.actor or call.actor,
        note=request.note,
        answer=text,
    )
    return await core.act(action, Hold, name=f"holds.{decision}", request=request, call=call)
