"""What a run measures on: the server (its own or a given one), workers, the store's folder and the sizes."""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from roost.bench.figures import EngineName
from roost.bench.load import Requests
from roost.bench.machine import cpu_seconds
from roost.errors import Unavailable
from roost.sdk._sync.client import Client

T = TypeVar("T")

START_SECONDS = 30.0
STOP_SECONDS = 20.0
PAYLOAD = '{"payload":"' + "x" * 106 + '"}'
"""The input of a no-op job: 120 bytes."""


class NotMeasured(Exception):
    """This measure needs something that this run does not have."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of each measure."""

    jobs: int
    """Jobs of a throughput measure."""
    seconds: float
    """The window of a rate of single requests, and of the idle server."""
    samples: int
    """Jobs of a latency measure, and runs of a program whose start is timed."""
    backlog: int
    """Waiting jobs of the backlog measure."""
    retained: int
    """Finished jobs that are kept beside them."""
    schedules: int


QUICK = Sizes(jobs=30_000, seconds=2.0, samples=100, backlog=100_000, retained=500_000, schedules=10_000)
FULL = Sizes(jobs=100_000, seconds=10.0, samples=1_000, backlog=1_000_000, retained=5_000_000, schedules=100_000)


def roost_command(*arguments: str) -> list[str]:
    """The ``roost`` of this interpreter."""
    return [sys.executable, "-m", "roost.cli.main", *arguments]


class Stand:
    """One server to measure, and what measures start beside it."""

    def __init__(
        self, *, engine: EngineName, store: str, url: str, pid: int | None, folder: Path, sizes: Sizes
    ) -> None:
        self.engine = engine
        self.store = store
        """The store's URL; empty when the server was given."""
        self.url = url
        self.folder = folder
        self.sizes = sizes
        self.requests = Requests(url)
        self.client = Client.connect(url)
        self.notes: dict[str, str] = {}
        self.jobs_done = 0
        """Jobs that went through the server so far."""
        self._pid = pid
        self._tag = secrets.token_hex(3)
        self._numbers = itertools.count(1)

    @property
    def pid(self) -> int:
        """The server's process id; raises `NotMeasured` for a server that somebody else started."""
        if self._pid is None:
            raise NotMeasured("needs a server of its own (no --url)")
        return self._pid

    def queue(self) -> str:
        """The name of a queue that nothing used before."""
        return f"bench-{self._tag}-{next(self._numbers)}"

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it on the fastest event loop there is: the generator must not be what is measured."""
        return run(coroutine)

    @contextmanager
    def watched(self, figure: str, jobs: Callable[[], int]) -> Iterator[None]:
        """Note what the work inside costs the server's process: on a busy machine that says more than a rate."""
        if self._pid is None:
            yield
            return
        before = cpu_seconds(self._pid)
        yield
        self.notes[figure] = f"{(cpu_seconds(self._pid) - before) / jobs() * 1e6:.1f} µs of the server's CPU a job"

    @contextmanager
    def worker(self, queue: str, count: int = 1) -> Iterator[None]:
        """``count`` real worker processes on ``queue``, registered and waiting for jobs."""
        known = {worker.id for worker in self.client.workers.list()}
        environ = {**os.environ, "ROOST_URL": self.url}
        command = roost_command("worker", "roost.bench.app:app", "--queues", queue, "--concurrency", "256")
        children: list[tuple[subprocess.Popen[bytes], Path]] = []
        try:
            for number in range(count):
                log = self.folder / f"worker-{queue}-{number}.log"
                children.append((spawn(command, log, environ), log))
            wait_until(
                lambda: (
                    len([w for w in self.client.workers.list() if w.id not in known and queue in w.queues]) >= count
                ),
                START_SECONDS,
                children,
            )
            yield
        finally:
            for child, _ in children:
                stop(child)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(coroutine)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(coroutine)


def spawn(command: Sequence[str], log: Path, environ: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a program whose output goes to ``log``, out of the terminal's reach: the bench itself stops it."""
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environ,
            cwd=log.parent,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; kill it when it does not."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_until(
    ready: Callable[[], bool], seconds: float, watched: Sequence[tuple[subprocess.Popen[bytes], Path]]
) -> None:
    """Return once ``ready()`` is true; raises `Unavailable` with a program's output when it ends before, or in time."""
    deadline = time.monotonic() + seconds
    while not ready():
        for process, log in watched:
            if process.poll() is not None:
                raise Unavailable(f"ended with {process.returncode}: {log.read_text(errors='replace')[-2000:].strip()}")
        if time.monotonic() > deadline:
            tails = "".join(log.read_text(errors="replace")[-2000:] for _, log in watched)
            raise Unavailable(f"not ready after {seconds:g} s: {tails.strip()}")
        time.sleep(0.02)


@contextmanager
def own_server(store: str, sizes: Sizes, writer: str | None = None) -> Iterator[Stand]:
    """A stand with a server of its own on ``store`` (``sqlite``: a new file in a temporary directory)."""
    with tempfile.TemporaryDirectory(prefix="roost-bench-") as directory:
        folder = Path(directory)
        url = f"sqlite:///{folder / 'bench.db'}" if store == "sqlite" else store
        engine: EngineName = "sqlite" if url.startswith("sqlite:") else "postgresql"
        told, log = folder / "url", folder / "server.log"
        command = roost_command("server", "--store", url, "--port", "0", "--port-file", str(told))
        process = spawn([*command, *(("--writer", writer) if writer else ())], log)
        try:
            wait_until(lambda: told.exists() and told.read_text().endswith("\n"), START_SECONDS, [(process, log)])
            address = told.read_text().strip()
            stand = Stand(engine=engine, store=url, url=address, pid=process.pid, folder=folder, sizes=sizes)
            try:
                yield stand
            finally:
                stand.client.close()
        finally:
            stop(process)


@contextmanager
def given_server(url: str, sizes: Sizes) -> Iterator[Stand]:
    """A stand on a server that runs already; it keeps the jobs of the run."""
    with tempfile.TemporaryDirectory(prefix="roost-bench-") as directory, Client.connect(url) as client:
        engine: EngineName = "sqlite" if client.server.info().engine == "sqlite" else "postgresql"
        stand = Stand(engine=engine, store="", url=url, pid=None, folder=Path(directory), sizes=sizes)
        try:
            yield stand
        finally:
            stand.client.close()


def resized(sizes: Sizes, **changes: float | None) -> Sizes:
    """``sizes`` with what was asked for instead: fields by name, None for those nobody asked for."""
    asked: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return replace(sizes, **asked)
