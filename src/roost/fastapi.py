"""Roost in a FastAPI or Starlette application: a lifespan that opens and closes it, and a dependency that gives it.

    jobs = roost.App()
    api = FastAPI(lifespan=lifespan(jobs, worker=True))

    @api.post("/welcome/{user_id}")
    async def create(user_id: int, jobs: Annotated[roost.App, Depends(get_roost)]) -> int: ...

``pip install "roost[fastapi]"``; only Starlette is imported.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import HTTPConnection

from roost.errors import ConfigurationError
from roost.sdk.app import App
from roost.sdk.worker import Worker

logger = logging.getLogger("roost.worker")

A = TypeVar("A")

STATE = "roost"
"""The name under which the application is found in ``request.state``."""

Lifespan = Callable[[A], AbstractAsyncContextManager[Mapping[str, Any]]]


def lifespan(
    app: App,
    *,
    worker: bool = False,
    queues: Sequence[str] | Mapping[str, int] | None = None,
    concurrency: int = 10,
    grace: float = 10.0,
    inner: Callable[[A], AbstractAsyncContextManager[Mapping[str, Any] | None]] | None = None,
) -> Lifespan[A]:
    """What FastAPI and Starlette take as ``lifespan``: the app's jobs can be reached until the web application stops.

    With ``worker`` its jobs run in this process too, on this event loop, as `App.run_worker` says of ``queues``,
    ``concurrency`` and ``grace``. ``inner`` is the web application's own lifespan; it runs inside, and its state is
    kept.
    """

    @asynccontextmanager
    async def running(web: A) -> AsyncIterator[Mapping[str, Any]]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(app.aclose)
            # Opened here and now: a store that cannot be used stops the start, not the first request.
            await app.client.server.info()
            if worker:
                made = await app.worker(queues=queues, concurrency=concurrency, grace=grace)
                await stack.enter_async_context(_working(made))
            state = None if inner is None else await stack.enter_async_context(inner(web))
            yield {**(state or {}), STATE: app}

    return running


def get_roost(connection: HTTPConnection) -> App:
    """The `roost.App` of the lifespan: ``Annotated[roost.App, Depends(get_roost)]`` in FastAPI, a call in Starlette.

    Raises `ConfigurationError` where the lifespan is another one.
    """
    app = getattr(connection.state, STATE, None)
    if not isinstance(app, App):
        raise ConfigurationError(
            "this web application has no Roost", path="lifespan", help="FastAPI(lifespan=roost.fastapi.lifespan(app))"
        )
    return app


@asynccontextmanager
async def _working(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run(), name=f"roost-{worker.name}")
    task.add_done_callback(_report)
    try:
        yield
    finally:
        worker.stop()
        # Not raised again: it was reported when it happened, and what else is to be closed shall be.
        await asyncio.wait([task])


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the worker of this web application has ended: %s", error, exc_info=error)
