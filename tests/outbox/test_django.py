"""Django's tasks on Roost: rows in SQLite and PostgreSQL, jobs in the same database and elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.source_files import ROOT
from tests.outbox.conftest import elsewhere

pytestmark = pytest.mark.feature("outbox")


@pytest.mark.parametrize(
    ("rows", "jobs"),
    [("sqlite", "sqlite"), ("sqlite", "postgresql"), ("postgresql", "sqlite"), ("postgresql", "beside")],
)
def test_tasks_are_jobs(rows: str, jobs: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "SHOP_FOLDER": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "examples.django_app.settings",
    }
    if rows == "postgresql":
        environment["SHOP_POSTGRES"] = request.getfixturevalue("postgres_url")
    if jobs == "beside":
        environment["ROOST_URL"] = environment["SHOP_POSTGRES"]
    else:
        environment["ROOST_URL"] = elsewhere(jobs, request, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", "import django; django.setup(); from tests.outbox import django_checks as c; c.main()"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "all well" in done.stdout


@pytest.mark.parametrize("beside", [False, True], ids=["relayed", "beside"])
def test_the_example(beside: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    environment = {**os.environ, "SHOP_FOLDER": str(tmp_path)}
    environment.pop("ROOST_URL", None)
    if beside:
        environment["SHOP_POSTGRES"] = environment["ROOST_URL"] = request.getfixturevalue("postgres_url")
    done = subprocess.run(
        [sys.executable, "-m", "examples.django_app.demo"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines() == [
        "ana's mail is ready",
        "ben has no order: the card was refused",
        "ana's mail is successful: thanks, ana",
        "ana's reminder is ready",
        "orders: [('ana', True)]",
    ]
