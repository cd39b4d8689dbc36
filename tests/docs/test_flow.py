"""The flow guide's requests and commands, in their order, against a real server."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.wire.attempts import Outcome
from roost.wire.codec import decode
from tests.docs.documents import blocks, guide
from tests.docs.test_http import Api
from tests.docs.test_tour import Terminal


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


def test_what_the_guide_sends_and_types_works_in_its_order(terminal: Terminal, api: Api) -> None:
    sent = typed = 0
    for language, block in re.findall(r"^```(http|console)\n(.*?)^```", guide("flow"), re.DOTALL | re.MULTILINE):
        if language == "http":
            first, _, body = block.partition("\n")
            method, path = first.split()
            api(method, path.removeprefix("/api/v1"), json.loads(body))
            sent += 1
            continue
        for line in block.splitlines():
            terminal.run(shlex.split(line.removeprefix("$ ")))
            typed += 1
    assert (sent, typed) == (5, 12)
    photos, release = api("GET", "/batches/1"), api("GET", "/batches/2")
    # The clock of the guide: three photos joined, then the batch was cancelled and called back.
    assert (photos["name"], photos["total"], photos["cancelled"], photos["state"]) == ("photos", 3, 3, "finished")
    assert sorted(api("GET", f"/jobs/{id}")["kind"] for id in photos["callbacks"]) == ["alarm", "report"]
    assert (release["chain"], release["total"], release["pending"]) == (True, 3, 3)
    join, mail, report = (api("GET", f"/jobs/{id}") for id in (3, 4, 5))
    assert [job["waiting_for"] for job in (join, mail, report)] == [2, 1, 2]


def test_the_outcomes_of_the_guide_can_be_read() -> None:
    [lines] = blocks(guide("flow"), "json")
    outcomes = [decode(line, Outcome) for line in lines.splitlines()]
    assert [outcome.wait is not None for outcome in outcomes] == [True, True]
