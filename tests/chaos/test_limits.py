"""The limits campaign, small; and its checker against histories with known faults."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import limits
from tests.chaos.limits import most_at_once, most_over_rate
from tests.chaos.report import Report
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.feature("limits")


@pytest.fixture
def store(postgres_server: PostgresServer) -> Iterator[str]:
    url = postgres_server.create_database()
    yield url
    postgres_server.drop_database(url)


def test_two_servers_keep_every_limit(store: str, tmp_path: Path) -> None:
    report = Report("limits", 5)
    limits.run(store, tmp_path, 1000, 5, report, backlog=1000)
    assert report.violations == []
    assert report.counts["attempts_checked"] > 500, "of 1000 claims and more"
    assert report.counts["keys_filled"] >= 5, "limits that are never reached prove nothing"


def test_the_checker_counts_who_is_there_at_once() -> None:
    assert most_at_once([]) == 0
    assert most_at_once([(0, 10, 1), (10, 20, 1)]) == 1, "one ends as the other starts"
    assert most_at_once([(0, 11, 1), (10, 20, 1)]) == 2
    assert most_at_once([(0, 100, 2), (10, 20, 3), (19, 30, 1), (40, 50, 4)]) == 6


def test_the_checker_finds_the_worst_window() -> None:
    def naive(uses: list[tuple[int, int, int]], count: int, period: int) -> float:
        uses = sorted(uses)
        return max(
            sum(cost for _, _, cost in uses[i : j + 1]) - count * (uses[j][0] - uses[i][0]) / period
            for i in range(len(uses))
            for j in range(i, len(uses))
        )

    even = [(number * 100, 0, 1) for number in range(50)]
    assert most_over_rate(even, 10, 1000) == pytest.approx(1)
    one_too_soon = [*even, (2550, 0, 1)]
    assert most_over_rate(one_too_soon, 10, 1000) == pytest.approx(naive(one_too_soon, 10, 1000))
    assert most_over_rate(one_too_soon, 10, 1000) > 1
    burst = [(0, 0, 3), (0, 0, 2), (1000, 0, 10), (1000, 0, 1), (5000, 0, 4)]
    assert most_over_rate(burst, 10, 1000) == pytest.approx(naive(burst, 10, 1000))


@pytest.mark.chaos
def test_many_claims_and_killed_servers() -> None:
    assert limits.campaign(50_000, 11, 2, None) == 0
