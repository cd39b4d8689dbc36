"""``roost db backup`` and ``roost db adopt`` on real files, next to real processes and Python's own SQLite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import roost
from roost.errors import StoreError
from tests.docs.test_tour import until
from tests.support import program

BATCH = 50
NEEDLE = "needle-in-a-value"
ENQUEUE = f"""
import os, signal, sys, roost
app = roost.App("sqlite:///jobs.db")
@app.job(name="one")
def one(n: int, text: str = "{NEEDLE}") -> int: return n
def enqueue() -> None: one.enqueue_many_sync([dict(n=n, text="{NEEDLE}" + "x" * 500) for n in range({BATCH})])
enqueue()
"""
DIE = ENQUEUE + "os.kill(os.getpid(), signal.SIGKILL)"
# the last to close a writer moves the log into the file
END = ENQUEUE + "app.close()\nfrom roost.engine.sqlite.connection import open_writer\nopen_writer('jobs.db').close()"
GO_ON = (
    ENQUEUE.replace("500", "4000")
    + """
for _ in range(25): enqueue()
print("started", flush=True)
while not os.path.exists("stop"): enqueue()
app.close()
"""
)
LOOK = "import sqlite3; print(sqlite3.connect('jobs.db').execute('SELECT count(*) FROM job').fetchone()[0])"
DUMP = """
import sqlite3
old, new = sqlite3.connect('jobs.db'), sqlite3.connect('new.db')
new.executescript(chr(10).join(old.iterdump()))
"""


def python(program: str, folder: Path) -> str:
    """Run a program in a process of its own: two copies of SQLite in one would take each other's locks away."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.stdout.strip()


