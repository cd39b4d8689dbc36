"""Errors in groups, saved views and declared paths, on every engine."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from roost.domain.retry import RetryRule
from roost.engine.calls import DeleteJobs, ReopenJobs
from roost.engine.searching.protocol import (
    DeclareIndex,
    DeleteView,
    FillIndex,
    PutView,
    RemoveIndex,
    SearchAction,
    SetErrorState,
)
from roost.engine.work.indexing import FRESH_MS
from roost.wire.search import ErrorState, ListErrors
from tests.conformance.bench import Bench


def error(message: str, type: str = "ValueError") -> str:
    return json.dumps({"type": type, "message": message})


def fail(bench: Bench, count: int, message: str, **more: Any) -> list[int]:
    ids = bench.enqueue(count, retry=RetryRule(retries=0))
    token, taken = bench.take(count)
    assert taken == ids
    for number, id in enumerate(ids):
        bench.settle(id, token, "fail", error=error(f"{message} {number}"), **more)
    return ids


def groups(bench: Bench, state: ErrorState | None = None, limit: int = 50) -> list[Any]:
    found: list[Any] = []
    cursor = None
    while True:
        page = bench.reader.searches.errors(ListErrors(state=state, limit=limit, cursor=cursor))
        found += page.errors
        cursor = page.cursor
        if cursor is None:
            return found


@pytest.mark.feature("views-errors")
def test_failures_that_are_alike_are_one_group(bench: Bench) -> None:
    first = fail(bench, 3, "no user")
    second = fail(bench, 2, "no disk")
    one, other = groups(bench, limit=1)
    assert (one.message, one.count, one.last_job) == ("no disk 1", 2, second[-1])
    assert (other.message, other.count, other.last_job, other.state) == ("no user 2", 3, first[-1], "open")
    detail = bench.reader.searches.error(other.fingerprint)
    assert [(share.queue, share.state, share.jobs) for share in detail.jobs] == [("default", "failed", 3)]
    assert detail.error is not None
    assert detail.error.message == "no user 2"
    # A second life with another error moves the job, not the group's count.
    bench.act(ReopenJobs(first[0]))
    token, _ = bench.take()
    bench.settle(first[0], token, "fail", error=error("no disk 9"))
    assert bench.reader.searches.error(other.fingerprint).jobs[0].jobs == 2
    assert bench.reader.searches.error(one.fingerprint).count == 3


@pytest.mark.feature("views-errors")
def test_what_is_resolved_is_open_again_when_it_comes_back(bench: Bench) -> None:
    fail(bench, 1, "no user")
    (group,) = groups(bench)
    for state, after in (("resolved", "open"), ("muted", "muted"), ("open", "open")):
        bench.act(SetErrorState(fingerprint=group.fingerprint, state=state, actor="ana"))  # type: ignore[arg-type]
        (changed,) = groups(bench)
        assert (changed.state, changed.changed_by) == (state, "ana")
        assert len(groups(bench, state=state)) == 1  # type: ignore[arg-type]
        fail(bench, 1, "no user")
        assert groups(bench)[0].state == after
    refused = bench.act(SetErrorState(fingerprint="nothing", state="open")).problem
    assert refused is not None
    assert refused.code == "not_found"


@pytest.mark.feature("views-errors")
def test_a_lost_lease_is_an_error_and_a_deleted_job_leaves_its_group(bench: Bench) -> None:
    (id,) = fail(bench, 1, "no user")
    (group,) = groups(bench)
    bench.act(DeleteJobs(id))
    assert bench.reader.searches.error(group.fingerprint).jobs == []


@pytest.mark.feature("views-errors")
def test_saved_views(bench: Bench) -> None:
    put = PutView(name="mine", query="state:failed", sort="-finished", columns=["id", "kind"], shared=True, actor="ana")
    bench.act(put)
    first = bench.reader.searches.view("mine")
    assert (first.query, first.sort, first.columns, first.owner) == ("state:failed", "-finished", ["id", "kind"], "ana")
    bench.act(msgspec.structs.replace(put, query="state:held", actor="bo"))
    (view,) = bench.reader.searches.views()
    assert (view.query, view.owner, view.created_at) == ("state:held", "ana", first.created_at)
    bench.act(DeleteView(name="mine"))
    assert bench.reader.searches.views() == []
    refused = bench.act(DeleteView(name="mine")).problem
    assert refused is not None
    assert refused.code == "not_found"


def fill(bench: Bench, action: SearchAction) -> int:
    """Let the loop's sets happen; how many there were."""
    for turn in range(1, 100):
        (path,) = [row for row in bench.reader.searches.index_paths() if row[0] == action.path]  # type: ignore[attr-defined]
        removing = path[2] == "removing"
        step = FillIndex(path=path[0], kind=path[1], expected=None if removing else path[5], limit=4, removing=removing)
        if not bench.act(step).more:
            return turn
    raise AssertionError


