"""A small run of the bulk campaign with real processes, on both engines."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import bulk
from tests.chaos.report import Report
from tests.support.postgres import PostgresServer


@pytest.mark.feature("bulk")
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_bulk_cancel_survives_the_servers_death(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    report = Report("bulk", 1)
    if engine == "sqlite":
        bulk.run(f"sqlite:///{tmp_path}/roost.db", tmp_path, 6_000, 1, 1, report)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = server.create_database()
        bulk.run(url, tmp_path, 6_000, 1, 1, report)
        server.drop_database(url)
    assert report.violations == []
    assert report.counts["cancelled_or_asked"] > 1000
