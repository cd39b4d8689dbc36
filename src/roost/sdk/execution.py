"""One run of a handler: its arguments, what it depends on, the middleware around it, and its outcome."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from roost.sdk.around import RunningJob, wrapped_async, wrapped_sync
from roost.sdk.context import Context, SyncContext
from roost.sdk.depends import OffLoop, OnLoop, Resolver
from roost.sdk.endings import raised, returned
from roost.sdk.registry import Handler
from roost.sdk.styles import drive
from roost.wire.attempts import Lease, Outcome

logger = logging.getLogger("roost.worker")

AnyContext = Context | SyncContext


async def run_async(handler: Handler[Any], lease: Lease, token: str, make: Callable[[], AnyContext]) -> Outcome:
    """An async handler's outcome; raises `asyncio.CancelledError` where the handler let the cancel through."""
    context: AnyContext | None = None
    try:
        signature = handler.signature
        context = make() if signature.injected is not None or signature.dependencies else None
        args, kwargs = handler.call(lease.input, context)
        if not handler.surroundings.middleware and not signature.dependencies:
            value = await handler.function(*args, **kwargs)
        else:
            value = await _surrounded(handler, lease, context, args, kwargs)
        outcome = returned(lease.id, token, handler, value)
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:
        outcome = raised(lease.id, token, error, handler)
    return outcome if context is None else _summed_up(outcome, context)


async def _surrounded(
    handler: Handler[Any], lease: Lease, context: AnyContext | None, args: list[Any], kwargs: dict[str, Any]
) -> Any:
    async def call() -> Any:
        stack = AsyncExitStack()
        resolver = Resolver(handler.surroundings.scope, OnLoop(), stack, context)
        return await _closing(stack, lambda: _called(handler, resolver, args, kwargs))

    return await wrapped_async(handler.surroundings.middleware, _running(handler, lease, args, kwargs), call)()


def run_sync(
    handler: Handler[Any],
    lease: Lease,
    token: str,
    make: Callable[[], AnyContext],
    loop: Callable[[], asyncio.AbstractEventLoop],
) -> Outcome:
    """A sync handler's outcome, run in this thread; ``loop`` runs in another one, for what is async around it."""
    context: AnyContext | None = None
    try:
        signature = handler.signature
        context = make() if signature.injected is not None or signature.dependencies else None
        args, kwargs = handler.call(lease.input, context)
        if handler.is_plain:
            value = handler.function(*args, **kwargs)
        else:
            value = _surrounded_sync(handler, lease, context, args, kwargs, loop())
        outcome = returned(lease.id, token, handler, value)
    except BaseException as error:
        outcome = raised(lease.id, token, error, handler)
    return outcome if context is None else _summed_up(outcome, context)


def _surrounded_sync(
    handler: Handler[Any],
    lease: Lease,
    context: AnyContext | None,
    args: list[Any],
    kwargs: dict[str, Any],
    loop: asyncio.AbstractEventLoop,
) -> Any:
    def call() -> Any:
        stack = AsyncExitStack()
        resolver = Resolver(handler.surroundings.scope, OffLoop(loop), stack, context)
        return drive(_closing(stack, lambda: _called(handler, resolver, args, kwargs)))

    return wrapped_sync(handler.surroundings.middleware, _running(handler, lease, args, kwargs), call, loop)()


async def _called(handler: Handler[Any], resolver: Resolver, args: list[Any], kwargs: dict[str, Any]) -> Any:
    kwargs = kwargs | await resolver.values(handler.signature.dependencies)
    value = handler.function(*args, **kwargs)
    return await value if inspect.isawaitable(value) else value


async def _closing(stack: AsyncExitStack, call: Callable[[], Awaitable[Any]]) -> Any:
    """``call()``, and then the job's dependencies closed, who are told of its error but cannot make it undone."""
    try:
        value = await call()
    except BaseException as error:
        try:
            await stack.__aexit__(type(error), error, error.__traceback__)
        except BaseException as closing:
            if closing is not error:
                logger.warning("closing a dependency failed after %r: %r", error, closing, exc_info=closing)
        raise
    await stack.__aexit__(None, None, None)
    return value


def _running(handler: Handler[Any], lease: Lease, args: list[Any], kwargs: dict[str, Any]) -> RunningJob:
    arguments = dict(zip(handler.signature.positional_only, args, strict=False)) | kwargs
    if handler.signature.injected is not None:
        arguments.pop(handler.signature.injected, None)
    return RunningJob(
        id=lease.id,
        kind=lease.kind,
        queue=lease.queue,
        attempt=lease.attempt,
        failures=lease.failures,
        arguments=arguments,
    )


def _summed_up(outcome: Outcome, context: AnyContext) -> Outcome:
    outcome.summary = context.last_summary
    return outcome
