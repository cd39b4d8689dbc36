"""The shop's web application."""

from __future__ import annotations

import os
import secrets
from typing import Annotated, Any

import msgspec
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel

import roost
from examples.fastapi_app.jobs import app, order
from roost.errors import Conflict, NotFound
from roost.fastapi import get_roost, lifespan
from roost.wire.jobs import Job

api = FastAPI(title="A shop", lifespan=lifespan(app, worker=os.environ.get("SHOP_WORKER") != "no"))

Roost = Annotated[roost.App, Depends(get_roost)]


class NewOrder(BaseModel):
    customer: str
    items: list[str]


class Payment(BaseModel):
    paid: bool


@api.post("/orders", status_code=202)
async def create(new: NewOrder, idempotency_key: Annotated[str | None, Header()] = None) -> dict[str, Any]:
    handle = await order.enqueue(new.customer, new.items, idempotency_key or secrets.token_hex(8))
    return {"order": handle.id, "known": handle.duplicate}


@api.get("/orders/{id}")
async def show(id: int, jobs: Roost) -> dict[str, Any]:
    job = await _found(jobs, id)
    return {
        "state": job.state,
        "reason": job.reason,
        "progress": job.progress and job.progress.message,
        "result": None if job.result is None else msgspec.json.decode(job.result),
    }


@api.post("/orders/{id}/payment", status_code=202)
async def pay(id: int, payment: Payment, jobs: Roost) -> dict[str, Any]:
    await _found(jobs, id)
    return {"woken": await jobs.signal("payment", payment.paid, job=id)}


@api.delete("/orders/{id}")
async def cancel(id: int, jobs: Roost) -> dict[str, Any]:
    try:
        return {"state": (await jobs.client.jobs.cancel(id, actor="shop")).state}
    except NotFound:
        raise HTTPException(404, "no such order") from None
    except Conflict as error:
        raise HTTPException(409, error.message) from None


async def _found(jobs: roost.App, id: int) -> Job:
    try:
        return await jobs.client.jobs.get(id)
    except NotFound:
        raise HTTPException(404, "no such order") from None
