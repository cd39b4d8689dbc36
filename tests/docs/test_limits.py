"""The limits guide: its commands typed in order, its requests sent, and what it says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.sdk._sync.client import Client
from roost.wire import contract
from roost.wire.attempts import ClaimJobs
from roost.wire.codec import decode
from roost.wire.jobs import NewJob
from tests.docs.documents import blocks, commands, guide
from tests.docs.test_tour import Terminal

pytestmark = pytest.mark.feature("limits")


def test_the_limits_guide(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.variables["ROOST_URL"] = store = f"sqlite:///{tmp_path}/jobs.db"
    with Client.connect(store) as client:
        client.call(contract.ENQUEUE, NewJob(kind="noop", queue="mail"))
    for words in commands(guide("limits")):
        terminal.run(words)
    job, claim = blocks(guide("limits"), "json")
    with Client.connect(store) as client:
        mail = client.queues.get("mail").rules
        assert mail is not None
        assert (mail.concurrency, mail.rate, mail.burst, mail.ageing) == (20, "100/m", 10, "5m")
        assert [rule.key for rule in mail.limits or ()] == ["tenant:{tags.tenant}", "api:{input.account.id}"]
        reports = client.queues.get("reports").rules
        assert reports is not None
        assert reports.fairness is not None
        assert reports.fairness.weights == {"acme": 3}

        stored = client.call(contract.ENQUEUE, decode(job, NewJob))
        told = {limiter.key: limiter for limiter in client.limits.list().limits}
        assert told["tenant:acme"].concurrency == 4, "the job's word came after the person's"
        assert (told["vendor"].available, told["gpu"].running) == (20, 0)
        mine = ClaimJobs(worker="w", queues=["default"])
        assert [lease.id for lease in client.call(contract.CLAIM, mine).jobs] == [stored.id]
        told = {limiter.key: limiter for limiter in client.limits.list().limits}
        assert (told["vendor"].available, told["gpu"].running) == (19, 4)
        assert client.limits.edit("tenant:acme", concurrency=8).concurrency == 8

        for queue in ("urgent", "bulk"):
            for _ in range(20):
                client.call(contract.ENQUEUE, NewJob(kind="noop", queue=queue))
        leases = client.call(contract.CLAIM, decode(claim, ClaimJobs)).jobs
        assert sorted(lease.queue for lease in leases) == ["bulk"] * 2 + ["urgent"] * 8
