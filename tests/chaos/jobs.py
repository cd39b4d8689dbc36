"""Jobs whose workers are killed: every step that really runs is noted in a file that is on the disk by then."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import roost

FOLDER = "CHAOS_FOLDER"
POINTS = ("mid-step", "after-record", "before-settle")
STEPS = ("read", "think", "write")

app = roost.App()


def note(**facts: Any) -> None:
    """Append a line to the journal, whole and synced."""
    line = json.dumps({**facts, "pid": os.getpid()}).encode() + b"\n"
    descriptor = os.open(Path(os.environ[FOLDER], "journal"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def pass_point(point: str) -> None:
    """Die here by ``kill -9`` where somebody laid a file for it, which only one process can take away."""
    try:
        os.unlink(Path(os.environ[FOLDER], point))
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


@app.job(name="report", retries=1000, retry_base="10ms", retry_cap="10ms")
async def report(number: int, ctx: roost.Context) -> dict[str, Any]:
    """Three steps, each built on the one before; the result depends on nothing but the number."""
    found = str(number)
    for name in STEPS:

        async def step(text: str, name: str = name) -> str:
            note(job=ctx.job_id, number=number, step=name, attempt=ctx.attempt)
            await asyncio.sleep(0.005)
            pass_point("mid-step")
            return hashlib.sha256(f"{name}/{text}".encode()).hexdigest()

        found = await ctx.step(name, step, found)
        pass_point("after-record")
    pass_point("before-settle")
    return {"number": number, "digest": found, "ratio": number / 7, "word": "grüße"}


@app.job(name="effect", retries=1000)
async def effect(order: int, ctx: roost.Context) -> int:
    """Something that must happen once."""

    async def happen() -> int:
        note(job=ctx.job_id, number=order, step="effect", attempt=ctx.attempt)
        return order

    return await ctx.step("effect", happen)


@app.job(name="slow", retries=1000)
async def slow(number: int, ctx: roost.Context) -> int:
    """Begins, waits for a file named ``go`` in its first attempt, and tells which attempt ended."""
    note(job=ctx.job_id, number=number, step="begun", attempt=ctx.attempt)
    while ctx.attempt == 1 and not Path(os.environ[FOLDER], "go").exists():
        await asyncio.sleep(0.01)
    note(job=ctx.job_id, number=number, step="ended", attempt=ctx.attempt)
    return ctx.attempt
