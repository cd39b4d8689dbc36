# Generated from src/roost/sdk/_async/resources.py by scripts/generate_sync.py; do not edit.
"""Queues, schedules, holds, workers and the server itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from roost.domain.records import QueueRules
from roost.domain.schedule import ScheduleRule
from roost.sdk.adapters import encode
from roost.wire import contract
from roost.wire.attempts import Register, Worker, WorkerRef
from roost.wire.holds import AnswerHold, DecideHold, ExtendHold, Hold, HoldPage, HoldRef, ListHolds
from roost.wire.jobs import Empty, Enqueued, NewJob
from roost.wire.kinds import KindRef, KindSchema, PutKind
from roost.wire.limits import EditLimit, Limiter, LimitPage, ListLimits
from roost.wire.outboxes import DeliverOutbox
from roost.wire.queues import ClearQueue, DestroyQueue, Drained, DrainQueue, EditQueue, PauseQueue, Queue, QueueRef
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
)
from roost.wire.server import Health, Info

if TYPE_CHECKING:
    from roost.sdk._sync.client import Client


class Queues:
    """``client.queues``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Sequence[Queue]:
        """All queues with their counts."""
        return (self._client.call(contract.LIST_QUEUES, Empty())).queues

    def get(self, name: str) -> Queue:
        """A queue; raises `NotFound`."""
        return self._client.call(contract.GET_QUEUE, QueueRef(name=name))

    def pause(self, name: str, *, actor: str = "", operation_id: str | None = None) -> Queue:
        """Start no more of its jobs."""
        return self._client.call(contract.PAUSE_QUEUE, PauseQueue(name=name, actor=actor), operation_id)

    def resume(self, name: str, *, actor: str = "", operation_id: str | None = None) -> Queue:
        """Start its jobs again."""
        return self._client.call(contract.RESUME_QUEUE, PauseQueue(name=name, actor=actor), operation_id)

    def edit(self, name: str, rules: QueueRules, *, actor: str = "", operation_id: str | None = None) -> Queue:
        """Set its rules for jobs enqueued from now on."""
        request = EditQueue(name=name, rules=rules, actor=actor)
        return self._client.call(contract.EDIT_QUEUE, request, operation_id)

    def drain(self, name: str, *, wait: str = "30s", actor: str = "", operation_id: str | None = None) -> Drained:
        """Pause it and wait until its last running job has ended, ``wait`` at most (30s); it stays paused."""
        request = DrainQueue(name=name, wait=wait, actor=actor)
        return self._client.call(contract.DRAIN_QUEUE, request, operation_id)

    def clear(
        self,
        name: str,
        states: Sequence[Literal["waiting", "ready", "held", "succeeded", "failed", "cancelled", "expired"]] = (),
        *,
        actor: str = "",
    ) -> int:
        """Delete its jobs in these states (else: those that have not started and not ended); how many were there."""
        deleted, more = 0, True
        while more:
            request = ClearQueue(name=name, states=[*states] or None, actor=actor)
            cleared = self._client.call(contract.CLEAR_QUEUE, request)
            deleted, more = deleted + cleared.deleted, cleared.more
        return deleted

    def destroy(self, name: str, *, force: bool = False, wait: str = "30s", actor: str = "") -> int:
        """Delete all its jobs and forget its rules; how many jobs there were.

        Raises `Conflict` while jobs run; with ``force`` they are cancelled, and waited for up to ``wait`` (30s).
        """
        deleted, more = 0, True
        while more:
            request = DestroyQueue(name=name, force=force, wait=wait, actor=actor)
            cleared = self._client.call(contract.DESTROY_QUEUE, request)
            deleted, more = deleted + cleared.deleted, cleared.more
        return deleted


