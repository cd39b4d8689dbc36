"""Running Django's tasks in a worker."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db import close_old_connections
from django.utils.module_loading import autodiscover_modules

import roost
from roost.django.backend import Input, RoostBackend, finished, running
from roost.django.compat import base, signals
from roost.errors import NotFound
from roost.sdk.registry import Handler, Registry


class TaskRegistry(Registry):
    """The tasks of one backend as handlers, found by their names."""

    def __init__(self, backend: RoostBackend, worker: str) -> None:
        super().__init__()
        self._backend = backend
        self._worker = worker
        self.queues: set[str] = set()
        """Where the tasks that were discovered go unless told otherwise."""

    def discover(self) -> None:
        """Import the ``tasks`` modules of the installed apps, and know every task in them."""
        from importlib import import_module

        from django.apps import apps

        autodiscover_modules("tasks")
        for config in apps.get_app_configs():
            try:
                module = import_module(f"{config.name}.tasks")
            except ModuleNotFoundError:
                continue
            for found in vars(module).values():
                if isinstance(found, base.Task) and found.backend == self._backend.alias:
                    self.get(found.module_path)
                    self.queues.add(found.queue_name)

    def get(self, kind: str) -> Handler[Any] | None:
        """The handler of a task, wherever in an installed app it is defined."""
        known = super().get(kind)
        if known is None:
            try:
                task = self._backend.task_of(kind)
            except NotFound:
                return None
            known = Handler(_caller(self._backend, task, self._worker), kind=kind)
            self.add(known)
        return known


def _caller(backend: RoostBackend, task: Any, worker: str) -> Any:
    async def call_async(
        ctx: roost.Context,
        args: list[Any],
        kwargs: dict[str, Any],
        priority: int = 0,
        run_after: datetime | None = None,
    ) -> Any:
        run = _Run(backend, task, Input(args, kwargs, priority, run_after), ctx.job_id, ctx.attempt, worker)
        try:
            value = await task.acall(*run.arguments, **kwargs)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            run.end(error=error)
            raise
        return run.end(value)

    def call(
        ctx: roost.SyncContext,
        args: list[Any],
        kwargs: dict[str, Any],
        priority: int = 0,
        run_after: datetime | None = None,
    ) -> Any:
        # Its thread may have a connection that the database has closed since; and it must not keep one.
        close_old_connections()
        try:
            run = _Run(backend, task, Input(args, kwargs, priority, run_after), ctx.job_id, ctx.attempt, worker)
            try:
                value = task.call(*run.arguments, **kwargs)
            except BaseException as error:
                run.end(error=error)
                raise
            return run.end(value)
        finally:
            close_old_connections()

    chosen: Any = call_async if iscoroutinefunction(task.func) else call
    chosen.__qualname__ = task.module_path
    return chosen


class _Run:
    """One call of a task, told to Django's signals."""

    def __init__(self, backend: RoostBackend, task: Any, call: Input, job_id: int, attempt: int, worker: str) -> None:
        self._sender = type(backend)
        self._result = running(backend, task, job_id, call, attempt, worker)
        self.arguments = [base.TaskContext(task_result=self._result), *call.args] if task.takes_context else call.args
        signals.task_started.send(sender=self._sender, task_result=self._result)

    def end(self, value: object = None, error: BaseException | None = None) -> object:
        """Tell how it ended; ``value`` itself."""
        finished(self._result, value, error)
        signals.task_finished.send(sender=self._sender, task_result=self._result)
        return value
