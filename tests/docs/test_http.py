"""The HTTP guide's worker, run as it stands there against a real server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.documents import blocks, guide
from tests.docs.test_tour import Terminal, until


class Api:
    """The server's API by path."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}", data, {"content-type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=40) as reply:
            return json.load(reply)

    def ended(self, id: int) -> Any:
        """The job, once it has ended."""
        for _ in range(3):
            job = self("GET", f"/jobs/{id}/wait?wait=10s")
            if job["state"] in ("succeeded", "failed", "cancelled", "expired"):
                return job
        raise AssertionError(job)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal in an empty folder."""
    return Terminal(tmp_path)


@pytest.fixture
def api(terminal: Terminal) -> Iterator[Api]:
    """A server on a file there."""
    words = ["roost", "server", "--store", "sqlite:///jobs.db", "--port", "0"]
    with terminal.background(words, lambda text: "listening on" in text) as log:
        found = re.search(r"listening on (http://\S+?),", log())
        assert found
        terminal.variables["ROOST_URL"] = found[1]
        yield Api(found[1])


def test_the_worker_of_the_guide(terminal: Terminal, api: Api) -> None:
    [source] = blocks(guide("http"), "python")
    assert len([line for line in source.splitlines() if line.strip()]) < 60
    (terminal.folder / "plain.py").write_text(source)
    good = api("POST", "/jobs", {"kind": "words", "queue": "plain", "input": {"text": "a b c"}})["id"]
    bad = api("POST", "/jobs", {"kind": "words", "queue": "plain", "input": {}, "retry": {"retries": 0}})["id"]
    process = subprocess.Popen([sys.executable, "plain.py"], cwd=terminal.folder, env=terminal.variables)
    try:
        assert api.ended(good)["result"] == {"words": 3, "attempt": 1}
        [step] = api("GET", f"/jobs/{good}/steps")["steps"]
        assert (step["name"], step["output"]) == ("split", ["a", "b", "c"])
        failed = api.ended(bad)
        assert (failed["state"], failed["error"]) == ("failed", {"type": "KeyError", "message": "'text'"})
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_its_parts_heartbeat_resume_and_repeat(terminal: Terminal, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker's functions one by one, with a handler that is slow, and one whose worker died after a step."""
    [source] = blocks(guide("http"), "python")
    functions = source[: source.index("threading.Thread(")].replace("time.sleep(3)", "time.sleep(0.1)")
    monkeypatch.setenv("ROOST_URL", api.url)
    worker: dict[str, Any] = {}
    exec(functions, worker)  # noqa: S102 - the program is ours, out of a guide
    id = api("POST", "/jobs", {"kind": "words", "queue": "plain", "input": {"text": "a b"}})["id"]
    claim = {"worker": worker["ME"], "queues": ["plain"], "lease": worker["LEASE"]}
    claimed = worker["call"]("POST", "/jobs/claim", claim)
    [job] = claimed["jobs"]
    calls: list[str] = []
    assert worker["step"](job, claimed["token"], "once", calls.append, "done") is None
    assert worker["step"](job, claimed["token"], "once", calls.append, "done") is None
    assert calls == ["done"]

    cancelled = threading.Event()
    worker["running"][id] = (claimed["token"], cancelled)
    threading.Thread(target=worker["beat"], daemon=True).start()
    before = api("GET", f"/jobs/{id}")["lease_until"]
    until(lambda: api("GET", f"/jobs/{id}")["lease_until"] > before, lambda: "no heartbeat came")
    api("POST", f"/jobs/{id}/cancel", {})
    assert cancelled.wait(20)
    del worker["running"][id]
    settled = worker["call"](
        "POST", "/jobs/settle", {"outcomes": [{"id": id, "token": claimed["token"], "outcome": "cancel"}]}
    )
    assert settled["results"] == [{"id": id, "state": "cancelled"}]
    with pytest.raises(RuntimeError, match="not_found"):
        worker["call"]("GET", "/jobs/999/steps")
