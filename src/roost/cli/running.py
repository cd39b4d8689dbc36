"""A worker in this process, until a signal drains it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Literal

from roost.cli import exit_codes
from roost.cli.output import note
from roost.cli.target import without_password
from roost.domain.names import check_name
from roost.errors import InvalidRequest
from roost.sdk.app import App
from roost.sdk.connection import Connection
from roost.sdk.worker import Worker

_ANSWER_SECONDS = 30.0
MOST_WEIGHT = 1000


def run_worker(
    app: App,
    *,
    url: str | None,
    queues: Sequence[str] | Mapping[str, int] | None,
    concurrency: int,
    lease: str,
    grace: float,
    name: str | None,
    until: Literal["stopped", "idle"],
) -> int:
    """Run the app's jobs until it is told to stop; a URL given here wins over the app's own. Raises `RoostError`."""
    elsewhere = None if url is None else Connection(lambda: url, timeout=_ANSWER_SECONDS, patience=None)

    async def run() -> int:
        with nullcontext() if elsewhere is None else app.connected_to(elsewhere):
            try:
                worker = await app.worker(queues=queues, concurrency=concurrency, lease=lease, name=name, grace=grace)
                _heed_signals(worker, grace)
                told = f"worker {worker.name}: {len(list(app.registry))} kinds, queues {_told(worker)}, "
                note(f"{told}{worker.concurrency} at a time, at {without_password(app.url)}")
                await worker.run(until=until)
                return exit_codes.OK
            finally:
                await app.aclose()

    return asyncio.run(run())


def read_queues(words: Sequence[str]) -> list[str] | dict[str, int] | None:
    """Names in strict order, or weights where one is ``name:weight``; None for no words. Raises `InvalidRequest`."""
    pairs = [word.partition(":") for word in words]
    for name, colon, weight in pairs:
        check_name(name, "queues")
        if colon and not (weight.isdecimal() and 1 <= int(weight) <= MOST_WEIGHT):
            raise InvalidRequest(
                f"{weight[:40]!r} is no weight", path=f"queues.{name}", help=f"a whole number from 1 to {MOST_WEIGHT}"
            )
    if any(colon for _, colon, _ in pairs):
        return {name: int(weight or 1) for name, _, weight in pairs}
    return [name for name, _, _ in pairs] or None


def _told(worker: Worker) -> str:
    """Its queues, with their weights where they have some."""
    weights = worker.weights
    return ", ".join(queue if weights is None else f"{queue}:{weights[queue]}" for queue in worker.queues)


def _heed_signals(worker: Worker, grace: float) -> None:
    """The first SIGTERM or SIGINT drains; a second one ends the process as if it were not heeded."""
    loop = asyncio.get_running_loop()
    asked = False

    def heed(number: signal.Signals) -> None:
        nonlocal asked
        if asked:
            for one in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(one)
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        asked = True
        note(f"draining: {worker.running} running jobs may finish within {grace:g} s; once more ends now")
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heed, number)
