"""Queues: look, pause, resume, set rules."""

from __future__ import annotations

from roost.domain import limits, order, retry
from roost.domain.duration import parse_duration
from roost.domain.names import check_name
from roost.domain.records import QueueRules
from roost.engine import calls
from roost.service.core import CallInfo, Core
from roost.wire.jobs import Empty
from roost.wire.queues import EditQueue, PauseQueue, Queue, QueueRef, Queues


async def every(core: Core, request: Empty, call: CallInfo) -> Queues:
    """All queues with their counts."""
    return Queues(queues=await core.read(core.reader.queues, core.now()))


async def get(core: Core, request: QueueRef, call: CallInfo) -> Queue:
    """A queue; raises `NotFound`."""
    return await core.read(core.reader.queue, request.name, core.now())


async def pause(core: Core, request: PauseQueue, call: CallInfo) -> Queue:
    """Start no more of its jobs; those that run go on."""
    return await _set_paused(core, request, call, True)


async def resume(core: Core, request: PauseQueue, call: CallInfo) -> Queue:
    """Start its jobs again."""
    return await _set_paused(core, request, call, False)


async def edit(core: Core, request: EditQueue, call: CallInfo) -> Queue:
    """Set a queue's rules, which hold for jobs enqueued from now on; raises `InvalidRequest` with the field's path."""
    check_name(request.name, "name")
    check_rules(request.rules, "rules")
    action = calls.SetQueueRules(request.name, request.rules, actor=request.actor or call.actor)
    await core.act(action, Empty, name="queues.edit", request=request, call=call)
    await core.read_rules()
    return await core.read(core.reader.queue, request.name, core.now())


def _by_state(rules: QueueRules) -> dict[str, str | None]:
    kept = rules.retention_states
    return {} if kept is None else {state: getattr(kept, state) for state in kept.__struct_fields__}


def check_rules(rules: QueueRules, path: str) -> None:
    """Refuse rules that no job could be stored with."""
    if rules.retry is not None:
        retry.validate(rules.retry, f"{path}.retry")
    durations = {
        "timeout": rules.timeout,
        "retention": rules.retention,
        "retention_failed": rules.retention_failed,
        "result_ttl": rules.result_ttl,
        "deadline": rules.deadline,
        **{f"retention_states.{state}": kept for state, kept in _by_state(rules).items()},
        "hold.expires": rules.hold.expires if rules.hold else None,
    }
    for field, text in durations.items():
        if text is not None:
            parse_duration(text, path=f"{path}.{field}")
    order.check_order(rules, path)
    limits.check_limits(rules, path)


async def _set_paused(core: Core, request: PauseQueue, call: CallInfo, paused: bool) -> Queue:
    check_name(request.name, "name")
    action = calls.SetQueuePaused(request.name, paused, actor=request.actor or call.actor)
    name = "queues.pause" if paused else "queues.resume"
    await core.act(action, Empty, name=name, request=request, call=call)
    return await core.read(core.reader.queue, request.name, core.now())
