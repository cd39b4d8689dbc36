"""The workloads do what they claim to measure, on both engines: every job counted is a job in the store.

How fast they were is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from roost.bench import alone, programs, traffic, workers
from roost.bench.figures import FIGURES
from roost.bench.stand import QUICK, Sizes, Stand, given_server, own_server, resized
from tests.support.postgres import PostgresServer

SIZES = Sizes(jobs=1500, seconds=0.3, samples=5, backlog=100, retained=100, schedules=10)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    if request.param == "sqlite":
        with own_server("sqlite", SIZES) as stand:
            yield stand
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.create_database()
    with own_server(url, SIZES) as stand:
        yield stand
    server.drop_database(url)


def counted(stand: Stand, before: set[str]) -> dict[str, int]:
    """Jobs by state in the queues that a measure used."""
    queues = [queue for queue in stand.client.queues.list() if queue.name not in before]
    assert queues
    return {state: sum(getattr(queue, state) for queue in queues) for state in ("ready", "running", "succeeded")}


def names(stand: Stand) -> set[str]:
    return {queue.name for queue in stand.client.queues.list()}


def test_bulk_enqueues_every_job(stand: Stand) -> None:
    before = names(stand)
    found = traffic.bulk(stand)
    assert found["bulk.rate"] > 0
    assert counted(stand, before) == {"ready": 1500, "running": 0, "succeeded": 0}


def test_settle_ends_every_job_of_its_queue(stand: Stand) -> None:
    before = names(stand)
    assert set(traffic.settle(stand)) == {"settle.rate"}
    assert counted(stand, before) == {"ready": 0, "running": 0, "succeeded": 1500}


def test_life_takes_every_job_to_its_end(stand: Stand) -> None:
    before = names(stand)
    done = stand.jobs_done
    traffic.life(stand)
    assert stand.jobs_done - done == 1500
    # Whole requests of a thousand: the rate counts the 1,500 asked for in proportion.
    assert counted(stand, before) == {"ready": 0, "running": 0, "succeeded": 2000}


def test_single_requests_are_counted_one_by_one(stand: Stand) -> None:
    before = names(stand)
    done = stand.jobs_done
    found = traffic.unary(stand) | traffic.single(stand)
    assert set(found) == {"unary.rate", "unary.p50", "unary.p99", "single.rate"}
    assert 0 < found["unary.p50"] <= found["unary.p99"]
    assert counted(stand, before)["ready"] == stand.jobs_done - done > 0


def test_a_real_worker_drains_the_queue_and_starts_jobs(stand: Stand) -> None:
    before = names(stand)
    assert workers.drain(stand)["drain.rate"] > 0
    assert counted(stand, before) == {"ready": 0, "running": 0, "succeeded": 1501}
    found = workers.latency(stand)
    assert 0 < found["latency.p50"] <= found["latency.p99"]


def test_the_server_is_watched_from_outside(stand: Stand) -> None:
    traffic.life(stand)
    assert "CPU a job" in stand.notes["life.rate"]
    found = programs.memory(stand)
    assert found["memory.rss"] > 1
    assert stand.notes["memory.rss"] == f"after {stand.jobs_done:,} jobs"


def test_measures_without_a_server(stand: Stand) -> None:
    found = alone.engine(stand) | alone.embedded(stand) | alone.embedded_latency(stand)
    assert set(found) == {name for name in FIGURES if name.startswith(("engine.", "embedded."))}
    assert all(value > 0 for value in found.values())


def test_a_given_server_is_used_and_left_running(stand: Stand) -> None:
    before = names(stand)
    with given_server(stand.url, resized(QUICK, jobs=20, seconds=0.1)) as given:
        assert given.engine == stand.engine
        traffic.bulk(given)
    assert counted(stand, before)["ready"] == 20
