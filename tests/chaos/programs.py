"""Real servers and workers: started, killed and stopped by their id, and never alive longer than this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from roost.sdk._sync.client import Client
from roost.sdk.patience import Patience
from tests.chaos.report import ROOT
from tests.support.processes import ServerFailed, free_port, tail

READY_SECONDS = 30.0
LOOK_SECONDS = 0.05
"""Often enough for whoever waits; each look may be a call that the server has to answer."""

T = TypeVar("T")


def until(
    what: str, look: Callable[[], T | None], seconds: float = 30.0, *, explain: Callable[[], str] = lambda: ""
) -> T:
    """The first answer of ``look`` that is true; raises ServerFailed, with what ``explain`` says, when time is up."""
    deadline = time.monotonic() + seconds
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise ServerFailed(f"{what}: not within {seconds:g} s\n{explain()}")
        time.sleep(LOOK_SECONDS)


class Program:
    """One ``roost`` command in a process of its own; its output is appended to ``log``."""

    def __init__(self, arguments: list[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        with log.open("ab") as output:
            # The kernel kills it when this process is gone, however that dies.
            self.process = subprocess.Popen(
                ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "roost.cli.main", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """``kill -9``: no handler runs, no lease is given back."""
        self.process.kill()
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, seconds: float = 20.0) -> int:
        """Ask it to end; its exit code. Raises ServerFailed where it had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ServerFailed(f"did not end within {seconds:g} s of SIGTERM:\n{tail(self.log)}") from None

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        if self.alive:
            self.signal(signal.SIGCONT)
            self.kill()


class Server:
    """A server on a store, at an address that stays over its deaths."""

    def __init__(self, store: str, folder: Path, name: str = "server", grace: str = "10s") -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{name}.log"
        self._arguments = ["server", "--store", store, "--port", str(self.port), "--grace", grace]
        self._arguments += ["--log-level", "warning"]
        self.program: Program | None = None

    def start(self) -> float:
        """Start it and wait until it is ready; the seconds that took. Raises ServerFailed with its log."""
        began = time.monotonic()
        program = self.program = Program(self._arguments, self.log)

        def ready() -> bool:
            if not program.alive:
                raise ServerFailed(f"the server ended with {program.process.returncode}:\n{tail(self.log)}")
            return is_ready(self.url)

        until("the server is ready", ready, READY_SECONDS)
        return time.monotonic() - began

    def kill(self) -> None:
        if self.program is not None:
            self.program.kill()

    def stop(self) -> int:
        """Ask it to end; its exit code."""
        assert self.program is not None
        return self.program.stop()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *words: object) -> None:
        if self.program is not None:
            self.program.__exit__(*words)


def is_ready(url: str) -> bool:
    """Whether a server answers there, and its store too."""
    with client(url) as asked:
        try:
            return asked.server.ready().status == "ok"
        except Exception:
            return False


def client(url: str, *, patient: bool = False) -> Client:
    """A client that repeats nothing by itself, so that its caller knows each outcome; ``patient``: one that does."""
    return Client.connect(url, timeout=10.0, patience=Patience() if patient else Patience(seconds=0.0))
