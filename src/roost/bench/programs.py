"""Measures of programs: how long they take to start, and what memory the server has."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from roost.bench.machine import resident_bytes
from roost.bench.stand import Stand, roost_command
from roost.bench.traffic import life_of

_RUNS = 7


def imports(_: Stand) -> dict[str, float]:
    """Milliseconds that ``import roost`` adds to Python's own start."""
    bare = _milliseconds([sys.executable, "-c", "pass"])
    return {"import.roost": max(0.0, _milliseconds([sys.executable, "-c", "import roost"]) - bare)}


def command_line(stand: Stand) -> dict[str, float]:
    """Milliseconds from start to end of two simple commands."""
    return {
        "cli.version": _milliseconds(roost_command("--version")),
        "cli.list": _milliseconds(roost_command("jobs", "list", "--url", stand.url)),
    }


def _milliseconds(command: Sequence[str]) -> float:
    taken = []
    for _ in range(_RUNS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "NO_COLOR": "1"})  # noqa: S603
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def memory(stand: Stand) -> dict[str, float]:
    """The server's memory after all the jobs that went through it, and how it grows with more of them."""
    life_of(stand, stand.sizes.jobs)
    before = resident_bytes(stand.pid)
    life_of(stand, stand.sizes.jobs)
    after = resident_bytes(stand.pid)
    stand.notes["memory.rss"] = f"after {stand.jobs_done:,} jobs"
    grown = max(0, after - before)
    return {"memory.rss": after / 1e6, "memory.per_job": grown / 1e3 / (stand.sizes.jobs / 1000)}
