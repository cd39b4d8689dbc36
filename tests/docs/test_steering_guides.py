"""The guides on queues and tracked work: their programs run, their commands typed as shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.source_files import ROOT
from tests.docs.documents import blocks, guide, shown_commands
from tests.support import program


def typed(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """A command of a guide, typed in ``folder``."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("ROOST_")}
    return program.call(words, folder, variables)


def programmed(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The guide's program, run in ``folder``."""
    return subprocess.run(
        [sys.executable, "-c", "\n\n".join(blocks(guide(name), "python"))],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.feature("tracked-work")
def test_the_commands_of_the_guide_on_tracked_work(tmp_path: Path) -> None:
    shown = shown_commands(guide("tracked-work"))
    assert len(shown) == 4
    said = [typed(words, tmp_path) for words in shown]
    assert [(done.returncode, done.stderr) for done in said[:3]] == [(0, "")] * 3
    assert "Brief posted" in said[3].stdout
    assert '"pages": 3' in said[3].stdout


@pytest.mark.feature("tracked-work")
def test_every_word_the_command_line_says_is_one_it_takes(tmp_path: Path) -> None:
    for state, flag in (
        ("succeeded", "--summary"),
        ("failed", "--error"),
        ("cancelled", "--note"),
        ("ready", "--note"),
    ):
        made = json.loads(typed(["jobs", "create", "k", "-o", "json"], tmp_path).stdout)
        id = str(made["id"])
        for words in (["--state", "running"], ["--state", state, flag, "told by hand"]):
            done = typed(["jobs", "update", id, *words, "-o", "json"], tmp_path)
            assert done.returncode == 0, done.stderr
        told = json.loads(typed(["jobs", "inspect", id, "-o", "json"], tmp_path).stdout)["state"]
        assert told == state
        listed = typed(["jobs", "list", "--state", told, "-o", "id"], tmp_path).stdout.split()
        assert id in listed
    stale = typed(["jobs", "update", "1", "--note", "late"], tmp_path)
    assert stale.returncode == 4
    assert "lease_lost" in stale.stderr


@pytest.mark.feature("tracked-work", "queue-control")
@pytest.mark.parametrize(("name", "told"), [("tracked-work", "Brief posted"), ("queues", "True 0")])
def test_the_guides_programs(name: str, told: str, tmp_path: Path) -> None:
    done = programmed(name, tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, told), done.stderr


@pytest.mark.feature("queue-control", "input-schema")
def test_the_commands_of_the_guide_on_queues(tmp_path: Path) -> None:
    assert typed(["jobs", "enqueue", "k", "--queue", "mail"], tmp_path).returncode == 0
    for words in shown_commands(guide("queues")):
        done = typed(words, tmp_path)
        assert done.returncode == 0, (words, done.stderr)
    assert typed(["queues", "list", "-o", "id"], tmp_path).stdout.split() == []


@pytest.mark.feature("cancel-move-clone", "tags-notes", "failed-jobs")
def test_the_commands_of_the_guide_on_jobs_are_answered(tmp_path: Path) -> None:
    url = ["--url", f"sqlite:///{tmp_path}/jobs.db"]
    assert typed([*url, "jobs", "enqueue", "k", '{"user": "ana"}', "--delay", "1h"], tmp_path).returncode == 0
    answers = []
    for words in shown_commands(guide("jobs")):
        if words[:1] == ["jobs"] and "17" in words:
            done = typed([*url, *["1" if word == "17" else word for word in words]], tmp_path)
            answers.append((words[1], done.returncode))
            if words[1] == "clone":
                assert typed([*url, "jobs", "cancel", "1"], tmp_path).returncode == 0
    assert answers == [(name, 0) for name in ("move", "run", "hold", "clone", "retry", "edit", "note")]
