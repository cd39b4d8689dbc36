"""A job's history and its explanation, from what the reader tells to what the wire carries."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from roost.domain import explain as domain
from roost.domain import why as reasons
from roost.domain.explain import OpenHold, PastEvent, Situation
from roost.domain.settle import DEFAULT_RETRY
from roost.domain.states import TERMINAL, State
from roost.domain.why import Need, Waits
from roost.engine import flowreading
from roost.engine.findings import History
from roost.service.core import CallInfo, Core
from roost.service.seen import LATELY_MS
from roost.wire.codec import encode, timestamp
from roost.wire.jobs import ErrorInfo, ExplainedFact, Explanation, JobEvent, JobEvents, JobRef
from roost.wire.why import Blocker, Why


async def events(core: Core, request: JobRef, call: CallInfo) -> JobEvents:
    """A job's history, numbered from 1; raises `NotFound`."""
    history = await core.read(core.reader.history, request.id, core.now() - LATELY_MS)
    return JobEvents(
        events=[
            JobEvent(
                number=event.number,
                at=timestamp(event.at),
                type=event.type,
                actor=event.actor,
                data=msgspec.Raw(encode(event.data)) if event.data else None,
            )
            for event in composed(history)
        ]
    )


async def explain(core: Core, request: JobRef, call: CallInfo) -> Explanation:
    """Why a job is where it is; raises `NotFound`."""
    now = core.now()
    since = now - LATELY_MS
    history = await core.read(core.reader.history, request.id, since)
    situation = _situation(history, core.seen.takers(history.job.queue, since))
    found = reasons.blockers(situation, await _waits(core, history))
    blocked = [blocker.text for blocker in found if blocker.kind in ("dependency", "signal", "limit")]
    account = domain.explain(situation, composed(history), now, blocked)
    return Explanation(
        id=history.job.id,
        state=history.job.state,
        reason=history.job.reason,
        since=timestamp(account.since),
        facts=[ExplainedFact(text=fact.text, event=fact.event) for fact in account.facts],
        next=account.next,
        actions=account.actions,
    )


async def why(core: Core, request: JobRef, call: CallInfo) -> Why:
    """What a job waits for; raises `NotFound`."""
    since = core.now() - LATELY_MS
    history = await core.read(core.reader.history, request.id, since)
    situation = _situation(history, core.seen.takers(history.job.queue, since))
    found = reasons.blockers(situation, await _waits(core, history))
    return Why(
        id=situation.id,
        state=situation.state,
        reason=situation.reason,
        answer=reasons.answer(situation, found),
        blockers=[
            Blocker(
                kind=each.kind,
                text=each.text,
                until=None if each.until is None else timestamp(each.until),
                job=each.job,
                hold=each.hold,
                key=each.key,
                action=each.action,
            )
            for each in found
        ],
    )


async def _waits(core: Core, history: History) -> Waits:
    """The jobs, the signal or the limits that it waits for; read only where it may wait for any."""
    id, reason = history.job.id, history.job.reason
    if history.job.state is State.READY or (history.job.state is State.WAITING and reason == "throttled"):
        return Waits(limits=await core.read(core.reader.limits_of, id, core.now()))
    if history.job.state is not State.WAITING:
        return Waits()
    if reason not in ("dependency", "event"):
        return Waits()
    found = await core.read(core.reader.blockers, id)
    needs = [msgspec.structs.replace(_need(each), last=each.last and _need(each.last)) for each in found.jobs]
    return Waits(needs=needs, needs_count=found.count, signal=found.signal)


def _need(blocker: flowreading.Blocker) -> Need:
    return Need(id=blocker.id, kind=blocker.kind, state=blocker.state, reason=blocker.reason, circle=blocker.circle)


