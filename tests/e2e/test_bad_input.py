"""Whatever is wrong, wherever it enters: one clear refusal, the same on both engines, and nothing stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from roost.wire import contract
from roost.wire.contract import OPERATIONS, Operation
from tests.e2e.arena import Facts, InProcess, OverHttp, Refusal, in_process, over_http
from tests.e2e.corpus import Case, cases
from tests.support.databases import Databases

JOB: dict[str, Any] = {
    "kind": "k",
    "input": {"a": 1},
    "queue": "bad",
    "priority": 5,
    "delay": "1h",
    "ttl": "1h",
    "deadline": "3h",
    "timeout": "1m",
    "retry": {"retries": 1, "backoff": "fixed", "base": "1s", "cap": "1m", "jitter": 0.1},
    "unique": {"key": "u", "scope": "kind", "within": "1h", "on_conflict": "return"},
    "hold": {"title": "t", "expires": "1h", "on_expiry": "deny"},
    "tags": {"a": "b"},
    "owner": "me",
}
RULE = {"cron": "0 8 * * *", "zone": "UTC", "grace": "1m", "jitter": "1s", "missed_limit": 5}
INSTEAD = {"run_at": ("delay",), "expires_at": ("ttl",), "every": ("cron",), "at": ("cron", "starts_at", "ends_at")}
Bases = list[tuple[Operation[Any, Any], dict[str, Any]]]


def bases(facts: Facts) -> Bases:
    """Calls with nothing wrong in them, every operation at least once."""
    lease = {"id": facts.job, "token": facts.token}
    error = {"type": "E", "message": "m", "traceback": "t"}
    hold = {"reason": "approval", "title": "t", "subject": {"a": 1}, "expires": "1h", "on_expiry": "deny"}
    progress = {"current": 1, "total": 2, "message": "m"}
    beat = {**lease, "progress": progress, "saved": 1, "logs": [{"message": "m", "level": "info", "at": 5}]}
    step = {**lease, "name": "two", "kind": "code", "input_hash": "h", "output": 1, "usage": 1, "started_at": 5}
    decision = {"id": facts.hold, "subject_hash": facts.subject_hash, "actor": "a", "note": "n"}
    rules = {"retry": JOB["retry"], "timeout": "1m", "hold": JOB["hold"], "retention": "1d", "retention_failed": "1d"}
    rules |= {"concurrency": 2, "rate": "5/s", "burst": 3, "fairness": {"key": "{owner}", "weights": {"a": 2}}}
    rules["limits"] = [{"key": "{tags.a}", "concurrency": 2, "rate": "5/s", "burst": 3, "cost": 2}]
    fields = {"pid": 1, "queues": ["q"], "kinds": ["k"], "concurrency": 1, "version": "1", "host": "h"}
    found: Bases = [
        (contract.ENQUEUE, JOB),
        (contract.ENQUEUE_MANY, {"jobs": [{"kind": "k"}, JOB]}),
        (contract.CLAIM, {"worker": "w", "queues": ["nobody"], "weights": {"nobody": 2}, "limit": 1, "lease": "15s"}),
        (contract.SETTLE, {"outcomes": [{**lease, "outcome": "fail", "error": error, "after": "1h", "fatal": False}]}),
        (contract.SETTLE, {"outcomes": [{**lease, "outcome": "succeed", "result": 1}]}),
        (contract.SETTLE, {"outcomes": [{**lease, "outcome": "hold", "hold": hold}]}),
        (contract.HEARTBEAT, {"worker": "w", "lease": "1h", "beats": [beat]}),
        (contract.RECORD_STEP, {**step, "progress": progress, "saved": 1}),
        (contract.EDIT_QUEUE, {"name": "q", "rules": rules, "actor": "a"}),
        (contract.EDIT_LIMIT, {"key": "k", "concurrency": 2, "rate": "10/s", "burst": 3, "actor": "a"}),
        (contract.PUT_SCHEDULE, {"name": "t", "rule": RULE, "job": JOB, "paused": False, "actor": "a"}),
        (contract.PREVIEW_RULE, {"rule": RULE, "count": 3}),
        (contract.PREVIEW_SCHEDULE, {"name": "s", "count": 3}),
        (contract.APPROVE_HOLD, decision),
        (contract.DENY_HOLD, decision),
        (contract.ANSWER_HOLD, {**decision, "answer": 1}),
        (contract.EXTEND_HOLD, {"id": facts.hold, "by": "1h", "actor": "a"}),
        (contract.REGISTER_WORKER, {"id": "w2", **fields}),
        (contract.LIST_JOBS, {"limit": 5, "queue": ["q"], "kind": ["k"]}),
        (contract.LIST_RUNS, {"name": "s", "limit": 5}),
        (contract.LIST_HOLDS, {"limit": 5}),
        (contract.JOB_LOGS, {"id": facts.job, "after": 0, "limit": 5}),
        (contract.WAIT_JOB, {"id": facts.job, "wait": "0s"}),
        (contract.CANCEL_JOB, {"id": facts.held, "note": "n", "actor": "a"}),
        (contract.REOPEN_JOB, {"id": facts.held, "note": "n", "actor": "a"}),
    ]
    endpoint = {"events": ["failed"], "queues": ["q.*"], "kinds": ["k"], "include": ["result"], "disable_after": "5d"}
    endpoint |= {"tags": {"env": "prod*"}, "ed25519": True}
    source = {"queue": "q", "kind": "{source}", "scheme": "github", "secrets": ["a secret or so"]}
    found += [
        (contract.PUT_WEBHOOK, {"name": "w", "url": "https://example.com/", "actor": "a", **endpoint}),
        (contract.ROTATE_WEBHOOK, {"name": "main", "overlap": "1h", "actor": "a"}),
        (contract.ENABLE_WEBHOOK, {"name": "main", "skip": True, "actor": "a"}),
        (contract.REPLAY_WEBHOOK, {"name": "main", "since": "2026-01-01T00:00:00Z", "all": True, "actor": "a"}),
        (contract.LIST_DELIVERIES, {"name": "main", "state": "failed", "limit": 5}),
        (contract.GET_DELIVERY, {"id": 1}),
        (contract.REPLAY_DELIVERY, {"id": 1, "actor": "a"}),
        (contract.PUT_SOURCE, {"name": "w", "actor": "a", **source}),
    ]
    who = {"note": "n", "actor": "a"}
    found += [
        (contract.MOVE_JOB, {"id": facts.held, "queue": "q", "priority": 3, "delay": "1h", **who}),
        (contract.HOLD_JOB, {"id": facts.held, "title": "t", **who}),
        (contract.CLONE_JOB, {"id": facts.held, "input": 1, "queue": "q", "tags": {"a": "b"}, "metadata": {"a": 1}}),
        (contract.EDIT_JOB, {"id": facts.held, "tags": {"a": "b"}, "untag": ["c"], "metadata": {"a": 1}, "actor": "a"}),
        (contract.NOTE_JOB, {"id": facts.held, "text": "t", "actor": "a"}),
        (contract.TAKE_JOB, {"id": facts.held, "worker": "w", "lease": "1h"}),
        (contract.UPDATE_JOB, {"id": facts.job, "attempt": 1, "state": "failed", "error": error, "chunks": [1], **who}),
        (contract.JOB_CHUNKS, {"id": facts.job, "after": 0, "limit": 5}),
        (contract.DRAIN_QUEUE, {"name": "none", "wait": "0s", "actor": "a"}),
        (contract.CLEAR_QUEUE, {"name": "none", "states": ["ready"], "limit": 5, "actor": "a"}),
        (contract.PUT_KIND, {"name": "other", "schema": {"type": "object"}, "actor": "a"}),
    ]
    found += [
        (
            contract.BACKFILL_SCHEDULE,
            {"name": "s", "first": "2026-01-01T00:00:00Z", "last": "2026-01-02T00:00:00Z", "limit": 5, "actor": "a"},
        ),
        (contract.DECLARE_INDEX, {"path": "input.a", "kind": "k", "actor": "a"}),
        (contract.REMOVE_INDEX, {"path": "input.a", "kind": "k", "actor": "a"}),
        (contract.CREATE_BULK, {"action": "tag", "query": "kind:none", "tags": {"a": "b"}, "rate": "5/s", **who}),
    ]
    # Of its jobs each is answered for itself: only what is around them can be refused.
    found.append((contract.DELIVER_OUTBOX, {"outbox": "o", "number": 1, "contents": "c", "jobs": []}))
    known = {operation.name for operation, _ in found}
    for operation in OPERATIONS:
        if operation.name not in known:
            own: dict[str, Any] = {"holds": facts.hold, "bulk": facts.bulk, "workers": "w"}
            noun = operation.name.partition(".")[0]
            ids: dict[str, Any] = {"id": own.get(noun, facts.held), "name": "q", "fingerprint": "f", "key": "k"}
            found.append((operation, {name: ids.get(name, 1) for name in operation.path_fields}))
    return found


@pytest.fixture(scope="module")
def contenders(
    empty_stores: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[list[OverHttp], list[InProcess]]]:
    """SQLite and PostgreSQL over HTTP, and both in this process."""
    folder: Path = tmp_path_factory.mktemp("bad")
    databases = [empty_stores.lend() for _ in range(2)]
    with ExitStack() as stack:
        http = [stack.enter_context(over_http(url)) for url in (f"sqlite:///{folder}/http.db", databases[0])]
        local = [stack.enter_context(in_process(url)) for url in (f"sqlite:///{folder}/local.db", databases[1])]
        yield http, local
    for url in databases:
        empty_stores.take_back(url)


def complaint(case: Case, answer: Refusal) -> str | None:
    """What is wrong with a refusal."""
    if not answer.code:
        return f"accepted: {answer.message}"
    if not 400 <= answer.status < 500:
        return f"status {answer.status}"
    if not (answer.message and answer.help):
        return "no message or no help"
    if answer.status == 422 and case.fault != "unknown field" and not answer.path:
        return f"no path: {answer.message}"
    if answer.path and case.field.partition(".")[0].partition("[")[0] not in answer.path:
        return f"path {answer.path}: {answer.message}"
    return None


def complaints(case: Case, over: Sequence[Refusal], within: Sequence[Refusal | None]) -> Iterator[str]:
    """What is wrong with the answers of both engines over HTTP, and of both in this process."""
    for kind, (first, second) in (("over HTTP", over), ("in process", within)):
        if first is None or second is None:
            continue
        wrong = complaint(case, first) or complaint(case, second)
        if wrong:
            yield f"{kind} {wrong}"
        if first[:3] != second[:3]:
            yield f"{kind} the engines differ: {first[:3]} {second[:3]}"
    inside = within[0]
    # A body that no stored value may be is refused before its fields are looked at; an object has fields only.
    unread = over[0].code == "invalid_json"
    if inside is not None and unread and over[0].path and inside.path and over[0].path != inside.path:
        yield f"over HTTP at {over[0].path}, in process at {inside.path}"
    if inside is not None and inside.code != over[0].code and not (unread and inside.code == "invalid_request"):
        yield f"over HTTP {over[0][:3]}, in process {inside[:3]}"


@pytest.mark.parametrize("place", range(len(bases(Facts(1, "", 2, 1, "", 1)))))
async def test_bad_input_is_refused_clearly_alike_and_without_a_trace(
    contenders: tuple[list[OverHttp], list[InProcess]], place: int
) -> None:
    http, local = contenders
    before = [each.content() for each in (*http, *local)]
    found: list[str] = []
    corpora = [list(cases(*bases(each.facts)[place], INSTEAD)) for each in (*http, *local)]
    assert corpora[0]
    try:
        for each in zip(*corpora, strict=True):
            over = [await server.show(case) for server, case in zip(http, each[:2], strict=True)]
            within = [store.show(case) for store, case in zip(local, each[2:], strict=True)]
            found += [f"{each[0].name}: {text}" for text in complaints(each[0], over, within)]
    finally:
        for server in http:
            await server.leave()
    assert found == []
    for contender, rows in zip((*http, *local), before, strict=True):
        assert contender.content() == rows
