"""Roost's part in a web application's life: opened at its start, its worker stopped at its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import roost
from roost.errors import ConfigurationError, StoreError
from roost.fastapi import get_roost, lifespan

ran: list[str] = []
Roost = Annotated[roost.App, Depends(get_roost)]


@pytest.fixture
def jobs(tmp_path: Path) -> roost.App:
    ran.clear()
    app = roost.App(f"sqlite:///{tmp_path}/web.db")

    @app.job(name="greet", queue="greetings")
    async def greet(name: str) -> str:
        ran.append(name)
        return f"hello, {name}"

    @app.job(name="slow", queue="greetings")
    async def slow() -> str:
        await asyncio.sleep(0.3)
        ran.append("slow")
        return "done"

    return app


def web(app: roost.App, **options: Any) -> FastAPI:
    api = FastAPI(lifespan=lifespan(app, **options))

    @api.post("/{kind}")
    async def create(kind: str, jobs: Roost) -> int:
        handle = await jobs._functions[kind].enqueue(*(["ana"] if kind == "greet" else []))
        return handle.id

    @api.get("/result/{id}")
    async def result(id: int, jobs: Roost) -> str:
        job = await jobs.client.jobs.wait(id, "20s")
        return f"{job.state} {bytes(job.result or b'').decode()}"

    @api.websocket("/socket")
    async def socket(websocket: WebSocket, jobs: Roost) -> None:
        await websocket.accept()
        await websocket.send_text(jobs.url)
        await websocket.close()

    return api


def test_jobs_run_in_the_web_application(jobs: roost.App) -> None:
    with TestClient(web(jobs, worker=True)) as client:
        id = client.post("/greet").json()
        assert client.get(f"/result/{id}").json() == 'succeeded "hello, ana"'
        with client.websocket_connect("/socket") as socket:
            assert socket.receive_text() == jobs.url
    assert ran == ["ana"]


def test_what_runs_may_end_when_the_web_application_stops(jobs: roost.App) -> None:
    with TestClient(web(jobs, worker=True, grace=20.0)) as client:
        id = client.post("/slow").json()
        while jobs.sync_client.jobs.get(id).state != "running":
            pass
    assert ran == ["slow"]
    assert jobs.sync_client.jobs.get(id).state == "succeeded"
    jobs.close()


def test_without_a_worker_jobs_are_only_stored(jobs: roost.App) -> None:
    with TestClient(web(jobs)) as client:
        id = client.post("/greet").json()
    assert jobs.sync_client.jobs.get(id).state == "ready"
    jobs.close()


def test_another_lifespan_runs_inside_and_keeps_its_state(jobs: roost.App) -> None:
    told: list[str] = []

    @contextlib.asynccontextmanager
    async def own(api: FastAPI) -> AsyncIterator[Mapping[str, Any]]:
        told.append("starts")
        await jobs.client.server.info()
        yield {"colour": "blue"}
        await jobs.client.server.info()
        told.append("stops")

    api = web(jobs, inner=own)

    @api.get("/colour")
    async def colour(request: Request) -> str:
        return str(request.state.colour)

    with TestClient(api) as client:
        assert client.get("/colour").json() == "blue"
        assert client.post("/greet").status_code == 200
    assert told == ["starts", "stops"]


def test_starlette_takes_the_same_lifespan(jobs: roost.App) -> None:
    async def create(request: Request) -> JSONResponse:
        return JSONResponse((await get_roost(request)._functions["greet"].enqueue("ben")).id)

    api = Starlette(routes=[Route("/", create, methods=["POST"])], lifespan=lifespan(jobs))
    with TestClient(api) as client:
        assert client.post("/").json() == 1


def test_a_store_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "roost.db").write_text("no database at all, but long enough to be looked at as one" * 100)
    with pytest.raises(StoreError), TestClient(web(roost.App(f"sqlite:///{tmp_path}/roost.db"))):
        pass


def test_a_web_application_without_roost_says_so() -> None:
    api = FastAPI()

    @api.get("/")
    async def show(jobs: Roost) -> str:
        return jobs.url

    with pytest.raises(ConfigurationError, match="has no Roost"), TestClient(api) as client:
        client.get("/")
