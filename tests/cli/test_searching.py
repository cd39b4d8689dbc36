"""The query language, bulk operations, errors and views on the command line."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.cli.conftest import Roost


def enqueue(roost: Roost, count: int, queue: str, *words: str) -> list[str]:
    ids = []
    for number in range(count):
        made = roost("jobs", "enqueue", "mail.send", f'{{"n": {number}}}', "--queue", queue, "-o", "id", *words)
        assert made.returncode == 0, made.stderr
        ids.append(made.stdout.strip())
    return ids


@pytest.mark.feature("query")
def test_one_query_in_list(roost: Roost, server: str) -> None:
    ids = enqueue(roost, 3, "searched", "--tag", "env=prod")
    found = roost("jobs", "list", "tag.env:prod queue:searched input.n:>=1", "--sort=created", "-o", "id")
    assert found.stdout.split() == ids[1:], found.stderr
    assert roost("jobs", "list", "queue:searched", "input.n:0", "-o", "id").stdout.split() == ids[:1]
    assert roost("jobs", "list", "--queue", "searched", "--limit", "1", "-o", "id").stdout.split() == ids[-1:]
    counted = roost("jobs", "list", "queue:searched", "--count", "--limit", "2")
    assert "3 jobs match" in counted.stderr
    assert "there are more" in counted.stderr
    wrong = roost("jobs", "list", "stat:ready")
    assert (wrong.returncode, "did you mean state?" in wrong.stderr) == (1, True)
    assert "input.user.id:42" in roost("help", "query").stdout


@pytest.mark.feature("bulk")
def test_a_query_instead_of_ids(roost: Roost, server: str) -> None:
    ids = enqueue(roost, 3, "acted")
    preview = roost("jobs", "cancel", "queue:acted", "--dry-run")
    assert (preview.returncode, preview.stdout) == (0, "cancel 3 jobs matching queue:acted\n")
    refused = roost("jobs", "cancel", "queue:acted")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert roost("jobs", "list", "queue:acted state:ready", "-o", "id").stdout.split() == ids[::-1]
    done = roost("jobs", "cancel", "queue:acted", "--yes", "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["state"], told["done"], told["actor"]) == ("done", 3, "tester")
    again = roost("jobs", "cancel", "queue:acted", "--yes")
    assert "3 skipped" in again.stdout
    number = str(told["id"] + 1)
    rows = list(csv.DictReader(io.StringIO(roost("bulk", "results", number, "--csv").stdout)))
    assert [row["job"] for row in rows] == ids[::-1]
    assert {row["outcome"] for row in rows} == {"skipped"}
    assert roost("bulk", "list", "-o", "id").stdout.split()[:2] == [number, str(told["id"])]
    assert "done" in roost("bulk", "watch", number).stdout
    assert roost("bulk", "abort", number).returncode == 4


@pytest.mark.feature("bulk")
def test_exit_code_13_when_some_failed(roost: Roost, server: str) -> None:
    (first,) = enqueue(roost, 1, "partly", "--unique", "k")
    assert roost("jobs", "cancel", first).returncode == 0
    enqueue(roost, 1, "partly", "--unique", "k")
    done = roost("jobs", "retry", f"id:{first}", "queue:partly", "--yes")
    assert done.returncode == 13, done.stderr
    assert "1 failed" in done.stdout


@pytest.mark.feature("views-errors")
def test_errors_and_views(roost: Roost, worker: str) -> None:
    made = roost("jobs", "enqueue", "mail.broken", "--retries", "0", "--wait")
    id = made.stdout.split()[0]
    groups = json.loads(roost("errors", "list", "-o", "json").stdout)
    (group,) = [one for one in groups if one["message"] == "no such mailbox"]
    shown = roost("errors", "show", group["fingerprint"])
    for part in ("ValueError", "no such mailbox", "1 failed in default (mail.broken)", "Traceback"):
        assert part in shown.stdout
    assert roost("errors", "retry", group["fingerprint"], "--dry-run").stdout.startswith("retry 1 jobs")
    assert "resolved" in roost("errors", "resolve", group["fingerprint"]).stdout
    assert roost("errors", "mute", "nothing").returncode == 3

    assert roost("views", "save", "broken", f"fp:{group['fingerprint']}", "--sort=-finished").returncode == 0
    assert roost("jobs", "list", "--view", "broken", "-o", "id").stdout.split() == [id]
    assert roost("views", "list", "-o", "id").stdout.split() == ["broken"]
    assert roost("views", "delete", "broken").returncode == 0
    declared = roost("indexes", "add", "input.n", "--kind", "mail.send", "-o", "json")
    assert json.loads(declared.stdout)[0]["path"] == "input.n"
    assert roost("indexes", "remove", "input.n", "--kind", "mail.send").returncode == 0