def search(bench: Bench, text: str) -> tuple[list[int], str]:
    page = bench.reader.searches.search(text, "-created", 100, None, False, bench.now, lambda: 0.0)
    return [job.id for job in page.jobs], page.searched.index


@pytest.mark.feature("query")
def test_a_declared_path_answers_from_its_index(bench: Bench) -> None:
    values = [42, "42", 42.0, 4.2e1, 43, True, "true", None, "null", [42], {"a": 42}, "x" * 300, -0.0, 0, 0.1]
    before = [bench.enqueue(text=json.dumps({"user": {"id": value}}))[0] for value in values]
    other = bench.enqueue(kind="other", text='{"user":{"id":42}}')
    bench.tick(FRESH_MS + 1)
    declare = DeclareIndex(path="user.id", kind="", actor="ana")
    assert bench.act(declare).effects.chores
    texts = [
        f"input.user.id:{value}"
        for value in ("42", "42.0", '"42"', "43", "true", '"null"', "0", "0.1", "-0.0", "nothing")
    ]
    wanted = {text: search(bench, text)[0] for text in texts}
    assert search(bench, texts[0])[1] == "primary key"
    during = bench.enqueue(text='{"user":{"id":42}}')
    bench.tick(FRESH_MS + 1)
    assert fill(bench, declare) > 2
    later = bench.enqueue(text='{"user":{"id":42}}')
    for text, ids in wanted.items():
        found, index = search(bench, text)
        assert index == "job_index"
        new = [*later, *during] if text in texts[:2] else []
        assert found == [*new, *ids], text
    assert set(wanted[texts[0]]) == {before[0], before[1], before[2], before[3], *other}
    assert set(wanted[texts[1]]) == {before[0], before[2], before[3], *other}
    assert wanted[texts[2]] == [before[1]]

    bench.act(DeleteJobs(later[0]))
    token, _ = bench.take(1)
    bench.settle(before[0], token)
    bench.act(ReopenJobs(before[0], input='{"user":{"id":77}}'))
    assert search(bench, "input.user.id:77") == ([before[0]], "job_index")
    assert later[0] not in search(bench, texts[0])[0]

    bench.act(RemoveIndex(path="user.id", kind=""))
    assert search(bench, texts[0])[1] == "primary key"
    fill(bench, declare)
    assert bench.reader.searches.index_paths() == []


@pytest.mark.feature("query")
def test_an_index_of_one_kind_serves_its_kind_alone(bench: Bench) -> None:
    mail = bench.enqueue(kind="mail", text='{"n":1}')
    declare = DeclareIndex(path="n", kind="mail")
    bench.act(declare)
    bench.tick(FRESH_MS + 1)
    fill(bench, declare)
    mail += bench.enqueue(kind="mail", text='{"n":1}')
    other = bench.enqueue(kind="other", text='{"n":1}')
    assert search(bench, "input.n:1 kind:mail") == (mail[::-1], "job_index")
    assert search(bench, "input.n:1") == ([*other, *mail[::-1]], "primary key")
    assert search(bench, "input.n:1 kind:mail,other")[1] == "primary key"


@pytest.mark.feature("query")
def test_paths_are_few(bench: Bench) -> None:
    for number in range(20):
        assert bench.act(DeclareIndex(path=f"p{number}", kind="")).problem is None
    assert bench.act(DeclareIndex(path="p3", kind="")).problem is None
    refused = bench.act(DeclareIndex(path="one.more", kind="")).problem
    assert refused is not None
    assert refused.code == "conflict"
