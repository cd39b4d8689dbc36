"""Power cuts lose nothing, and the harness that says so can see a loss."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checkers import Recovery, power_cut
from tests.chaos.disk import SECTOR, Content, Cut, Truncate, Write
from tests.chaos.report import ROOT


def cut_power(output: Path, cuts: int, control: int, seed: int) -> dict[str, Any]:
    """Run the campaign in a process of its own: its VFS lies under every file the process opens."""
    words = ["--cuts", str(cuts), "--control", str(control), "--seed", str(seed), "--output", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.powercut", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert output.exists(), done.stderr
    told: dict[str, Any] = json.loads(output.read_text())
    assert told["violations"] == []
    assert done.returncode == 0, done.stdout
    return told


def test_no_power_cut_loses_what_was_acknowledged(tmp_path: Path) -> None:
    told = cut_power(tmp_path / "powercut.json", 250, 40, 7)["counts"]
    assert told["with_loss"] == told["with_damage"] == 0
    assert told["control_with_loss"] > 10
    assert told["calls_repeated"] > 750


@pytest.mark.chaos
def test_thousands_of_power_cuts(tmp_path: Path) -> None:
    assert cut_power(tmp_path / "powercut.json", 5000, 500, 2)["counts"]["with_loss"] == 0


@pytest.mark.parametrize(
    ("recovery", "violation"),
    [
        (Recovery(5, "row 3 missing from index", [], []), "damaged"),
        (Recovery(5, "ok", [], []), "no prefix"),
        (Recovery(5, "ok", [3, 4], []), "lost: 1"),
        (Recovery(5, "ok", [7], []), "no prefix"),
        (Recovery(5, "ok", [5], [("enqueue", [1], [2])]), "repeated enqueue"),
    ],
)
def test_the_checker_sees(recovery: Recovery, violation: str) -> None:
    (found,) = power_cut(recovery)
    assert found.startswith(violation)


@pytest.mark.parametrize("found", [[5], [6], [4, 5], [6, 7]])
def test_a_prefix_with_all_that_was_acknowledged_is_right(found: list[int]) -> None:
    assert power_cut(Recovery(5, "ok", found, [("enqueue", [1], [1])])) == []


def test_a_cut_keeps_what_was_synced_and_tears_the_rest() -> None:
    content = Content()
    content.pending.append(Write(0, b"a" * 2 * SECTOR))
    content.sync()
    content.pending += [Write(SECTOR, b"b" * SECTOR * 8), Truncate(SECTOR * 3)]
    cut = Cut(1, 0, {"file": (content.durable, content.pending, False)})
    assert cut.image("none", random.Random(1))["file"] == b"a" * 2 * SECTOR
    assert cut.image("all", random.Random(1))["file"] == b"a" * SECTOR + b"b" * 2 * SECTOR
    images = {cut.image("random", random.Random(seed))["file"] for seed in range(200)}
    assert all(image[:SECTOR] == b"a" * SECTOR for image in images)
    torn = [image for image in images if b"b" in image and (b"a" * SECTOR in image[SECTOR:] or b"\0" in image)]
    assert len(images) > 10
    assert torn
