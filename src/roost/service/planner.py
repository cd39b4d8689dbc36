"""Due schedules become jobs: once per instant, however many nodes plan the same fire."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime

from roost.domain import schedule as rules
from roost.domain.states import TERMINAL
from roost.engine.calls import Fire, FireSchedule, FireSchedules, SetSchedulePaused
from roost.engine.findings import ScheduleFacts
from roost.errors import NotFound, RoostError
from roost.service.core import Core
from roost.service.health import STORE_FAILURES
from roost.service.schedules import job_row, watches
from roost.wire.codec import milliseconds
from roost.wire.jobs import Job

log = logging.getLogger("roost.service.planner")

LIMIT = 200
_RETRY_MS = 1_000
_GATHER_MS = 50
"""After some fires, what comes due meanwhile shares a transaction: many schedules would have one for each fire."""


class Planner:
    """The work of the planner's loop."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._fired_at = 0

    async def __call__(self) -> int | None:
        """Fire what is due; when the next schedule is."""
        core = self._core
        while True:
            due = await core.read(core.reader.due)
            now, at = core.now(), due.schedule_at
            if not due.schedule_queued:
                if at is None or at > now:
                    return at
                if self._fired_at < at <= now < self._fired_at + _GATHER_MS:
                    return self._fired_at + _GATHER_MS
            found = await core.read(core.reader.due_schedules, core.now(), LIMIT)
            now = core.now()
            planned = [action for facts in found if (action := await self._planned(facts, now)) is not None]
            if not await self._carry_out(planned, now):
                # Other nodes were first with all of them, or their clocks and ours differ by a moment.
                return core.now() + _RETRY_MS
            if len(found) < LIMIT:
                self._fired_at = now

    async def _carry_out(self, planned: list[FireSchedule], now: int) -> bool:
        """Whether this node made any of the fires; all of them share a transaction."""
        if not planned:
            return False
        core = self._core
        try:
            return (await core.act_for_itself(FireSchedules(planned), now)).count > 0
        except STORE_FAILURES:
            raise
        except RoostError:
            # One schedule that cannot fire keeps no other from it.
            made = False
            for action in planned:
                try:
                    made |= (await core.act_for_itself(action, now)).count > 0
                except STORE_FAILURES:
                    raise
                except RoostError as refused:
                    log.error("schedule %s could not fire: %s", action.name, refused)
            return made

    async def _planned(self, facts: ScheduleFacts, now: int) -> FireSchedule | None:
        """What a schedule does now; one that cannot be planned any more (its zone is gone) is paused, and only it."""
        core = self._core
        try:
            return await self._plan(facts, now)
        except STORE_FAILURES:
            raise
        except Exception as error:
            log.exception("schedule %s cannot be planned, and is paused", facts.name)
            with suppress(NotFound):
                await core.act_for_itself(SetSchedulePaused(facts.name, True, "roost", str(error)[:1000]), now)
            return None

    async def _plan(self, facts: ScheduleFacts, now: int) -> FireSchedule | None:
        """What a schedule does now."""
        unfinished = facts.last_job_state is not None and facts.last_job_state not in TERMINAL
        if facts.queued and not unfinished:
            ended_at = await self._ended_at(facts, now) if rules.awaits_completion(facts.rule) else None
            return self._after(facts, ended_at) if ended_at is not None else self._from_queue(facts, now)
        if facts.next_fire is not None:
            return self._due(facts, facts.next_fire, now, unfinished)
        return None

    async def _ended_at(self, facts: ScheduleFacts, now: int) -> int:
        """When the last job ended; now where it was deleted meanwhile."""
        if facts.last_job is None:
            return now
        try:
            job: Job = await self._core.read(self._core.reader.job, facts.last_job)
        except NotFound:
            return now
        return now if job.finished_at is None else milliseconds(datetime.fromisoformat(job.finished_at), "finished_at")

    def _after(self, facts: ScheduleFacts, ended_at: int) -> FireSchedule:
        """The last job ended: now the next fire is known."""
        next_fire = None if _left(facts) == 0 else rules.next_fire(facts.rule, ended_at, facts.created_at)
        return FireSchedule(
            name=facts.name,
            expected=facts.next_fire,
            was_queued=True,
            fires=[],
            next_fire=next_fire,
            remove=facts.remove_after_last and next_fire is None,
        )

    def _from_queue(self, facts: ScheduleFacts, now: int) -> FireSchedule:
        """The job before it ended: the fire that waited for that starts."""
        return FireSchedule(
            name=facts.name,
            expected=facts.next_fire,
            from_queue=True,
            was_queued=True,
            fires=[self._create(facts, now, now)],
            next_fire=facts.next_fire,
            remove=facts.remove_after_last and facts.next_fire is None,
        )

    def _due(self, facts: ScheduleFacts, expected: int, now: int, unfinished: bool) -> FireSchedule:
        rule = facts.rule
        plan = rules.plan(rule, expected, now, facts.created_at)
        fires = [Fire(expected, "missed", None, alarms=rules.alarms(rule, expected))] if plan.missed else []
        queued, previous = facts.queued, facts.last_job if unfinished else None
        left = _left(facts)
        for place, instant in enumerate(plan.fires):
            if left == 0:
                break
            decision = rules.decide_overlap(rule.overlap, unfinished, queued)
            if left is not None and decision != "skip":
                left -= 1
            if decision == "replace":
                # Of many at once each would end the one before it: only the last is made.
                if place < len(plan.fires) - 1:
                    fires.append(Fire(instant, "replaced", None))
                    left = _left(facts)
                    continue
                fire = self._create(facts, instant, now)
                fire.cancel_job = previous
                fires.append(fire)
            elif decision == "fire":
                fires.append(self._create(facts, instant, now))
                unfinished = True
            elif decision == "queue":
                queued = True
                fires.append(Fire(instant, "queued", None))
            else:
                fires.append(Fire(instant, "skipped", None, alarms=rules.alarms(rule, instant)))
        made = any(fire.row is not None for fire in fires)
        next_fire, waits = None if left == 0 else plan.next_fire, False
        if left != 0 and rules.awaits_completion(rule) and next_fire is None:
            waits = made or previous is not None
            if not waits:
                next_fire = rules.next_fire(rule, now, facts.created_at)
        queued = queued or waits
        return FireSchedule(
            name=facts.name,
            expected=expected,
            was_queued=facts.queued,
            fires=fires,
            next_fire=next_fire,
            queued=queued,
            watch_job=previous if queued and not made else None,
            remove=facts.remove_after_last and next_fire is None and not queued,
        )

    def _create(self, facts: ScheduleFacts, instant: int, now: int) -> Fire:
        """The fire with its job; skipped, and logged, where the job is refused."""
        core = self._core
        alarms = rules.alarms(facts.rule, instant)
        start_at = rules.jittered(facts.rule, instant, core.rng())
        try:
            row = job_row(core, facts.name, facts.job, instant, now, start_at=start_at, watched=watches(facts.rule))
        except RoostError as error:
            if error.status >= 500:
                raise
            log.error("schedule %s fired, but its job is refused: %s", facts.name, error)
            return Fire(instant, "skipped", None, alarms=alarms)
        return Fire(instant, "fired", row, alarms=alarms)


def _left(facts: ScheduleFacts) -> int | None:
    """How many more jobs its fires may make; None: any number."""
    return None if facts.rule.max_runs is None else max(0, facts.rule.max_runs - facts.runs)
