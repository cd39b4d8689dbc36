"""The outbox guide's program and Django's settings, as they stand there."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import roost
from scripts.source_files import ROOT
from tests.docs.documents import blocks, commands, guide, module
from tests.support import program

pytestmark = pytest.mark.feature("outbox")


async def test_the_outbox_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOST_URL", f"sqlite:///{tmp_path}/jobs.db")
    made = module("guide_outbox", guide("outbox"), tmp_path)
    with closing(sqlite3.connect("shop.db")) as shop:
        shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT)")
        roost.outbox.create_table(shop)
        shop.commit()
        made.buy(shop, "ana")
    task = asyncio.create_task(made.relay())
    while len(jobs := (await made.app.client.jobs.list()).jobs) < 2:
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(job.state for job in jobs) == ["ready", "waiting"]
    await made.app.aclose()


def typed(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    if "relay" not in words:
        return program.call(words, folder, os.environ)
    # It takes signals.
    return subprocess.run(
        [sys.executable, "-m", "roost.cli.main", *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_commands_of_the_outbox_guide(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT)")
    run = 0
    for words in commands(guide("outbox")):
        words = [f"sqlite:///{tmp_path}/jobs.db" if word.startswith("http:") else word for word in words]
        if "relay" in words:
            words.append("--until-empty")
        done = typed(words[1:], tmp_path)
        assert done.returncode == 0, (words, done.stderr)
        run += 1
    assert run == 7


def test_the_settings_of_the_django_guide(tmp_path: Path) -> None:
    (tmp_path / "guide_settings.py").write_text("\n".join(blocks(guide("django"), "python")))
    check = """
import django
django.setup()
from roost.django.compat import tasks
backend = tasks.task_backends["default"]
print(type(backend).__name__, backend.app.url, sorted(backend.queues), backend.retry.retries)
"""
    done = subprocess.run(
        [sys.executable, "-c", check],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "guide_settings", "PYTHONPATH": f"{tmp_path}:{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "RoostBackend postgresql://roost@127.0.0.1/shop ['default', 'mail'] 3\n"