def composed(history: History) -> list[PastEvent]:
    """All events of the job's life, in order: those that are stored, and those its rows tell."""
    job = history.job
    created: dict[str, object] = {"queue": job.queue, "kind": job.kind}
    if job.schedule:
        created["schedule"] = job.schedule
    found = [PastEvent(at=history.created_at, type="created", actor=job.owner, data=created)]
    for attempt in history.attempts:
        if attempt.started_at is not None:
            data: dict[str, object] = {"attempt": attempt.number, "worker": attempt.worker}
            found.append(PastEvent(at=_ms(attempt.started_at), type="started", data=data))
        if attempt.ended_at is not None:
            data = {"attempt": attempt.number, "outcome": attempt.outcome}
            if attempt.error is not None:
                data["error"] = _line(attempt.error)
            found.append(PastEvent(at=_ms(attempt.ended_at), type="attempt_ended", data=data))
    for step in history.steps:
        data = {"name": step.name, "kind": step.kind, "attempt": step.attempt}
        found.append(PastEvent(at=_ms(step.finished_at), type="step", data=data))
    for mark in history.unrecorded:
        data = {"name": mark.name, "kind": mark.kind, "attempt": mark.attempt}
        found.append(PastEvent(at=_ms(mark.started_at), type="step_started", data=data))
    for hold in history.holds:
        data = {"hold": hold.id, "title": hold.title, "reason": hold.reason}
        found.append(PastEvent(at=_ms(hold.created_at), type="held", data=data))
        if hold.decided_at is not None:
            data = {"hold": hold.id, "decision": hold.state, "subject_hash": hold.subject_hash}
            if hold.note:
                data["note"] = hold.note
            found.append(PastEvent(at=_ms(hold.decided_at), type="decided", actor=hold.decided_by, data=data))
    found += [PastEvent(at=each.at, type=each.type, actor=each.actor, data=_data(each.data)) for each in history.events]
    stored = {event.type for event in history.events}
    if job.state in TERMINAL and job.finished_at is not None and job.state.value not in stored:
        data = {"reason": job.reason} if job.reason else {}
        found.append(PastEvent(at=_ms(job.finished_at), type=job.state.value, data=data))
    return domain.compose(found)


def _situation(history: History, claiming: int) -> Situation:
    """``claiming``: workers that claim from the queue here; they may have written nothing for long, or ever."""
    job = history.job
    rule = job.retry or DEFAULT_RETRY
    hold = next((each for each in history.holds if each.state == "open"), None)
    return Situation(
        id=job.id,
        kind=job.kind,
        queue=job.queue,
        state=job.state,
        reason=job.reason,
        attempt=job.attempt,
        failures=job.failures,
        retries=rule.retries,
        created_at=history.created_at,
        run_at=_ms_or_none(job.run_at),
        started_at=_ms_or_none(job.started_at),
        finished_at=_ms_or_none(job.finished_at),
        expires_at=_ms_or_none(job.expires_at),
        deadline_at=_ms_or_none(job.deadline_at),
        lease_until=_ms_or_none(job.lease_until),
        worker=job.worker,
        cancel_requested=job.cancel_requested,
        schedule=job.schedule,
        error=None if job.error is None else _line(job.error),
        open_hold=None
        if hold is None
        else OpenHold(
            id=hold.id,
            title=hold.title,
            reason=hold.reason,
            deadline=_ms_or_none(hold.deadline),
            on_expiry=hold.on_expiry,
        ),
        queue_paused_at=history.queue_paused_at,
        queue_paused_by=history.queue_paused_by,
        ready_before=history.ready_before,
        workers=max(history.workers, claiming),
        no_handler=history.workers >= max(claiming, 1) and not history.able,
    )


def _line(error: ErrorInfo) -> str:
    message = error.message.partition("\n")[0][:300]
    return f"{error.type}: {message}" if message else error.type


def _data(text: str | None) -> dict[str, Any]:
    found = None if text is None else msgspec.json.decode(text)
    return found if isinstance(found, dict) else {}


def _ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def _ms_or_none(text: str | None) -> int | None:
    return None if text is None else _ms(text)
