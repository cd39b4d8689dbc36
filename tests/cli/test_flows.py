"""The main flows: a server and a worker as processes, and the commands a person types, the first as processes too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from tests.cli.conftest import Roost, environment, run, start, stop, wait_for
from tests.support.program import call


def enqueued(roost: Roost, *words: str) -> str:
    result = roost("jobs", "enqueue", *words, "-o", "id")
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_a_job_from_enqueue_to_its_result(program: Roost, worker: str) -> None:
    result = program("jobs", "enqueue", "mail.send", '{"to": "ana"}', "--tag", "team=x", "--wait")
    assert (result.returncode, result.stdout.splitlines()[-1]) == (0, '"hi ana"'), result.stderr
    id = result.stdout.split()[0]

    page = program("jobs", "inspect", id)
    assert page.returncode == 0, page.stderr
    for part in ("mail.send", "succeeded", "team=x", '"to": "ana"', "render", "25%  1/4  half", worker, "history"):
        assert part in page.stdout
    assert "\x1b" not in page.stdout
    assert "sending \\x1b[31mred" in page.stdout

    whole = json.loads(program("jobs", "inspect", id, "-o", "json").stdout)
    assert whole["attempts"][-1]["outcome"] == "succeeded"
    assert [step["name"] for step in whole["steps"]] == ["render"]
    assert whole["events"][0]["type"] == "created"
    assert list(whole)[:4] == ["id", "kind", "queue", "state"]

    steps = program("jobs", "steps", id)
    assert (steps.returncode, "render" in steps.stdout, "not recorded" in steps.stdout) == (0, True, False)

    logs = program("jobs", "logs", id, "-f")
    assert (logs.returncode, logs.stdout.count("\n")) == (0, 1)
    assert program("jobs", "explain", id).stdout.startswith(f"job {id} is succeeded since ")


def test_a_failing_job_ends_the_wait_with_its_error(roost: Roost, worker: str) -> None:
    result = roost("jobs", "enqueue", "mail.broken", "--retries", "0", "--wait")
    assert result.returncode == 1
    assert "error[job_failed]" in result.stderr
    assert "no such mailbox" in result.stderr
    id = result.stdout.split()[0]
    assert "ValueError: no such mailbox" in roost("jobs", "inspect", id).stdout
    again = roost("jobs", "retry", id, "--note", "mended")
    assert again.returncode == 0, again.stderr


def test_waiting_ends_in_time_and_the_job_goes_on(roost: Roost) -> None:
    result = roost("jobs", "enqueue", "mail.send", '{"to": "bo"}', "--delay", "1h", "--wait", "--within", "200ms")
    assert result.returncode == 6
    assert "error[result_timeout]" in result.stderr
    id = result.stderr.split("job ")[1].split()[0]
    assert json.loads(roost("jobs", "list", "--state", "waiting", "-o", "jsonl").stdout.splitlines()[0])["id"] == int(
        id
    )
    assert roost("jobs", "cancel", id).returncode == 0


def test_ids_flow_from_a_list_into_cancel_and_delete(roost: Roost) -> None:
    ids = {enqueued(roost, "bulk.kind", "--queue", "bulk", "--priority", "low") for _ in range(3)}
    listed = roost("jobs", "list", "--queue", "bulk", "-o", "id")
    assert set(listed.stdout.split()) == ids
    refused = roost("jobs", "cancel", "-", stdin=listed.stdout)
    assert refused.returncode == 2
    assert "cancel 3 jobs; add --yes" in refused.stderr
    cancelled = roost("jobs", "cancel", "-", "--yes", "-o", "json", stdin=listed.stdout)
    assert {job["state"] for job in json.loads(cancelled.stdout)} == {"cancelled"}
    gone = roost("jobs", "delete", *sorted(ids), "999999", "--yes")
    assert gone.stdout == "deleted 3 jobs\n"
    assert gone.returncode == 3
    assert "999999" in gone.stderr
    assert roost("jobs", "list", "--queue", "bulk", "-o", "json").stdout == "[]\n"


def test_exit_codes_and_errors_as_json(roost: Roost) -> None:
    missing = roost("jobs", "inspect", "999999", "-o", "json")
    assert (missing.returncode, missing.stdout) == (3, "")
    assert json.loads(missing.stderr)["error"]["code"] == "not_found"
    invalid = roost("jobs", "enqueue", "mail.send", "--delay", "soon")
    assert invalid.returncode == 1
    assert invalid.stderr.startswith("error[invalid_duration]: delay: ")
    first = roost("jobs", "enqueue", "u.k", '{"a": 1}', "--unique", "k", "--queue", "nobody")
    second = roost("jobs", "enqueue", "u.k", '{"a": 1}', "--unique", "k", "--queue", "nobody")
    assert second.stdout == f"{first.stdout.strip()}  (was there already)\n"
    other = roost("jobs", "enqueue", "u.k", '{"a": 2}', "--unique", "k", "--queue", "nobody")
    assert other.returncode == 4
    assert other.stderr.startswith("error[unique_conflict]: ")
    nobody = roost("jobs", "list", "--url", "http://127.0.0.1:1")
    assert nobody.returncode == 5
    assert nobody.stderr.startswith("error[unavailable]: ")


def test_queues_are_paused_edited_and_shown(roost: Roost) -> None:
    enqueued(roost, "slow.kind", "--queue", "slow")
    assert roost("queues", "pause", "slow").stdout == "slow  paused\n"
    assert roost("queues", "edit", "slow", "--retries", "0", "--timeout", "30s").returncode == 0
    assert roost("queues", "edit", "slow", "--base", "1s").returncode == 0
    queue = json.loads(roost("queues", "show", "slow", "-o", "json").stdout)
    assert (queue["paused"], queue["paused_by"], queue["ready"]) == (True, "tester", 1)
    assert queue["rules"]["timeout"] == "30s"
    assert (queue["rules"]["retry"]["retries"], queue["rules"]["retry"]["base"]) == (0, "1s")
    cleared = roost("queues", "edit", "slow", "--timeout", "none", "--no-retry-rule", "-o", "json")
    assert not {"timeout", "retry"} & json.loads(cleared.stdout).get("rules", {}).keys()
    assert roost("queues", "resume", "slow").stdout == "slow  open\n"
    assert [line.split()[0] for line in roost("queues", "list").stdout.splitlines()].count("slow") == 1


def test_an_approval_is_shown_quoted_and_decided_once(roost: Roost, worker: str) -> None:
    held = roost("jobs", "enqueue", "mail.brief", '{"user": "ana"}', "--wait", "--within", "5s")
    assert "is held (approval)" in held.stderr
    id = held.stderr.split("job ")[1].split()[0]
    hold = json.loads(roost("approvals", "list", "--job", id, "-o", "jsonl").stdout)
    number = str(hold["id"])
    shown = roost("approvals", "show", number)
    assert "\x1b" not in shown.stdout
    for part in ("Send the brief?", "to: ana", "    first\n", "\\x1b[2Jsecond", hold["subject_hash"], "then denied"):
        assert part in shown.stdout, part
    changed = roost("approvals", "approve", number, "--hash", "0" * 64)
    assert changed.returncode == 4
    assert changed.stderr.startswith("error[subject_changed]: ")
    assert roost("approvals", "extend", number, "3h").returncode == 0
    approved = roost("approvals", "approve", number, "--hash", hold["subject_hash"][:12])
    assert approved.returncode == 0, approved.stderr
    assert f"approved approval {number} by tester" in approved.stdout
    denied = roost("approvals", "deny", number)
    assert denied.returncode == 4
    assert denied.stderr.splitlines()[-2].startswith("error[hold_decided]: ")
    assert '"approved by tester"' in roost("jobs", "wait", id).stdout


def test_a_schedule_from_preview_to_deletion(roost: Roost, worker: str) -> None:
    preview = roost("schedules", "preview", "--cron", "0 8 * * *", "--zone", "Europe/Paris", "-n", "2", "-o", "json")
    assert len(json.loads(preview.stdout)["fires"]) == 2
    made = roost(
        "schedules",
        "create",
        "morning",
        "mail.send",
        '{"to": "ana"}',
        "--cron",
        "0 8 * * *",
        "--retries",
        "3",
        "-o",
        "json",
    )
    assert json.loads(made.stdout)["rule"]["cron"] == "0 8 * * *", made.stderr
    assert roost("schedules", "create", "morning", "mail.send", "--every", "5m").returncode == 4
    edited = json.loads(
        roost("schedules", "edit", "morning", "--every", "2h", "--priority", "high", "-o", "json").stdout
    )
    assert edited["rule"] == {"every": "2h"}
    assert (edited["job"]["priority"], edited["job"]["retry"]["retries"]) == (8, 3)
    assert edited["job"]["input"] == {"to": "ana"}
    assert roost("schedules", "run", "morning", "--wait").stdout.splitlines()[-1] == '"hi ana"'
    assert roost("schedules", "pause", "morning").stdout == "morning  paused\n"
    runs = json.loads(roost("schedules", "runs", "morning", "-o", "json").stdout)
    assert [run["outcome"] for run in runs] == ["run_now"]
    assert "every" in roost("schedules", "show", "morning").stdout
    assert roost("schedules", "delete", "morning").returncode == 0
    assert roost("schedules", "show", "morning").returncode == 3


def test_raw_calls_reach_any_operation(roost: Roost) -> None:
    made = roost("api", "POST", "/jobs", '{"kind": "raw.kind", "queue": "raw"}')
    id = json.loads(made.stdout)["id"]
    assert json.loads(roost("api", "GET", f"/jobs/{id}").stdout)["kind"] == "raw.kind"
    found = json.loads(roost("api", "GET", "/api/v1/jobs?queue=raw&limit=1").stdout)
    assert [job["id"] for job in found["jobs"]] == [id]
    assert json.loads(roost("api", "PUT", "/queues/raw/rules", '{"rules": {"timeout": "5s"}}').stdout)["name"] == "raw"


def test_the_worker_is_listed_and_the_doctor_is_content(roost: Roost, worker: str, place: Path, server: str) -> None:
    workers = json.loads(roost("workers", "-o", "json").stdout)
    assert [one["id"] for one in workers] == [worker]
    assert [one["id"] for one in json.loads(roost("workers", "list", "-o", "json").stdout)] == [worker]
    missing = roost("workers", "drain", "nobody")
    assert (missing.returncode, "there is no worker 'nobody'" in missing.stderr) == (3, True)
    assert roost("workers", "drain").returncode == 2
    health = roost("doctor")
    assert health.returncode == 0, health.stdout
    assert "power loss: safe" in health.stdout
    owned = roost("jobs", "list", "--url", f"sqlite:///{place}/roost.db")
    assert owned.returncode == 5
    assert f"roost --url {server}" in owned.stderr
    assert f"belongs to the server at {server}" in roost("doctor", "--url", f"sqlite:///{place}/roost.db").stdout


def embedded(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return call(words, folder, environment(None))


def test_the_same_commands_work_on_a_file(tmp_path: Path, place: Path) -> None:
    nothing = embedded(tmp_path, "jobs", "list")
    assert nothing.returncode == 3
    assert "there is no store" in nothing.stderr
    assert not list(tmp_path.iterdir())
    assert embedded(tmp_path, "db", "migrate", "--check").returncode == 3
    made = embedded(tmp_path, "db", "migrate")
    assert (made.returncode, "applied now" in made.stdout) == (0, True), made.stderr
    assert embedded(tmp_path, "db", "migrate", "--check").returncode == 0
    (tmp_path / "shop.py").write_text((place / "shop.py").read_text())
    assert embedded(tmp_path, "jobs", "enqueue", "mail.send", '{"to": "ana"}').stdout == "1\n"
    drained = run(["worker", "shop:app", "--until-idle"], tmp_path)
    assert drained.returncode == 0, drained.stderr
    assert '"hi ana"' in embedded(tmp_path, "jobs", "wait", "1").stdout
    health = embedded(tmp_path, "doctor")
    assert health.returncode == 0, health.stdout
    assert "up to date" in health.stdout


def test_what_is_wrong_with_an_app_is_said(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("import roost\njobs = roost.App()\nother = 1\n")
    (tmp_path / "bad.py").write_text("import roost\n1 / 0\n")
    for place, code, told in (
        ("nope:app", 3, "there is no module 'nope'"),
        ("mine:app", 3, "did you mean mine:jobs?"),
        ("mine:other", 1, "mine:other is a int, not a roost.App"),
        ("bad:app", 1, "ZeroDivisionError: division by zero"),
        ("mine.py", 1, "write mine:app"),
    ):
        result = run(["worker", place], tmp_path)
        assert result.returncode == code, place
        assert told in result.stderr, place


def test_dev_serves_works_reloads_and_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "shop.py"
    source.write_text("import roost\napp = roost.App()\n@app.job(name='k')\ndef k() -> str:\n    return 'old'\n")
    process = start(["dev", "shop:app", "--port", "0"], tmp_path)
    log = tmp_path / "dev.log"
    wait_for(lambda: "API      http" in log.read_text() and "at a time" in log.read_text(), process, log)
    url = log.read_text().split("API      ")[1].split("/api")[0]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert '"old"' in embedded(tmp_path, "jobs", "enqueue", "k", "--wait", "--within", "10s", "--url", url).stdout
    source.write_text(source.read_text().replace("old", "renewed"))
    wait_for(lambda: log.read_text().count("at a time") == 2, process, log)
    assert '"renewed"' in embedded(tmp_path, "jobs", "enqueue", "k", "--wait", "--within", "10s", "--url", url).stdout
    worker = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGKILL)
    process.wait()
    for child in {*children, *worker}:
        descriptor = _open(int(child))
        if descriptor is not None:
            import select

            poller = select.poll()
            poller.register(descriptor, select.POLLIN)
            assert poller.poll(15_000), f"{child} outlived the command that started it"
            os.close(descriptor)


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def test_a_worker_drains_at_sigterm_and_ends_at_the_second(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import asyncio, roost\napp = roost.App()\n@app.job(name='k')\nasync def k() -> str:\n"
        "    open('started', 'w').close()\n    await asyncio.sleep(60)\n    return 'done'\n"
    )
    embedded(tmp_path, "jobs", "enqueue", "k")
    process = start(["worker", "shop:app", "--grace", "60s"], tmp_path)
    wait_for((tmp_path / "started").exists, process, tmp_path / "worker.log")
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: "draining: 1 running" in (tmp_path / "worker.log").read_text(), process, tmp_path / "worker.log")
    assert stop(process) == -signal.SIGTERM