class Limits:
    """``client.limits``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self, prefix: str = "", *, limit: int = 100, cursor: str | None = None) -> LimitPage:
        """A page of limits by key: what each allows, how much of it is taken, how many jobs wait for it."""
        request = ListLimits(prefix=prefix, limit=limit, cursor=cursor)
        return self._client.call(contract.LIST_LIMITS, request)

    def edit(
        self,
        key: str,
        *,
        concurrency: int | None = None,
        rate: str | None = None,
        burst: int | None = None,
        actor: str = "",
        operation_id: str | None = None,
    ) -> Limiter:
        """Set what a key allows from now on; who waits for it is let go at once where it allows more."""
        request = EditLimit(key=key, concurrency=concurrency, rate=rate, burst=burst, actor=actor)
        return self._client.call(contract.EDIT_LIMIT, request, operation_id)


class Kinds:
    """``client.kinds``: what inputs of kinds must look like."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Sequence[KindSchema]:
        """All kinds that have a schema."""
        return (self._client.call(contract.LIST_KINDS, Empty())).kinds

    def get(self, name: str) -> KindSchema:
        """A kind's schema; raises `NotFound`."""
        return self._client.call(contract.GET_KIND, KindRef(name=name))

    def put(self, name: str, schema: object, *, actor: str = "", operation_id: str | None = None) -> KindSchema:
        """Refuse inputs of this kind that do not fit a JSON Schema, before anything is stored."""
        request = PutKind(name=name, schema=msgspec.Raw(encode(schema, "schema")), actor=actor)
        return self._client.call(contract.PUT_KIND, request, operation_id)

    def delete(self, name: str, *, actor: str = "", operation_id: str | None = None) -> None:
        """Take a kind's schema away; raises `NotFound`."""
        self._client.call(contract.DELETE_KIND, KindRef(name=name, actor=actor), operation_id)


class Schedules:
    """``client.schedules``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Sequence[Schedule]:
        """All schedules."""
        return (self._client.call(contract.LIST_SCHEDULES, Empty())).schedules

    def get(self, name: str) -> Schedule:
        """A schedule; raises `NotFound`."""
        return self._client.call(contract.GET_SCHEDULE, ScheduleRef(name=name))

    def put(
        self,
        name: str,
        rule: ScheduleRule,
        job: NewJob,
        *,
        paused: bool | None = None,
        remove_after_last: bool = False,
        actor: str = "",
        operation_id: str | None = None,
    ) -> Schedule:
        """Create a schedule or edit it as a whole; editing computes its next fire anew."""
        request = PutSchedule(
            name=name, rule=rule, job=job, paused=paused, remove_after_last=remove_after_last, actor=actor
        )
        return self._client.call(contract.PUT_SCHEDULE, request, operation_id)

    def preview_rule(self, rule: ScheduleRule, *, count: int = 10) -> Preview:
        """The next fires of a rule that need not be stored."""
        return self._client.call(contract.PREVIEW_RULE, PreviewRule(rule=rule, count=count))

    def preview(self, name: str, *, count: int = 10) -> Preview:
        """A schedule's next fires."""
        return self._client.call(contract.PREVIEW_SCHEDULE, PreviewSchedule(name=name, count=count))

    def pause(self, name: str, *, actor: str = "", operation_id: str | None = None) -> Schedule:
        """Fire no more; the next fire is kept."""
        return self._client.call(contract.PAUSE_SCHEDULE, ScheduleRef(name=name, actor=actor), operation_id)

    def resume(self, name: str, *, actor: str = "", operation_id: str | None = None) -> Schedule:
        """Fire again."""
        return self._client.call(contract.RESUME_SCHEDULE, ScheduleRef(name=name, actor=actor), operation_id)

    def run(self, name: str, *, actor: str = "", operation_id: str | None = None) -> Enqueued:
        """Fire now; the next fire is not shifted."""
        return self._client.call(contract.RUN_SCHEDULE, ScheduleRef(name=name, actor=actor), operation_id)

    def backfill(
        self,
        name: str,
        first: datetime,
        last: datetime,
        *,
        limit: int = 100,
        dry_run: bool = False,
        actor: str = "",
        operation_id: str | None = None,
    ) -> Backfilled:
        """Make the jobs of instants from ``first`` to ``last`` that have none yet."""
        request = BackfillSchedule(name=name, first=first, last=last, limit=limit, dry_run=dry_run, actor=actor)
        return self._client.call(contract.BACKFILL_SCHEDULE, request, operation_id)

    def delete(self, name: str, *, actor: str = "", operation_id: str | None = None) -> None:
        """Delete it; its jobs and runs stay."""
        self._client.call(contract.DELETE_SCHEDULE, ScheduleRef(name=name, actor=actor), operation_id)

    def runs(self, name: str, *, limit: int = 50, cursor: str | None = None) -> Runs:
        """What its fires became, newest first."""
        return self._client.call(contract.LIST_RUNS, ListRuns(name=name, limit=limit, cursor=cursor))


