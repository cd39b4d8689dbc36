"""The main job as `make demo` runs it: real server, real workers, a real kill -9."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_demo_ends_well_by_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.daily_brief", "--yes"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "only the step in flight was repeated" in done.stdout
