"""The contract's operations, each with the use case that carries it out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from roost.service import attempts, feed, history, holds, jobs, outboxes, queues, schedules, workers
from roost.service.core import CallInfo, Core
from roost.wire import contract

UseCase = Callable[[Core, Any, CallInfo], Awaitable[Any]]

USE_CASES: dict[str, UseCase] = {
    contract.ENQUEUE.name: jobs.enqueue,
    contract.ENQUEUE_MANY.name: jobs.enqueue_many,
    contract.CLAIM.name: attempts.claim,
    contract.SETTLE.name: attempts.settle,
    contract.HEARTBEAT.name: attempts.heartbeat,
    contract.RECORD_STEP.name: attempts.record_step,
    contract.STEPS.name: attempts.steps,
    contract.GET_JOB.name: jobs.get,
    contract.WAIT_JOB.name: jobs.wait,
    contract.LIST_JOBS.name: jobs.page,
    contract.JOB_EVENTS.name: history.events,
    contract.JOB_LOGS.name: jobs.logs,
    contract.EXPLAIN_JOB.name: history.explain,
    contract.CANCEL_JOB.name: jobs.cancel,
    contract.REOPEN_JOB.name: jobs.reopen,
    contract.DELETE_JOB.name: jobs.delete,
    contract.LIST_EVENTS.name: feed.page,
    contract.LIST_QUEUES.name: queues.every,
    contract.GET_QUEUE.name: queues.get,
    contract.PAUSE_QUEUE.name: queues.pause,
    contract.RESUME_QUEUE.name: queues.resume,
    contract.EDIT_QUEUE.name: queues.edit,
    contract.LIST_SCHEDULES.name: schedules.every,
    contract.GET_SCHEDULE.name: schedules.get,
    contract.PUT_SCHEDULE.name: schedules.put,
    contract.PREVIEW_RULE.name: schedules.preview_rule,
    contract.PREVIEW_SCHEDULE.name: schedules.preview,
    contract.PAUSE_SCHEDULE.name: schedules.pause,
    contract.RESUME_SCHEDULE.name: schedules.resume,
    contract.RUN_SCHEDULE.name: schedules.run,
    contract.BACKFILL_SCHEDULE.name: schedules.backfill,
    contract.DELETE_SCHEDULE.name: schedules.delete,
    contract.LIST_RUNS.name: schedules.runs,
    contract.LIST_HOLDS.name: holds.page,
    contract.GET_HOLD.name: holds.get,
    contract.APPROVE_HOLD.name: holds.approve,
    contract.DENY_HOLD.name: holds.deny,
    contract.ANSWER_HOLD.name: holds.answer,
    contract.EXTEND_HOLD.name: holds.extend,
    contract.LIST_WORKERS.name: workers.every,
    contract.REGISTER_WORKER.name: workers.register,
    contract.DELIVER_OUTBOX.name: outboxes.deliver,
    contract.LIVE.name: workers.live,
    contract.READY.name: workers.ready,
    contract.INFO.name: workers.info,
}
