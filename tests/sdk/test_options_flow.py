"""Limits, calls and weights as a program says them, before anything is stored."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec
import pytest

import roost
from roost.cli.running import read_queues
from roost.errors import ConfigurationError, InvalidRequest
from tests.sdk.harness import Bench


@pytest.fixture
def app() -> roost.App:
    return roost.App("sqlite://:memory:")


@pytest.mark.feature("limits")
def test_a_limit_s_key_is_filled_from_the_arguments(app: roost.App) -> None:
    @app.job(
        limits=[
            roost.Rate("smtp", "100/m", burst=10, cost=2),
            roost.Concurrency("tenant:{tenant}:{number}", 4, cost="number"),
            roost.Concurrency("{{id}}{id}", 1),
        ]
    )
    def send(tenant: str, id: uuid.UUID, number: int = 3) -> None: ...

    id = uuid.UUID(int=5)
    limits = send.new_job("acme", id).limits
    assert limits is not None
    assert msgspec.to_builtins(limits) == [
        {"key": "smtp", "rate": "100/m", "burst": 10, "cost": 2},
        {"key": "tenant:acme:3", "concurrency": 4, "cost": 3},
        {"key": f"{{id}}{id}", "concurrency": 1},
    ]
    other = send.options(limits=[roost.Rate("x", "1/s")]).new_job("acme", id).limits
    assert other is not None
    assert [limit.key for limit in other] == ["x"]


@pytest.mark.feature("limits")
@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (lambda: roost.Concurrency("{nobody}", 1), "names 'nobody', which is no parameter"),
        (lambda: roost.Rate("x", "1/s", cost="nobody"), "names 'nobody', which is no parameter"),
        (lambda: roost.Concurrency("{tenant", 1), "is no template"),
        (lambda: roost.Concurrency("{tenant.name}", 1), "is no parameter"),
        (lambda: roost.Concurrency("{tenant!r}", 1), "is no parameter"),
        (lambda: roost.Concurrency("{}", 1), "is no parameter"),
    ],
)
def test_a_limit_over_what_is_no_parameter_is_refused_where_it_is_declared(
    app: roost.App, limit: Any, message: str
) -> None:
    def send(tenant: str) -> None: ...

    with pytest.raises(ConfigurationError, match=message):
        app.job(name="a", limits=[limit()])(send)
    job = app.job(name="b")(send)
    with pytest.raises(ConfigurationError, match=message):
        job.options(limits=[limit()])


@pytest.mark.feature("limits")
def test_a_cost_that_is_no_number_and_an_empty_key_are_refused(app: roost.App) -> None:
    def send(tenant: str) -> None: ...

    costly = app.job(name="c", limits=[roost.Rate("x", "1/s", cost="tenant")])(send)
    with pytest.raises(InvalidRequest, match="is no cost"):
        costly.new_job("acme")
    empty = app.job(name="d", limits=[roost.Concurrency("{tenant}", 1)])(send)
    with pytest.raises(InvalidRequest, match="key is empty"):
        empty.new_job("")


@pytest.mark.feature("enqueue")
def test_a_schedule_s_jobs_have_every_option(app: roost.App) -> None:
    @app.schedule(
        every="1h",
        name="hourly",
        queue="mail",
        tags={"a": "b"},
        owner="ana",
        hold=True,
        ttl="10m",
        metadata={"trace": 1},
        limits=[roost.Concurrency("hourly", 1)],
        unique=roost.Unique(on_conflict="replace"),
        retries=7,
    )
    async def hourly() -> None: ...

    [(_, job)] = app._declared()
    assert (job.queue, job.tags, job.owner, job.hold, job.ttl) == ("mail", {"a": "b"}, "ana", roost.HoldRule(), "10m")
    assert job.limits is not None
    assert job.limits[0].concurrency == 1
    assert job.unique is not None
    assert job.unique.on_conflict == "replace"
    assert job.retry is not None
    assert (job.retry.retries, bytes(job.metadata or b"")) == (7, b'{"trace":1}')


def test_a_word_that_is_no_option_is_refused(app: roost.App) -> None:
    def send() -> None: ...

    with pytest.raises(TypeError, match="delya"):
        app.job(delya="1m")  # type: ignore[call-overload]  # what a type checker would refuse
    with pytest.raises(TypeError, match="delya"):
        app.job(name="e")(send).options(delya="1m")  # type: ignore[call-arg]  # as above


@pytest.mark.feature("claim")
async def test_queues_with_weights_give_their_shares(bench: Bench) -> None:
    order: list[str] = []

    @bench.app.job(name="mail")
    async def mail() -> None:
        order.append("mail")

    @bench.app.job(name="slow")
    async def slow() -> None:
        order.append("slow")

    for _ in range(40):
        await bench.enqueue(mail.options(queue="mail"))
        await bench.enqueue(slow.options(queue="slow"))
    await bench.drain(queues={"mail": 3, "slow": 1}, concurrency=4)
    assert order.count("mail") == order.count("slow") == 40
    assert order[:4].count("mail") == 3
    # What one queue does not have goes to the other.
    assert order[-10:] == ["slow"] * 10
    order.clear()
    for _ in range(4):
        await bench.enqueue(slow.options(queue="slow"))
        await bench.enqueue(mail.options(queue="mail"))
    await bench.drain(queues=["mail", "slow"], concurrency=1)
    assert order == ["mail"] * 4 + ["slow"] * 4


def test_queues_on_the_command_line() -> None:
    assert read_queues([]) is None
    assert read_queues(["mail", "slow"]) == ["mail", "slow"]
    assert read_queues(["mail:3", "slow"]) == {"mail": 3, "slow": 1}
    for word in ("mail:", "mail:0", "mail:x", "mail:1001"):
        with pytest.raises(InvalidRequest, match="no weight"):
            read_queues([word])
