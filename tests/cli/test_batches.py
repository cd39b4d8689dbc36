"""``roost batches``, ``roost signals`` and the options that relate jobs to each other."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Roost

pytestmark = [pytest.mark.feature("batches"), pytest.mark.feature("dependencies")]


def test_a_batch_from_its_creation_to_its_end(roost: Roost) -> None:
    spec = json.dumps({"jobs": [{"kind": "never", "queue": "cli-batch"}], "on_complete": {"kind": "never"}})
    made = roost("batches", "create", spec, "--name", "pages", "--open", "-o", "json")
    assert made.returncode == 0, made.stderr
    batch = json.loads(made.stdout)
    assert (batch["state"], batch["total"], batch["name"]) == ("open", 1, "pages")
    id = str(batch["id"])
    joined = roost("jobs", "enqueue", "never", "--queue", "cli-batch", "--batch", id, "-o", "id").stdout.strip()
    assert json.loads(roost("batches", "seal", id, "-o", "json").stdout)["total"] == 2
    refused = roost("jobs", "enqueue", "never", "--batch", id)
    assert (refused.returncode, "error[conflict]" in refused.stderr) == (4, True)
    page = roost("batches", "list")
    assert page.returncode == 0
    assert "pages" in page.stdout
    assert roost("batches", "list", "-o", "id").stdout.split()[0] == id
    cancelled = roost("batches", "cancel", id, "--note", "enough", "-o", "json")
    assert json.loads(cancelled.stdout)["state"] in ("sealed", "finished")
    assert json.loads(roost("jobs", "inspect", joined, "-o", "json").stdout)["state"] == "cancelled"
    shown = roost("batches", "show", id)
    assert shown.returncode == 0
    assert f"batch {id}" in shown.stdout
    assert roost("batches", "show", "999999").returncode == 3


def test_jobs_after_jobs_and_their_children(roost: Roost) -> None:
    need = roost("jobs", "enqueue", "never", "--queue", "cli-after", "-o", "id").stdout.strip()
    words = ("jobs", "enqueue", "never", "--queue", "cli-after", "--after", need, "--parent", need, "-o", "id")
    waiting = roost(*words).stdout.strip()
    (told,) = json.loads(roost("jobs", "dependencies", waiting, "-o", "json").stdout)
    assert (told["id"], told["state"], told["pending"]) == (int(need), "ready", True)
    assert "yes" in roost("jobs", "dependencies", waiting).stdout
    assert roost("jobs", "children", need, "-o", "id").stdout.strip() == waiting
    explained = roost("jobs", "explain", waiting)
    assert (explained.returncode, f"job {need}" in explained.stdout) == (0, True)
    roost("jobs", "cancel", need, "--yes")
    ended = roost("jobs", "wait", waiting, "--within", "20s")
    assert "cancelled" in ended.stderr
    missing = roost("jobs", "enqueue", "never", "--after", "999999")
    assert (missing.returncode, "after[0]" in missing.stderr) == (3, True)


def test_a_signal(roost: Roost) -> None:
    sent = roost("signals", "send", "paid", '{"a": 1}', "-o", "json")
    assert sent.returncode == 0, sent.stderr
    assert json.loads(sent.stdout)["id"] > 0
    assert roost("signals", "send", "paid", "--job", "999999").returncode == 3
