"""Roost: durable jobs with one API, from a script to a cluster.

    import roost

    app = roost.App()

    @app.job(retries=5)
    async def welcome(user_id: int) -> str: ...

    handle = await welcome.enqueue(7)

Nothing is loaded before it is used: no database driver, no server, no event loop.
"""

from __future__ import annotations

__version__ = "0.1.0"  # the only place: the package's metadata is made from it

TYPE_CHECKING = False  # `typing` alone would cost more than the rest of this import; type checkers know the name

if TYPE_CHECKING:
    from roost import errors as errors
    from roost.domain.records import HoldRule as HoldRule
    from roost.domain.records import QueueRules as QueueRules
    from roost.domain.retry import ErrorRule as ErrorRule
    from roost.domain.retry import RetryRule as RetryRule
    from roost.domain.schedule import ScheduleRule as ScheduleRule
    from roost.domain.states import State as State
    from roost.errors import JobFailed as JobFailed
    from roost.errors import ResultTimeout as ResultTimeout
    from roost.errors import RoostError as RoostError
    from roost.errors import UniqueConflict as UniqueConflict
    from roost.outboxes.opening import outbox as outbox
    from roost.sdk._async.client import AsyncClient as AsyncClient
    from roost.sdk._sync.client import Client as Client
    from roost.sdk.app import App as App
    from roost.sdk.around import RunningJob as RunningJob
    from roost.sdk.calls import JobCall as JobCall
    from roost.sdk.children import Child as Child
    from roost.sdk.children import SyncChild as SyncChild
    from roost.sdk.context import Context as Context
    from roost.sdk.context import SyncContext as SyncContext
    from roost.sdk.depends import Depends as Depends
    from roost.sdk.flow import BatchHandle as BatchHandle
    from roost.sdk.function import JobFunction as JobFunction
    from roost.sdk.handle import Handle as Handle
    from roost.sdk.limits import Concurrency as Concurrency
    from roost.sdk.limits import Rate as Rate
    from roost.sdk.options import Unique as Unique
    from roost.sdk.options import on_error as on_error
    from roost.sdk.outcome import Cancel as Cancel
    from roost.sdk.outcome import Exit as Exit
    from roost.sdk.outcome import Fatal as Fatal
    from roost.sdk.outcome import Retry as Retry
    from roost.sdk.outcome import Snooze as Snooze
    from roost.sdk.patience import Patience as Patience
    from roost.sdk.signature import injected as injected
    from roost.sdk.worker import Worker as Worker
    from roost.wire.events import FeedEvent as FeedEvent
    from roost.wire.events import FeedReset as FeedReset
else:
    _HOMES = {
        "App": "roost.sdk.app",
        "AsyncClient": "roost.sdk._async.client",
        "BatchHandle": "roost.sdk.flow",
        "Cancel": "roost.sdk.outcome",
        "Child": "roost.sdk.children",
        "Client": "roost.sdk._sync.client",
        "Concurrency": "roost.sdk.limits",
        "Context": "roost.sdk.context",
        "Depends": "roost.sdk.depends",
        "ErrorRule": "roost.domain.retry",
        "Exit": "roost.sdk.outcome",
        "Fatal": "roost.sdk.outcome",
        "FeedEvent": "roost.wire.events",
        "FeedReset": "roost.wire.events",
        "Handle": "roost.sdk.handle",
        "HoldRule": "roost.domain.records",
        "JobCall": "roost.sdk.calls",
        "JobFailed": "roost.errors",
        "JobFunction": "roost.sdk.function",
        "Patience": "roost.sdk.patience",
        "QueueRules": "roost.domain.records",
        "Rate": "roost.sdk.limits",
        "ResultTimeout": "roost.errors",
        "Retry": "roost.sdk.outcome",
        "RetryRule": "roost.domain.retry",
        "RoostError": "roost.errors",
        "RunningJob": "roost.sdk.around",
        "ScheduleRule": "roost.domain.schedule",
        "Snooze": "roost.sdk.outcome",
        "State": "roost.domain.states",
        "SyncChild": "roost.sdk.children",
        "SyncContext": "roost.sdk.context",
        "Unique": "roost.sdk.options",
        "UniqueConflict": "roost.errors",
        "Worker": "roost.sdk.worker",
        "injected": "roost.sdk.signature",
        "on_error": "roost.sdk.options",
        "outbox": "roost.outboxes.opening",
    }

    def __getattr__(name):
        import importlib

        if name in _HOMES:
            value = getattr(importlib.import_module(_HOMES[name]), name)
        elif name == "errors":
            value = importlib.import_module("roost.errors")
        else:
            raise AttributeError(f"module 'roost' has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *_HOMES, "errors"})
