"""The pipeline of 500 pages as a user runs it: every promise of its README is checked on the way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKS = [
    "acme's first page waits for its limit",
    "the heavy page is cancelled, acme's others went on",
    "498 pages succeeded, 1 was cancelled, 1 is in quarantine",
    "the callback ran once and counted them",
    "the index has {'pages': 498, 'words': 62023}",
    "no tenant had more than 4 pages at work at once",
]

pytestmark = [pytest.mark.feature(key) for key in ("batches", "dependencies", "limits", "quarantine")]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "examples.pipeline", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def checked(output: str) -> list[str]:
    return [line.removeprefix("  ok  ") for line in output.splitlines() if line.startswith("  ok  ")]


def test_it_keeps_its_promises_embedded_and_on_a_server() -> None:
    output = run()
    held = checked(output)
    assert len(held) == 2 * len(CHECKS)
    assert all(line.startswith(check) for line, check in zip(held, CHECKS * 2, strict=True))
    # What a user is told at each stage, not only what the program checks.
    for words in (
        "Limit 'tenant:acme': 4 of 4 are taken by job",
        "held (quarantine)",
        "killed by SIGSEGV, peak memory",
        "quarantined  1",
        "has not ended: it is held (quarantine)",
    ):
        assert output.count(words) >= 2, words


def test_it_keeps_its_promises_on_postgresql(postgres_url: str) -> None:
    assert len(checked(run("server", "--store", postgres_url))) == len(CHECKS)
