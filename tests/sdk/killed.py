"""A job whose worker is killed in the middle of its second step, once."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import roost
from roost.sdk.app import App

app = App("sqlite://:memory:")


@app.job(retries=3)
async def three_steps(path: str, ctx: roost.Context) -> list[str]:
    return [await ctx.step(name, write, path, name, kind="llm") for name in ("one", "two", "three")]


def write(path: str, name: str) -> str:
    notes = Path(path)
    first_time = not notes.exists() or name not in notes.read_text().split()
    with notes.open("a") as file:
        file.write(f"{name}\n")
    if name == "two" and first_time:
        os.kill(os.getpid(), signal.SIGKILL)
    return name
