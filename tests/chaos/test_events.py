"""A small run of the feed's campaign, on both engines; the long one is ``python -m tests.chaos.events``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import events
from tests.chaos.report import Report
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.feature("events")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_killed_servers_hide_no_event(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    report = Report("events", 3)
    if engine == "sqlite":
        events.run(f"sqlite:///{tmp_path}/roost.db", tmp_path, 4000, 3, report)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        store = server.create_database()
        events.run(store, tmp_path, 4000, 3, report, nodes=2)
        server.drop_database(store)
    assert report.violations == []
    assert report.counts["events"] > 3000
    assert report.counts["server_kills"] >= 1


@pytest.mark.chaos
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_long_run(engine: str) -> None:
    assert events.campaign(engine, 200_000, 11, None) == 0