def db(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``roost db``."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
    return program.call(["db", *words], folder, known)


def adopted(folder: Path, file: str = "jobs.db") -> dict[str, object]:
    """What ``roost db adopt`` says it did."""
    done = db(folder, "adopt", "--store", f"sqlite:///{file}", "-o", "json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def jobs_in(path: Path) -> int:
    """How many jobs a store has, asked through Roost."""
    with roost.Client.connect(f"sqlite:///{path}") as client:
        return sum(queue.ready for queue in client.queues.list())


def change(file: Path, place: Callable[[bytes], int]) -> None:
    """Flip a bit of the byte at ``place(content)``, as a bad disk would."""
    content = bytearray(file.read_bytes())
    content[place(bytes(content))] ^= 1
    file.write_bytes(content)


def a_value(content: bytes) -> int:
    # the last one: the root of the table still has remains of the first ones in its free space
    return content.rindex(NEEDLE.encode())


def the_kind_of_its_page(content: bytes) -> int:
    return a_value(content) // 4096 * 4096


def test_a_file_that_another_program_closed_after_a_crash_is_refused_until_it_is_adopted(tmp_path: Path) -> None:
    file = tmp_path / "jobs.db"
    python(DIE, tmp_path)
    assert python(LOOK, tmp_path) == str(BATCH)
    with pytest.raises(StoreError, match="damaged") as refused:
        jobs_in(file)
    assert "does not fit its checksum" in refused.value.message
    assert f"roost db adopt --store sqlite:///{file}; else restore a backup" in refused.value.help

    done = db(tmp_path, "adopt", "--store", "sqlite:///jobs.db")
    assert done.returncode == 0, done.stderr
    assert "pages had no valid checksum; all were written anew and verified" in done.stdout
    assert "it sees structure, not values" in done.stderr
    assert jobs_in(file) == BATCH

    before = file.read_bytes()
    again = adopted(tmp_path)
    assert (again["changed"], again["without_checksum"]) == (False, 0)
    assert file.read_bytes() == before


def test_a_crash_alone_needs_no_adoption(tmp_path: Path) -> None:
    python(DIE, tmp_path)
    assert adopted(tmp_path)["changed"] is False
    assert jobs_in(tmp_path / "jobs.db") == BATCH


def test_a_file_that_another_program_made_gets_checksums(tmp_path: Path) -> None:
    python(END, tmp_path)
    python(DUMP, tmp_path)
    refused = db(tmp_path, "backup", "copy.db", "--store", "sqlite:///new.db")
    assert "new.db has no checksums" in refused.stderr
    done = adopted(tmp_path, "new.db")
    assert done["without_checksum"] == done["pages"]
    assert adopted(tmp_path, "new.db")["changed"] is False
    assert jobs_in(tmp_path / "new.db") == BATCH
    change(tmp_path / "new.db", a_value)
    refused = db(tmp_path, "backup", "copy.db", "--store", "sqlite:///new.db")
    assert "does not fit its checksum" in refused.stderr


def test_a_value_that_the_disk_changed_is_taken_over_and_the_answer_says_so(tmp_path: Path) -> None:
    file = tmp_path / "jobs.db"
    python(END, tmp_path)
    change(file, a_value)
    done = adopted(tmp_path)
    assert (done["changed"], done["without_checksum"]) == (True, 1)
    assert jobs_in(file) == BATCH
    # the price: what the disk made of it is now what the store says
    assert b"o" + NEEDLE[1:].encode() in file.read_bytes()


def test_a_spoilt_structure_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "jobs.db"
    python(END, tmp_path)
    change(file, the_kind_of_its_page)
    before = file.read_bytes()
    done = db(tmp_path, "adopt", "--store", "sqlite:///jobs.db")
    assert (done.returncode, "is damaged" in done.stderr, "restore a backup" in done.stderr) == (5, True, True)
    assert file.read_bytes() == before


def test_what_is_no_store_is_not_adopted(tmp_path: Path) -> None:
    python("import sqlite3; sqlite3.connect('other.db').execute('CREATE TABLE job (id)')", tmp_path)
    (tmp_path / "text.db").write_text("no database " * 1000)
    for file, told in (
        ("other.db", "is a database, but not a store of Roost's"),
        ("text.db", "is not an SQLite database"),
        ("none.db", "there is no store none.db"),
    ):
        done = db(tmp_path, "adopt", "--store", f"sqlite:///{file}")
        assert done.returncode != 0
        assert told in done.stderr


def test_a_store_at_work_is_copied_but_not_adopted(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", GO_ON], cwd=tmp_path, stdout=log, stderr=log)
    try:
        told = (tmp_path / "log").read_text
        until(lambda: "started" in told() or process.poll() is not None, told)
        counts = []
        for name in ("first.db", "second.db"):
            done = db(tmp_path, "backup", name, "--store", "sqlite:///jobs.db")
            assert done.returncode == 0, done.stderr
            assert f"{name}: a verified copy of jobs.db" in done.stdout
            counts.append(jobs_in(tmp_path / name))
        refused = db(tmp_path, "adopt", "--store", "sqlite:///jobs.db")
        assert process.poll() is None, told()
        (tmp_path / "stop").touch()
        assert process.wait(30) == 0, told()
    finally:
        process.kill()
        process.wait()
    assert "error[store_owned]" in refused.stderr
    # each is one moment: whole batches, and never more than there are
    assert 0 < counts[0] < counts[1] <= jobs_in(tmp_path / "jobs.db")
    assert [count % BATCH for count in counts] == [0, 0]
    # larger than SQLite's cache for the copy, which gives pages up before the first one
    assert (tmp_path / "first.db").stat().st_size > 4 << 20
    assert adopted(tmp_path, "first.db")["without_checksum"] == 0
    assert not list(tmp_path.glob("*part*"))


def test_a_backup_overwrites_nothing_and_leaves_nothing_of_a_failure(tmp_path: Path) -> None:
    python(END, tmp_path)
    (tmp_path / "there.db").write_text("mine")
    refused = db(tmp_path, "backup", "there.db")
    assert (refused.returncode, "jobs.db" in refused.stderr) == (3, False)
    refused = db(tmp_path, "backup", "there.db", "--store", "sqlite:///jobs.db")
    assert (refused.returncode, "there.db is there already" in refused.stderr) == (4, True)
    assert (tmp_path / "there.db").read_text() == "mine"
    assert "there is no folder" in db(tmp_path, "backup", "no/copy.db", "--store", "sqlite:///jobs.db").stderr
    change(tmp_path / "jobs.db", a_value)
    refused = db(tmp_path, "backup", "copy.db", "--store", "sqlite:///jobs.db")
    assert (refused.returncode, "roost db adopt" in refused.stderr) == (5, True)
    assert not list(tmp_path.glob("copy*"))


@pytest.mark.parametrize(
    ("verb", "store", "told"),
    [
        ("backup", "postgresql://roost:secret@db/roost", "pg_dump"),
        ("adopt", "postgresql://roost:secret@db/roost", "is a PostgreSQL database, not a file"),
        ("backup", "sqlite://:memory:", "a store in memory has no file"),
        ("backup", "http://127.0.0.1:7667", "is not a store"),
    ],
)
def test_another_kind_of_store_is_refused_with_the_reason(tmp_path: Path, verb: str, store: str, told: str) -> None:
    done = db(tmp_path, verb, *(["copy.db"] if verb == "backup" else []), "--store", store)
    assert done.returncode == 1
    assert told in done.stderr
    assert "secret" not in done.stderr


def test_a_page_that_stops_to_fit_at_run_time_names_both_ways_out(tmp_path: Path) -> None:
    python(END, tmp_path)
    change(tmp_path / "jobs.db", a_value)
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    with roost.Client.connect(url) as client, pytest.raises(StoreError, match="damaged") as refused:
        [client.jobs.get(number) for number in range(1, BATCH + 1)]
    assert "roost db adopt" in refused.value.help
    assert "restore a backup" in refused.value.help
