"""``roost events`` and ``roost jobs logs -f``: streams to the end, across a restart of the server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.programs import Server
from tests.cli.conftest import environment
from tests.support import program

pytestmark = pytest.mark.feature("events")


@contextmanager
def following(url: str, folder: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "roost.cli.main", *words],
        cwd=folder,
        env={**environment(url), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    stuck = threading.Timer(60, process.kill)
    stuck.start()
    try:
        yield process
    finally:
        stuck.cancel()
        process.kill()
        process.wait()


def call(url: str, folder: Path, *words: str) -> str:
    done = program.call(words, folder, environment(url))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_events_are_shown_and_followed_over_a_restart(tmp_path: Path) -> None:
    with Server(f"sqlite:///{tmp_path}/roost.db", tmp_path) as server:

        def roost(*words: str) -> str:
            return call(server.url, tmp_path, *words)

        assert roost("events", "-o", "json").strip() == "[]"
        first = roost("jobs", "enqueue", "mail.send", "-o", "id").strip()
        assert "created" in roost("events")
        with following(
            server.url, tmp_path, "events", "-f", "--after", "0", "--type", "created", "-o", "jsonl"
        ) as process:
            assert process.stdout is not None
            seen: list[dict[str, Any]] = [json.loads(process.stdout.readline())]
            server.kill()
            server.start()
            second = roost("jobs", "enqueue", "mail.send", "-o", "id").strip()
            seen.append(json.loads(process.stdout.readline()))
            assert [str(event["job"]) for event in seen] == [first, second]
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        page = json.loads(roost("events", "--job", second, "-o", "json"))
        assert [(event["type"], event["state"]) for event in page] == [("created", "ready")]
        ids = roost("events", "--limit", "1", "-o", "id").split()
        assert roost("events", "--after", ids[0], "-o", "id").split() == [seen[1]["id"]]


def test_a_log_is_followed_to_its_jobs_end(tmp_path: Path) -> None:
    with Server(f"sqlite:///{tmp_path}/roost.db", tmp_path) as server:
        id = call(server.url, tmp_path, "jobs", "enqueue", "mail.send", "-o", "id").strip()
        with following(server.url, tmp_path, "jobs", "logs", id, "-f") as process:
            call(server.url, tmp_path, "jobs", "cancel", id)
            out, err = process.communicate(timeout=30)
            assert (process.returncode, out, err) == (0, "", "")
