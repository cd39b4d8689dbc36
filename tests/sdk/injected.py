"""Isolated handlers with dependencies and middleware."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Annotated, Any

import roost
from roost.sdk.app import App

app = App("sqlite://:memory:")
made = 0
last_path = ""


async def pool() -> AsyncIterator[str]:
    global made
    made += 1
    yield f"pool {made}"
    with open(last_path, "a") as file:
        file.write("closed\n")


class Notes:
    def __init__(self) -> None:
        self.path = ""

    def write(self, word: str) -> None:
        with open(self.path, "a") as file:
            file.write(f"{word}\n")


def notes() -> Iterator[Notes]:
    notes = Notes()
    yield notes
    notes.write("close")


@app.around
async def label(job: roost.RunningJob, call: Callable[[], Coroutine[Any, Any, Any]]) -> str:
    return f"around {await call()}"


@app.job(isolate="process")
def sync_uses(
    path: str,
    shared: Annotated[str, roost.Depends(pool, scope="app")],
    notes: Annotated[Notes, roost.Depends(notes)],
) -> str:
    return _use(path, shared, notes)


@app.job(isolate="process")
async def async_uses(
    path: str,
    shared: Annotated[str, roost.Depends(pool, scope="app")],
    notes: Annotated[Notes, roost.Depends(notes)],
) -> str:
    return _use(path, shared, notes)


def _use(path: str, shared: str, notes: Notes) -> str:
    global last_path
    last_path = notes.path = path
    notes.write("open")
    return shared
