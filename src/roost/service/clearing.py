"""Queues drained, cleared and destroyed."""

from __future__ import annotations

import asyncio

from roost.domain.duration import parse_duration
from roost.domain.names import check_name
from roost.domain.states import State
from roost.engine import calls
from roost.errors import Conflict, InvalidRequest
from roost.service.core import CallInfo, Core
from roost.wire.jobs import Empty
from roost.wire.queues import Cleared, ClearQueue, DestroyQueue, Drained, DrainQueue, PauseQueue, Queue

LONGEST_WAIT_MS = 30_000
SET = 500
"""Jobs one transaction deletes."""
_LOOK_SECONDS = 0.05
"""How soon after a look the next commit may cause another."""
_SAFETY_SECONDS = 1.0
"""How long a commit of another node may go unheard."""


async def drain(core: Core, request: DrainQueue, call: CallInfo) -> Drained:
    """Pause the queue; answers when nothing of it runs any more, or after ``wait`` with how many still do."""
    check_name(request.name, "name")
    wait_ms = _wait_ms(request.wait)
    await _pause(core, request, call, "queues.drain")
    running = await _wait_until_idle(core, request.name, wait_ms)
    queue = await core.read(core.reader.queue, request.name, core.now())
    return Drained(drained=running == 0, running=running, queue=queue)


async def clear(core: Core, request: ClearQueue, call: CallInfo) -> Cleared:
    """Delete its jobs in these states, in small sets; everything that is theirs goes with them."""
    check_name(request.name, "name")
    states = [State(name) for name in dict.fromkeys(request.states or ("waiting", "ready", "held"))]
    return await _clear(core, request, states, request.limit, request.actor or call.actor)


async def destroy(core: Core, request: DestroyQueue, call: CallInfo) -> Cleared:
    """Delete all its jobs and forget its rules; raises `NotFound` for no queue.

    Raises `Conflict` while jobs run, or come into it by themselves: without its rules, such as an approval, those
    would start as nobody wants them to.
    """
    check_name(request.name, "name")
    wait_ms = _wait_ms(request.wait)
    actor = request.actor or call.actor
    before = await _known(core, request.name)
    if before.running and not request.force:
        raise Conflict(
            f"{before.running} of its jobs run", path="name", help="drain the queue first, or destroy it with force"
        )
    if not request.force and (feeders := await _feeders(core, request.name)):
        raise Conflict(
            f"jobs come into it by {', '.join(feeders)}",
            path="name",
            help="pause or delete that first, or destroy the queue with force: it begins anew with the next job",
        )
    await _pause(core, request, call, "queues.destroy")
    if request.force:
        note = f"the queue {request.name} is destroyed"
        await core.act_for_itself(calls.CancelRunning(name=request.name, actor=actor, note=note))
    running = await _wait_until_idle(core, request.name, wait_ms)
    if running:
        raise Conflict(
            f"{running} of its jobs still run" + (", and are asked to stop" if request.force else ""),
            path="name",
            help="the queue is paused; destroy it again later",
        )
    states: list[State] = [state for state in State if state is not State.RUNNING]
    cleared = await _clear(core, request, states, request.limit, actor)
    if not cleared.more:
        forgotten = await core.act_for_itself(calls.ForgetQueue(name=request.name, actor=actor))
        # A job came in meanwhile: it goes with the next call.
        cleared.more = forgotten.more
        await core.read_rules()
    return cleared


async def _feeders(core: Core, queue: str) -> list[str]:
    """What puts jobs into a queue without anybody's doing, the first few."""
    schedules = await core.read(core.reader.schedules)
    sources = await core.read(core.reader.sources_of, queue)
    found = [f"schedule {each.name!r}" for each in schedules if each.job.queue == queue and not each.paused]
    return [*found[:3], *(f"webhook source {each.name!r}" for each in sources)]


async def _pause(core: Core, request: PauseQueue, call: CallInfo, name: str) -> None:
    action = calls.SetQueuePaused(request.name, True, actor=request.actor or call.actor)
    await core.act(action, Empty, name=name, request=request, call=call)


async def _wait_until_idle(core: Core, queue: str, wait_ms: int) -> int:
    """How many jobs of a paused queue run: none as soon as that is so, else after ``wait_ms``.

    Claims that looked at the queue before it was paused count as one that runs each, until they have ended.
    """
    clock = core.clock
    until = clock.monotonic() + wait_ms / 1000
    heard = core.hub.listen()
    claims = await core.read(core.reader.claims_under_way)
    try:
        while True:
            heard.clear()
            if claims:
                claims &= await core.read(core.reader.claims_under_way)
            running = await core.read(core.reader.running, queue) or len(claims)
            left = until - clock.monotonic()
            if running == 0 or left <= 0 or core.hub.closed:
                return running
            await clock.wait(heard, min(left, _LOOK_SECONDS if claims else _SAFETY_SECONDS))
            await clock.wait(asyncio.Event(), min(_LOOK_SECONDS, until - clock.monotonic()))
    finally:
        core.hub.unlisten(heard)


async def _clear(core: Core, request: PauseQueue, states: list[State], limit: int, actor: str) -> Cleared:
    deleted = 0
    for state in states:
        while deleted < limit:
            size = min(SET, limit - deleted)
            acted = await core.act_for_itself(calls.ClearQueue(name=request.name, state=state, limit=size, actor=actor))
            deleted += acted.count
            if not acted.more:
                break
        else:
            return Cleared(deleted=deleted, more=True)
    return Cleared(deleted=deleted)


async def _known(core: Core, name: str) -> Queue:
    return await core.read(core.reader.queue, name, core.now())


def _wait_ms(text: str) -> int:
    wait_ms = parse_duration(text, path="wait")
    if wait_ms > LONGEST_WAIT_MS:
        raise InvalidRequest("wait is over 30s", path="wait", help="wait for 30s at most, and ask again")
    return wait_ms
