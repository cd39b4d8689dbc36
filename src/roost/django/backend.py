"""The backend of Django's tasks: each is a job, enqueued with the transaction that is open."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any

import msgspec
from django.db import connections, transaction
from django.utils import timezone
from django.utils.module_loading import import_string

import roost
from roost.django.compat import BaseTaskBackend, base, exceptions, signals
from roost.domain.retry import RetryRule
from roost.domain.states import State
from roost.errors import ConfigurationError, NotFound
from roost.outboxes import table
from roost.outboxes.links import DjangoLink
from roost.sdk.adapters import encode
from roost.wire.jobs import ErrorInfo, Job, NewJob

OPTIONS = frozenset({"url", "using", "retries"})
ENTRY = "outbox-"
"""What the id of a result begins with whose job waits, or waited, in the outbox."""
_FAILED = frozenset({State.FAILED, State.CANCELLED, State.EXPIRED})
_HIGHEST = 9
_LONGEST_ID = 18


class Input(msgspec.Struct):
    """What a task's job carries."""

    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    priority: int = 0
    """Django's own, which Roost's ten levels do not tell."""
    run_after: datetime | None = None


class RoostBackend(BaseTaskBackend):
    """Tasks as jobs of a Roost.

    ``OPTIONS``: ``url``, where the jobs are (else `ROOST_URL` and the configuration files, as for `roost.App`);
    ``using``, the database whose open transaction a task is enqueued with (``default``); ``retries`` (0). Inside
    ``transaction.atomic`` a task becomes a job with the commit: at once where the database is Roost's own, else through
    the outbox table. Outside of it, it is stored when ``enqueue`` returns.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        """Raises `ConfigurationError` for an option that is none."""
        super().__init__(alias, params)
        unknown = sorted(self.options.keys() - OPTIONS)
        if unknown:
            raise ConfigurationError(
                f"{unknown[0]!r} is no option",
                path=f"TASKS.{alias}.OPTIONS",
                help=f"options: {', '.join(sorted(OPTIONS))}",
            )
        self.app = roost.App(self.options.get("url"))
        self.using: str = self.options.get("using", "default")
        self.retry = RetryRule(retries=self.options.get("retries", 0))

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """A job that calls the task.

        Raises Django's ``InvalidTask``, `TypeError` for arguments that are not JSON, and `roost.RoostError` for what
        Roost refuses; nothing is stored then.
        """
        self.validate_task(task)
        run_after = task.run_after
        if run_after is not None and timezone.is_naive(run_after):
            run_after = timezone.make_aware(run_after)
        call = Input([*args], dict(kwargs), task.priority, run_after)
        # Django's own class says what arguments may be, and makes JSON's types of them.
        result = _result(self, task, "", call, enqueued_at=timezone.now())
        call.args, call.kwargs = result.args, result.kwargs
        job = self._new_job(task, call)
        if in_transaction(connections[self.using]):
            with roost.outbox(using=self.using, url=self.app.url) as outbox:
                [stored] = outbox.put([job])
            id = str(stored.id) if stored.id is not None else f"{ENTRY}{stored.entry}"
        else:
            id = str(self.app.sync_client.jobs.enqueue(job).id)
        _set(result, id=id)
        signals.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """What became of a task; raises Django's ``TaskResultDoesNotExist``."""
        if result_id.startswith(ENTRY):
            return self._result_of_entry(result_id)
        if not (result_id.isdecimal() and len(result_id) <= _LONGEST_ID):
            raise exceptions.TaskResultDoesNotExist(result_id)
        return self._result_of_job(int(result_id), result_id)

    def _new_job(self, task: Any, call: Input) -> NewJob:
        return NewJob(
            kind=task.module_path,
            input=msgspec.Raw(encode(call, "task")),
            queue=task.queue_name,
            priority=priority(task.priority),
            run_at=call.run_after,
            retry=self.retry,
        )

    def _result_of_entry(self, result_id: str) -> Any:
        name = result_id.removeprefix(ENTRY)
        try:
            with transaction.atomic(using=self.using):
                link = DjangoLink(connections[self.using])
                entry, job = table.entry(link, name), table.job_of(link, name)
        except NotFound:
            raise exceptions.TaskResultDoesNotExist(result_id) from None
        if entry.job_id is not None:
            return self._result_of_job(entry.job_id, result_id)
        made = datetime.fromtimestamp(entry.created_at / 1000, timezone.get_current_timezone())
        call = msgspec.json.decode(job.input, type=Input)
        task = _as_enqueued(self.task_of(job.kind), call, job.queue)
        result = _result(self, task, result_id, call, enqueued_at=made)
        if entry.error is not None:
            error = base.TaskError(exception_class_path="roost.errors.RoostError", traceback=entry.error.message)
            _set(result, status=base.TaskResultStatus.FAILED, errors=[error])
        return result

    def _result_of_job(self, id: int, result_id: str) -> Any:
        try:
            job = self.app.sync_client.jobs.get(id)
            call = msgspec.json.decode(job.input, type=Input)
            task = _as_enqueued(self.task_of(job.kind), call, job.queue)
        except (NotFound, msgspec.DecodeError):
            raise exceptions.TaskResultDoesNotExist(result_id) from None
        return filled(_result(self, task, result_id, call, enqueued_at=moment(job.created_at)), job)

    def task_of(self, kind: str) -> Any:
        """The task of this backend that a kind of job names; raises `NotFound` where there is none.

        Whoever may enqueue must not be able to have any module imported: only tasks of installed apps are looked for.
        """
        from django.apps import apps

        if any(kind.startswith(f"{config.name}.") for config in apps.get_app_configs()):
            try:
                found = import_string(kind)
            except ImportError:
                found = None
            if isinstance(found, base.Task) and found.backend == self.alias:
                return found
        raise NotFound(f"{kind!r} is no task of the backend {self.alias!r}", path="kind", help="is its app installed?")


