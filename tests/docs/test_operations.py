"""What the operations guide says of files: copies beside a running server, and a file that another program closed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import roost
from roost.errors import StoreError
from roost.server.guard import Limits
from roost.server.settings import Settings
from tests.docs.documents import commands, guide, rows
from tests.docs.test_tour import Terminal

LOOK = "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM job').fetchone()[0])"
COPY = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
ENQUEUE_AND_DIE = """
import os, signal, roost
app = roost.App("sqlite:///jobs.db")
@app.job(name="one")
def one(n: int) -> int: return n
one.enqueue_many_sync([(n,) for n in range(100)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def otherwise(program: str, folder: Path, *words: str) -> str:
    """Run a program in a process of its own: two copies of SQLite in one would take each other's locks away."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout.strip()


def shown(verb: str, folder: Path) -> list[str]:
    """The guide's ``roost db`` command, with ``folder`` for its own folders."""
    [words] = [words for words in commands(guide("operations")) if words[:3] == ["roost", "db", verb]]
    return [
        re.sub(r"/(var/lib/roost|backup)/(\w+\.db)$", rf"{folder}/{'copy.db' if word[0] == '/' else 'jobs.db'}", word)
        for word in words
    ]


def jobs_in(path: Path) -> int:
    """How many jobs a store has, asked through Roost."""
    with roost.Client.connect(f"sqlite:///{path}") as client:
        return sum(queue.ready for queue in client.queues.list())


def test_a_copy_made_while_the_server_runs_can_be_opened(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    server = ["roost", "server", "--store", "sqlite:///jobs.db", "--port", "0"]
    with terminal.background(server, lambda text: "listening on" in text) as log:
        found = re.search(r"listening on (http://\S+?),", log())
        assert found
        with roost.Client.connect(found[1]) as client:
            for number in range(20):
                client.jobs.enqueue(roost.wire.jobs.NewJob(kind="one", input=msgspec.Raw(b"%d" % number)))
            terminal.run(shown("backup", tmp_path))
            otherwise(COPY, tmp_path, "jobs.db", "plain.db")
            client.jobs.enqueue(roost.wire.jobs.NewJob(kind="one"))
    assert jobs_in(tmp_path / "copy.db") == 20
    assert jobs_in(tmp_path / "jobs.db") == 21
    # why there is a command
    with pytest.raises(StoreError, match="damaged"):
        jobs_in(tmp_path / "plain.db")


def test_a_file_that_another_program_has_closed_is_refused_until_it_is_adopted(tmp_path: Path) -> None:
    otherwise(ENQUEUE_AND_DIE, tmp_path)
    assert otherwise(LOOK, tmp_path, "jobs.db") == "100"
    with pytest.raises(StoreError, match="damaged"):
        jobs_in(tmp_path / "jobs.db")
    Terminal(tmp_path).run(shown("adopt", tmp_path))
    assert jobs_in(tmp_path / "jobs.db") == 100


def test_the_tables_have_every_setting() -> None:
    text = guide("operations")
    told = {cells[0].strip("`") for cells in rows(text, "key in `[server]`")}
    assert told == {*Settings.__struct_fields__} - {"limits"}
    assert {cells[0].strip("`") for cells in rows(text, "key in `[server.limits]`")} == {*Limits.__struct_fields__}
