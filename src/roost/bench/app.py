"""The jobs that the bench's workers run; ``roost worker roost.bench.app:app`` takes them from ``ROOST_URL``."""

from __future__ import annotations

import time

from roost.sdk.app import App

NOOP = "bench.noop"
STARTED = "bench.started"

app = App()


@app.job(name=NOOP)
async def noop(payload: str) -> None:
    """Nothing: what is measured is everything around it."""


@app.job(name=STARTED)
async def started() -> int:
    """When the handler started, in nanoseconds of the machine's monotonic clock, which all its processes share."""
    return time.monotonic_ns()
