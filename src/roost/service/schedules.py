"""Schedules: put, look, preview, pause, run now, delete."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from roost.domain import admission
from roost.domain import schedule as rules
from roost.domain.names import check_name
from roost.domain.records import Flag, JobRow
from roost.domain.schedule import ScheduleRule
from roost.domain.states import State
from roost.domain.zones import load_zone
from roost.engine import calls
from roost.engine.calls import Fire, FireSchedule
from roost.engine.findings import ScheduleFacts
from roost.errors import InvalidRequest, NotFound
from roost.service.admitting import checked_input, metadata_text, refuse_flow, to_request
from roost.service.core import CallInfo, Core
from roost.wire.codec import decode, encode, milliseconds, timestamp
from roost.wire.jobs import Empty, Enqueued, NewJob
from roost.wire.schedules import (
    Backfilled,
    BackfillSchedule,
    ListRuns,
    Preview,
    PreviewRule,
    PreviewSchedule,
    PutSchedule,
    Runs,
    Schedule,
    ScheduleRef,
    Schedules,
)


async def every(core: Core, request: Empty, call: CallInfo) -> Schedules:
    """All schedules."""
    return Schedules(schedules=await core.read(core.reader.schedules))


async def get(core: Core, request: ScheduleRef, call: CallInfo) -> Schedule:
    """A schedule; raises `NotFound`."""
    return await core.read(core.reader.schedule, request.name)


async def put(core: Core, request: PutSchedule, call: CallInfo) -> Schedule:
    """Create or edit a schedule; raises what its rule or its job are refused for, with the field's path.

    Putting what is there already changes nothing: a deployment that declares its schedules loses no missed fire.
    """
    check_name(request.name, "name")
    rules.validate(request.rule, "rule")
    now = core.now()
    # Before anything is made of it: what is in an input may not even be text.
    checked_input(request.job, core.rules, "job.")
    metadata_text(request.job.metadata, "job.metadata")
    refuse_flow(request.job, "job.", "a schedule's job")
    template = encode(request.job).decode()
    # The whole way to a row: what could not be enqueued is refused now, not when nobody looks.
    job_row(core, request.name, template, now, now)
    facts = await _facts(core, request.name)
    if facts is not None and request.rule.max_runs is not None and facts.runs >= request.rule.max_runs:
        raise InvalidRequest(
            f"the schedule has made {facts.runs} jobs already", path="rule.max_runs", help="give a larger number"
        )
    if facts is not None and _unchanged(facts, request, template):
        return await core.read(core.reader.schedule, request.name)
    action = calls.PutSchedule(
        name=request.name,
        rule=request.rule,
        job=template,
        paused=request.paused,
        remove_after_last=request.remove_after_last,
        next_fire=_next_fire(facts, request.rule, now),
        forget_queue=facts is not None and facts.rule != request.rule and rules.awaits_completion(facts.rule),
        actor=request.actor or call.actor,
    )
    return await core.act(action, Schedule, name="schedules.put", request=request, call=call, now=now)


async def preview_rule(core: Core, request: PreviewRule, call: CallInfo) -> Preview:
    """The next fires of a rule; raises what it is refused for."""
    rules.validate(request.rule, "rule")
    now = core.now()
    return _preview(request.rule, now, now, request.count)


async def preview(core: Core, request: PreviewSchedule, call: CallInfo) -> Preview:
    """The next fires of a schedule; raises `NotFound`."""
    facts = await core.read(core.reader.schedule_facts, request.name)
    return _preview(facts.rule, core.now(), facts.created_at, request.count)


async def pause(core: Core, request: ScheduleRef, call: CallInfo) -> Schedule:
    """Fire no more; the next fire is kept. Raises `NotFound`."""
    action = calls.SetSchedulePaused(request.name, True, actor=request.actor or call.actor)
    return await core.act(action, Schedule, name="schedules.pause", request=request, call=call)


async def resume(core: Core, request: ScheduleRef, call: CallInfo) -> Schedule:
    """Fire again; fires that lie in the pause are missed, and treated as the rule says. Raises `NotFound`."""
    action = calls.SetSchedulePaused(request.name, False, actor=request.actor or call.actor)
    return await core.act(action, Schedule, name="schedules.resume", request=request, call=call)


async def run(core: Core, request: ScheduleRef, call: CallInfo) -> Enqueued:
    """Fire now, whatever else is going on; the next fire is not shifted. Raises `NotFound`."""
    facts = await core.read(core.reader.schedule_facts, request.name)
    now = core.now()
    row = job_row(core, facts.name, facts.job, now, now, watched=watches(facts.rule))
    action = FireSchedule(name=facts.name, expected=None, fires=[Fire(now, "run_now", row)], next_fire=facts.next_fire)
    return await core.act(action, Enqueued, name="schedules.run", request=request, call=call, now=now)


async def backfill(core: Core, request: BackfillSchedule, call: CallInfo) -> Backfilled:
    """Make the jobs of past instants that have none; raises `NotFound`, `InvalidRequest`, what admission refuses."""
    facts = await core.read(core.reader.schedule_facts, request.name)
    now = core.now()
    first, last = milliseconds(request.first, "first"), milliseconds(request.last, "last")
    if first > last:
        raise InvalidRequest("last is before first", path="last", help="swap them")
    if last > now:
        raise InvalidRequest("last is still to come", path="last", help="future instants fire by themselves")
    if rules.awaits_completion(facts.rule):
        raise InvalidRequest("intervals after completion have no instants to fill", path="name", help="run it instead")
    instants = rules.fires_between(facts.rule, first - 1, last, facts.created_at, request.limit + 1)
    more, instants = len(instants) > request.limit, instants[: request.limit]
    if request.dry_run:
        return Backfilled(fires=[timestamp(instant) for instant in instants], more=more)
    fires = [Fire(instant, "backfilled", job_row(core, facts.name, facts.job, instant, now)) for instant in instants]
    action = calls.Backfill(name=facts.name, fires=fires, actor=request.actor or call.actor)
    made = await core.act(action, Backfilled, name="schedules.backfill", request=request, call=call, now=now)
    made.more = more
    return made


async def delete(core: Core, request: ScheduleRef, call: CallInfo) -> Empty:
    """Delete a schedule; its jobs and runs stay. Raises `NotFound`."""
    action = calls.DeleteSchedule(request.name, actor=request.actor or call.actor)
    return await core.act(action, Empty, name="schedules.delete", request=request, call=call)


async def runs(core: Core, request: ListRuns, call: CallInfo) -> Runs:
    """What the fires became, newest first; raises `InvalidCursor`."""
    return await core.read(core.reader.runs, request.name, request.limit, request.cursor)


def job_row(
    core: Core, name: str, template: str, fire_at: int, now: int, *, start_at: int | None = None, watched: bool = False
) -> JobRow:
    """The job of one fire: ``start_at`` delays its start (jitter); raises what admission refuses."""
    job = decode(template, NewJob)
    text = checked_input(job, core.rules, "job.")
    request = to_request(job, text, "job.", schedule=name, fire_at=fire_at)
    row = admission.admit(request, core.rules.of(job.queue), now, "job.")
    shape = row.shape
    if start_at is not None and start_at > now and shape.state is State.READY:
        shape = msgspec.structs.replace(shape, state=State.WAITING, reason="scheduled", run_at=start_at)
    if watched:
        shape = msgspec.structs.replace(shape, flags=shape.flags | Flag.WATCHED)
    row.shape = shape
    return row


def watches(rule: ScheduleRule) -> bool:
    """Whether a schedule wants to be told when its jobs end."""
    return rules.awaits_completion(rule) or rule.overlap == "queue"


async def _facts(core: Core, name: str) -> ScheduleFacts | None:
    try:
        return await core.read(core.reader.schedule_facts, name)
    except NotFound:
        return None


def _unchanged(facts: ScheduleFacts, request: PutSchedule, template: str) -> bool:
    return (
        facts.rule == request.rule
        and facts.job == template
        and facts.remove_after_last == request.remove_after_last
        and request.paused in (None, facts.paused)
    )


def _next_fire(facts: ScheduleFacts | None, rule: ScheduleRule, now: int) -> int | None:
    if facts is not None and facts.rule == rule and facts.next_fire is not None:
        # Only the job or the pause is edited: a fire that is due, or missed, stays so.
        return facts.next_fire
    next_fire = rules.next_fire(rule, now, now if facts is None else facts.created_at)
    if next_fire is None:
        raise InvalidRequest("the schedule would never fire", path="rule", help="its time lies in the past")
    return next_fire


def _preview(rule: ScheduleRule, now: int, anchor: int, count: int) -> Preview:
    fires = rules.preview(rule, now, anchor, count)
    zone = load_zone(rule.zone, path="rule.zone")
    local = [datetime.fromtimestamp(fire / 1000, UTC).astimezone(zone).isoformat() for fire in fires]
    return Preview(description=rules.describe(rule), fires=[timestamp(fire) for fire in fires], local=local)
