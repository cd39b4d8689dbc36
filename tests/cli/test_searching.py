"""The query language, bulk operations, errors and views on the command line."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest

from roost.cli import bulk_operations
from roost.cli.session import Session
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
    assert roost("jobs", "facets", "tag.env", "queue:searched", "-o", "id").stdout == "prod\n"


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


@pytest.mark.feature("enqueue")
def test_one_job_with_every_option_and_many_from_a_file(roost: Roost, server: str) -> None:
    words = (
        "jobs", "enqueue", "mail.full", '{"to":{"id":7}}', "--queue", "full", "--delay", "1h", "--ttl", "5m",
        "--unique-field", "to.id", "--unique-scope", "queue", "--on-conflict", "reschedule", "--metadata", '{"m":1}',
        "--limit", '{"key":"smtp","concurrency":3}', "--retry", '{"errors":[{"types":["a.*"],"retries":0}]}',
        "--retries", "2", "--base", "1m", "--owner", "mia", "--tag", "a=b",
    )  # fmt: skip
    (id, again) = (roost(*words, "-o", "id").stdout.strip() for _ in range(2))
    assert id == again
    job = json.loads(roost("jobs", "inspect", id, "-o", "json").stdout)
    assert job["retry"] == {"retries": 2, "base": "1m", "errors": [{"types": ["a.*"], "retries": 0}]}
    assert (job["limits"][0]["key"], job["metadata"], job["owner"], job["tags"]) == (
        "smtp",
        {"m": 1},
        "mia",
        {"a": "b"},
    )
    assert (job["state"], job["unique_key"].endswith("to.id=7"), job["expires_at"] > job["run_at"]) == (
        "waiting",
        True,
        True,
    )
    assert "never" in roost("jobs", "inspect", id).stdout
    assert roost("jobs", "enqueue", "k", "--on-conflict", "reject").returncode == 2

    lines = [json.dumps({"kind": "mail.many", "queue": "many", "input": n}) for n in range(1200)]
    stored = roost("jobs", "enqueue-many", "-", "-o", "id", stdin="\n".join([lines[0], "", *lines[1:], ""]))
    assert stored.returncode == 0, stored.stderr
    assert len(set(stored.stdout.split())) == 1200
    assert "1,200" in roost("jobs", "list", "queue:many", "--count", "--limit", "1").stderr
    for wrong, told in (('{"kind":"a b"}', "line 1101: "), ('{"kind":1}', "line 1101: "), ("{", "line 1101: ")):
        refused = roost("jobs", "enqueue-many", "-", stdin="\n".join([*lines[:1100], wrong, *lines[:10]]))
        assert (refused.returncode, told in refused.stderr) == (1, True), refused.stderr
        assert "1,000 lines are stored" in refused.stderr
    taken = json.dumps({"kind": "mail.full", "queue": "full", "unique": {"key": "to.id=7", "scope": "queue"}})
    partly = roost("jobs", "enqueue-many", "-", "-o", "id", stdin=f"{taken}\n{lines[0]}")
    assert (partly.returncode, len(partly.stdout.split())) == (13, 1)
    assert "line 1: the unique key" in partly.stderr


@pytest.mark.feature("query")
def test_chosen_fields_in_every_form_of_output(roost: Roost, server: str) -> None:
    ids = enqueue(roost, 2, "chosen", "--tag", "env=prod")
    words = ("jobs", "list", "queue:chosen", "--sort=created", "--fields", "input.n,id,tags.env,worker,input")
    lines = roost(*words).stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["input.n", "id", "tags.env", "worker", "input"],
        *([str(n), id, "prod", f'{{"n":{n}}}'] for n, id in enumerate(ids)),
    ]
    rows = list(csv.reader(io.StringIO(roost(*words, "-o", "csv").stdout)))
    assert rows[1:] == [[str(n), id, "prod", "", f'{{"n":{n}}}'] for n, id in enumerate(ids)]
    told = [json.loads(line) for line in roost(*words, "-o", "jsonl").stdout.splitlines()]
    assert told[1] == {"input.n": 1, "id": int(ids[1]), "tags.env": "prod", "worker": None, "input": {"n": 1}}
    assert json.loads(roost(*words, "--limit", "1", "-o", "json").stdout) == told[:1]
    for query in ("queue:chosen", "queue:nobodys"):
        wrong = roost("jobs", "list", query, "--fields", "id,stat")
        assert (wrong.returncode, wrong.stdout) == (2, "")
        assert "no field 'stat'; there are id, kind, queue, state, " in wrong.stderr
    assert roost("queues", "list", "--fields", "name,name").returncode == 2
    assert "oldest_ready_seconds" in roost("queues", "list", "--fields", "names").stderr


@pytest.mark.feature("bulk")
@pytest.mark.feature("cancel-move-clone")
def test_what_a_selection_and_a_query_can_be_done_to(roost: Roost, server: str) -> None:
    """Held, approved, tagged, moved, cancelled, reopened, deleted: by ids from another command, or by a query."""
    ids = enqueue(roost, 3, "steered")

    def states() -> list[tuple[str, str]]:
        found = roost("jobs", "list", "kind:mail.send id:" + ",".join(ids), "--fields", "queue,state", "-o", "csv")
        return [(queue, state) for queue, state in csv.reader(found.stdout.splitlines()[1:])]

    def by_ids(action: str, *words: str) -> None:
        done = roost("jobs", action, "-", *words, "-o", "id", stdin="\n".join(ids))
        assert (done.returncode, done.stdout.split()) == (0, ids), done.stderr

    def by_query(action: str, *words: str) -> None:
        done = roost("jobs", action, "id:" + ",".join(ids), "--yes", "-o", "json", *words)
        told = json.loads(done.stdout)
        assert (done.returncode, told["done"], told["actor"]) == (0, 3, "tester"), done.stderr

    for by, yes in ((by_ids, ("--yes",)), (by_query, ())):
        by("hold")
        assert states() == [("steered", "held")] * 3
        by("approve", *yes, "--note", "seen")
        by("tag", "--tag", "seen=yes")
        by("move", "--queue", "steered2")
        assert states() == [("steered2", "ready")] * 3
        by("cancel", *yes)
        by("reopen", "--queue", "steered")
        assert states() == [("steered", "ready")] * 3
    assert roost("jobs", "list", "tag.seen:yes queue:steered", "-o", "id").stdout.split() == ids[::-1]
    assert roost("jobs", "approve", ids[0]).returncode == 4
    shown = roost("jobs", "hold", ids[0]).stdout and roost("jobs", "approve", ids[0])
    assert '"n": 0' in shown.stderr
    by_query("delete")
    assert states() == []
    nothing = roost("jobs", "cancel", "", "--yes")
    assert (nothing.returncode, "id:>=0" in nothing.stderr) == (2, True)


class Pressed:
    """Somebody who presses Ctrl-C at the given moment of waiting, once."""

    def __init__(self, at: int = 1) -> None:
        self._left = at

    def __call__(self, *_: object) -> None:
        self._left -= 1
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.mark.feature("bulk")
def test_ctrl_c_says_what_was_done(roost: Roost, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = enqueue(roost, 3, "pressed")
    slowly = ("jobs", "cancel", "queue:pressed", "--yes", "--rate", "1/h", "-o", "json")
    for how, state in (("abort", "aborted"), ("detach", "running")):
        monkeypatch.setattr(bulk_operations, "sleep", Pressed())
        left = roost(*slowly, "--on-interrupt", how)
        told = json.loads(left.stdout)
        assert (left.returncode, told["state"]) == (130, state), left.stderr
        assert ("roost bulk abort" in left.stderr) == (how == "detach")
    assert roost("bulk", "abort", str(told["id"])).returncode == 0

    pressed = Pressed(at=3)
    send = Session.send

    def sent(session: Session, operation: Any, request: Any) -> Any:
        pressed()
        return send(session, operation, request)

    monkeypatch.setattr(Session, "send", sent)
    left = roost("jobs", "hold", *ids, "-o", "id")
    assert left.returncode == 130
    assert "interrupted at " + ids[2] in left.stderr
    assert len(left.stdout.split()) + int(re.findall(r"(\d+) refused", left.stderr)[0]) == 2


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
