"""A real server and a real worker, as processes; commands are called as a user types them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.support.program import call

JOBS = """
import roost

app = roost.App()

def render(to):
    return {"subject": "hi " + to}

@app.job(name="mail.send")
async def send(to: str, ctx: roost.Context) -> str:
    ctx.log("sending \\x1b[31mred")
    ctx.progress(1, 4, "half")
    page = await ctx.step("render", render, to)
    return page["subject"]

@app.job(name="mail.broken")
def broken() -> None:
    raise ValueError("no such mailbox")

@app.job(name="mail.brief")
async def brief(user: str, ctx: roost.Context) -> str:
    decision = await ctx.approve("Send the brief?", show={"to": user, "body": "first\\n\\x1b[2Jsecond"}, expires="2h")
    return f"approved by {decision.approved_by}"
"""

Roost = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(url: str | None) -> dict[str, str]:
    """The environment of a command: nothing of the caller's own Roost settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
    return {**kept, "ROOST_ACTOR": "tester", **({"ROOST_URL": url} if url else {})}


def start(words: list[str], folder: Path, url: str | None = None) -> subprocess.Popen[bytes]:
    with (folder / f"{words[0]}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "roost.cli.main", *words], cwd=folder, env=environment(url), stdout=log, stderr=log
        )


def run(
    words: Sequence[str], folder: Path, url: str | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "roost.cli.main", *words],
        cwd=folder, env=environment(url), input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(20)


def wait_for(what: Callable[[], object], process: subprocess.Popen[bytes], log: Path, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.py").write_text(JOBS)
    return folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[str]:
    """The URL of a server on a SQLite file."""
    process = start(["server", "--port", "0", "--port-file", "url"], place)
    wait_for((place / "url").exists, process, place / "server.log")
    yield (place / "url").read_text().strip()
    assert stop(process) == 0, (place / "server.log").read_text()


@pytest.fixture(scope="module")
def worker(place: Path, server: str) -> Iterator[str]:
    """The name of a worker at the server."""
    process = start(["worker", "shop:app", "--name", "bench-1"], place, server)
    wait_for(lambda: "at a time" in (place / "worker.log").read_text(), process, place / "worker.log")
    yield "bench-1"
    assert stop(process) == 0, (place / "worker.log").read_text()


@pytest.fixture
def roost(place: Path, server: str) -> Roost:
    """Calls a command against the server: ``roost("jobs", "list")``."""

    def typed(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return call(words, place, environment(server), stdin)

    return typed


@pytest.fixture
def program(place: Path, server: str) -> Roost:
    """As ``roost``, by a process of its own."""

    def started(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return run(words, place, server, stdin)

    return started