class Holds:
    """``client.holds``; a decision quotes the ``subject_hash`` of the hold that was looked at."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(
        self, *, all: bool = False, job: int | None = None, limit: int = 50, cursor: str | None = None
    ) -> HoldPage:
        """Open holds, first to expire first; with ``all`` the decided ones too."""
        return self._client.call(contract.LIST_HOLDS, ListHolds(all=all, job=job, limit=limit, cursor=cursor))

    def get(self, id: int) -> Hold:
        """A hold with its subject; raises `NotFound`."""
        return self._client.call(contract.GET_HOLD, HoldRef(id=id))

    def approve(
        self, id: int, subject_hash: str, *, actor: str = "", note: str = "", operation_id: str | None = None
    ) -> Hold:
        """Let the job go on; raises `SubjectChanged`, `HoldExpired`, `HoldDecided`."""
        request = DecideHold(id=id, subject_hash=subject_hash, actor=actor, note=note)
        return self._client.call(contract.APPROVE_HOLD, request, operation_id)

    def deny(
        self, id: int, subject_hash: str, *, actor: str = "", note: str = "", operation_id: str | None = None
    ) -> Hold:
        """Fail the job; raises as `approve`."""
        request = DecideHold(id=id, subject_hash=subject_hash, actor=actor, note=note)
        return self._client.call(contract.DENY_HOLD, request, operation_id)

    def answer(
        self,
        id: int,
        subject_hash: str,
        answer: object,
        *,
        actor: str = "",
        note: str = "",
        operation_id: str | None = None,
    ) -> Hold:
        """Answer a question, or approve with a revision, by anything that is JSON; raises as `approve`."""
        value = msgspec.Raw(encode(answer, "answer"))
        request = AnswerHold(id=id, subject_hash=subject_hash, answer=value, actor=actor, note=note)
        return self._client.call(contract.ANSWER_HOLD, request, operation_id)

    def extend(self, id: int, by: str, *, actor: str = "", operation_id: str | None = None) -> Hold:
        """Move the deadline to ``by`` from now."""
        return self._client.call(contract.EXTEND_HOLD, ExtendHold(id=id, by=by, actor=actor), operation_id)


class Workers:
    """``client.workers``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> Sequence[Worker]:
        """Workers heard of lately."""
        return (self._client.call(contract.LIST_WORKERS, Empty())).workers

    def register(self, worker: Register) -> None:
        """Say who this worker is."""
        self._client.call(contract.REGISTER_WORKER, worker)

    def drain(self, id: str) -> None:
        """Let a worker claim no more, end its jobs, and then itself; raises `NotFound`."""
        self._client.call(contract.DRAIN_WORKER, WorkerRef(id=id))


class Outboxes:
    """``client.outboxes``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def deliver(self, outbox: str, number: int, contents: str, jobs: Sequence[NewJob]) -> Sequence[Enqueued]:
        """Store batch ``number`` once, however often it is sent; an answer for each job, the same every time.

        ``contents`` names what is in the batch. Raises `Conflict` where a later batch, or another one of that number,
        was stored.
        """
        request = DeliverOutbox(outbox=outbox, number=number, contents=contents, jobs=[*jobs])
        return (self._client.call(contract.DELIVER_OUTBOX, request)).jobs


class Server:
    """``client.server``."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def live(self) -> Health:
        """Whether the process answers, now: asked once."""
        return self._client.transport.send(contract.LIVE, Empty())

    def ready(self) -> Health:
        """Whether the store answers, now: asked once; raises `Unavailable`."""
        return self._client.transport.send(contract.READY, Empty())

    def info(self) -> Info:
        """Versions and the guarantee in force."""
        return self._client.call(contract.INFO, Empty())
