"""README's twenty lines, typed as shown: embedded, then the same file against a server."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from scripts.source_files import ROOT
from tests.docs.documents import blocks, commands
from tests.support import program

README = (ROOT / "README.md").read_text()
[TOUR] = blocks(README, "python")
FIRST, SECOND = (commands(f"```console\n{block}```\n") for block in blocks(README, "console")[1:3])
PROGRAM = {"python": [sys.executable], "roost": [sys.executable, "-m", "roost.cli.main"]}


class Terminal:
    """A shell's session in a folder: variables that were exported, programs in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}

    def run(self, words: list[str]) -> str:
        """Run a command to its end; what it printed. Only other programs are started."""
        if words[0] == "roost":
            done = program.call(words[1:], self.folder, self.variables)
        else:
            done = subprocess.run(
                self._line(words),
                cwd=self.folder,
                env=self.variables,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    @contextmanager
    def background(self, words: list[str], ready: Callable[[str], bool]) -> Iterator[Callable[[], str]]:
        """Run a command until the end of the block; answers with what it has printed. SIGTERM must end it well."""
        log = self.folder / f"{words[1]}-{time.monotonic_ns()}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                self._line(words), cwd=self.folder, env=self.variables, stdout=output, stderr=output
            )
        try:
            until(lambda: ready(log.read_text()) or process.poll() is not None, log.read_text)
            assert process.poll() is None, log.read_text()
            yield log.read_text
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()

    def _line(self, words: list[str]) -> list[str]:
        return PROGRAM[words[0]] + words[1:]


def until(what: Callable[[], object], told: Callable[[], str], seconds: float = 30.0) -> None:
    """Return once ``what`` is true; fails with what was ``told`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


def works(text: str) -> bool:
    """Whether a worker's log says that it runs."""
    return "at a time" in text


def test_the_example_is_the_readmes_tour() -> None:
    assert TOUR.removeprefix("# tour.py\n") == (ROOT / "examples" / "tour" / "tour.py").read_text()
    lines = [line for line in TOUR.splitlines() if line.strip() and not line.startswith("#")]
    assert len(lines) <= 20
    assert (TOUR.count("@app.job"), TOUR.count("@app.schedule")) == (2, 1)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal in an empty folder with nothing but the tour."""
    (tmp_path / "tour.py").write_text(TOUR)
    return Terminal(tmp_path)


def test_the_tour_embedded_then_against_a_server(terminal: Terminal) -> None:
    script, worker, listing, approve, inspect = FIRST
    assert terminal.run(script) == "1\n"
    assert (terminal.folder / "roost.db").exists()
    with terminal.background(worker, works):
        until(lambda: "Publish" in terminal.run(listing), lambda: terminal.run(inspect))
        assert "approved approval 1" in terminal.run(approve)
        until(lambda: "succeeded" in terminal.run(inspect), lambda: terminal.run(inspect))
    shown = terminal.run(inspect)
    assert re.search(r"result\s+2\b", shown), shown
    for step in ("greet", "approv"):
        assert step in shown
    every = terminal.run(["roost", "schedules", "list", "-o", "json"])
    assert '"Europe/Rome"' in every

    server, export, again, _ = SECOND
    assert server[:2] == ["roost", "server"]
    assert export[0] == "export"
    name, _, url = export[1].partition("=")
    with ExitStack() as stack:
        # Another port than the documented one, which may be taken here; that it is the default is tried elsewhere.
        said = stack.enter_context(terminal.background([*server, "--port", "0"], lambda text: "listening on" in text))
        found = re.search(r"listening on (http://\S+?),", said())
        assert found
        assert url.rpartition(":")[0] == found[1].rpartition(":")[0]
        terminal.variables[name] = found[1]
        stack.enter_context(terminal.background(again, works))
        assert terminal.run(script) == "1\n"
        until(lambda: "Publish" in terminal.run(listing), lambda: terminal.run(inspect))
        terminal.run(approve)
        until(lambda: "succeeded" in terminal.run(inspect), lambda: terminal.run(inspect))
        assert "greet" in terminal.run(["roost", "jobs", "inspect", "1"])
    assert (terminal.folder / "tour.py").read_text() == TOUR
    assert (terminal.folder / "jobs.db").exists()


def test_the_documented_port_is_the_default() -> None:
    from roost.cli.dev import command as dev
    from roost.server.settings import Settings

    port = int(shlex.split(README.split("export ROOST_URL=")[1])[0].rpartition(":")[2])
    assert Settings().port == port
    assert next(option.default for option in dev.params if option.name == "port") == port