def priority(value: int) -> int:
    """Django's -100 to 100 as Roost's 0 to 9, the middle as the middle; a higher one is never below a lower."""
    if value == 0:
        return 5
    return 4 - (-value - 1) // 20 if value < 0 else min(_HIGHEST, 6 + (value - 1) // 25)


def in_transaction(connection: Any) -> bool:
    """Whether what is written over a connection of Django's waits for a commit; opens no connection."""
    if connection.in_atomic_block:
        return True
    return not (connection.settings_dict["AUTOCOMMIT"] if connection.connection is None else connection.autocommit)


def _as_enqueued(task: Any, call: Input, queue: str) -> Any:
    """``task`` with what was changed by ``using``."""
    try:
        return task.using(priority=call.priority, queue_name=queue, run_after=call.run_after)
    except exceptions.TaskException:
        # Its job was moved to a queue that the settings do not name.
        return task


def _result(backend: RoostBackend, task: Any, id: str, call: Input, *, enqueued_at: datetime | None) -> Any:
    return base.TaskResult(
        task=task,
        id=id,
        status=base.TaskResultStatus.READY,
        enqueued_at=enqueued_at,
        started_at=None,
        finished_at=None,
        last_attempted_at=None,
        args=call.args,
        kwargs=call.kwargs,
        backend=backend.alias,
        errors=[],
        worker_ids=[],
    )


def running(backend: RoostBackend, task: Any, job_id: int, call: Input, attempt: int, worker: str) -> Any:
    """The result of a task whose handler is about to be called."""
    result = _result(backend, task, str(job_id), call, enqueued_at=None)
    now = timezone.now()
    _set(
        result,
        status=base.TaskResultStatus.RUNNING,
        started_at=now,
        last_attempted_at=now,
        worker_ids=[worker] * attempt,
    )
    return result


def finished(result: Any, value: object = None, error: BaseException | None = None) -> None:
    """Note in ``result`` how the handler ended."""
    from traceback import format_exception

    _set(result, finished_at=timezone.now())
    if error is None:
        _set(result, status=base.TaskResultStatus.SUCCESSFUL, _return_value=value)
        return
    path = f"{type(error).__module__}.{type(error).__qualname__}"
    told = base.TaskError(exception_class_path=path, traceback="".join(format_exception(error)))
    _set(result, status=base.TaskResultStatus.FAILED, errors=[*result.errors, told])


def filled(result: Any, job: Job) -> Any:
    """``result`` with all that is known of its job."""
    attempts = job.attempts
    statuses = base.TaskResultStatus
    status = statuses.READY
    if job.state is State.SUCCEEDED:
        status = statuses.SUCCESSFUL
        _set(result, _return_value=msgspec.json.decode(job.result or b"null"))
    elif job.state in _FAILED:
        status = statuses.FAILED
    elif job.state is State.RUNNING:
        status = statuses.RUNNING
    errors = [one.error for one in attempts if one.error is not None] or ([job.error] if job.error else [])
    _set(
        result,
        status=status,
        started_at=moment(attempts[0].started_at) if attempts else None,
        last_attempted_at=moment(attempts[-1].started_at) if attempts else None,
        finished_at=moment(job.finished_at),
        errors=[_error(error) for error in errors],
        worker_ids=[one.worker or "" for one in attempts],
    )
    return result


def _error(error: ErrorInfo) -> Any:
    path = error.type
    if "." not in path:
        # What ended it may be no exception: a time limit, a death.
        path = f"builtins.{path}" if hasattr(builtins, path) else "roost.errors.JobFailed"
    return base.TaskError(exception_class_path=path, traceback=error.traceback or error.message)


def _set(result: Any, **fields: Any) -> None:
    # The class is frozen for those who read results.
    for name, value in fields.items():
        object.__setattr__(result, name, value)


def moment(text: str | None) -> datetime | None:
    """A time of the API's as Django has it."""
    return None if text is None else datetime.fromisoformat(text)
