"""The outbox's examples, run as a reader would run them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts.source_files import ROOT

pytestmark = pytest.mark.feature("outbox")


def test_the_shop_with_sqlalchemy_and_sqlite3() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.outbox"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(done.stdout.splitlines()) == [
        "2 mails, 2 jobs brought",
        "mallory has no order: the card was refused",
        "thanks for order 1, ana",
        "thanks for order 2, ben",
    ]
