"""A small run of the feed's campaign with webhook receivers; the long one is ``python -m tests.chaos.events``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from roost.wire.events import FeedEvent
from tests.chaos import events
from tests.chaos.report import Report
from tests.chaos.webhook_receivers import ReceiverThread, observing, receivers
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.feature("webhooks-out")


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_killed_servers_keep_no_event_from_receivers(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    report = Report("webhooks", 5)
    with receivers() as hooked:
        watching = partial(observing, hooked)
        if engine == "sqlite":
            events.run(f"sqlite:///{tmp_path}/roost.db", tmp_path, 1500, 5, report, observers=watching)
        else:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            store = server.create_database()
            events.run(store, tmp_path, 1500, 5, report, nodes=2, observers=watching)
            server.drop_database(store)
        assert report.violations == []
        for receiver in hooked:
            assert len(set(receiver.accepted)) > 1000
    assert report.counts["server_kills"] >= 1


def test_a_receiver_that_misses_or_mixes_up_events_is_noticed() -> None:
    stored = [FeedEvent(id=f"{n}.0", at="2026-11-22T00:00:00.000Z", type="ready", job=n % 2) for n in range(1, 9)]

    def found(*accepted: int) -> str:
        receiver = ReceiverThread("steady")
        receiver.accepted = [f"{n}.0" for n in accepted]
        return " ".join(receiver.violations(stored))

    assert found(*range(1, 9)) == ""
    assert found(1, 2, 2, 1, 3, 4, 5, 6, 7, 8) == ""  # once more, behind the first time
    assert found(2, 1, 3, 4, 5, 6, 7, 8) == ""  # of two jobs, and the first one at the second try
    assert "1 missing" in found(1, 2, 3, 4, 6, 7, 8)
    assert "1 missing" in found(1, 2, 3, 4, 5, 6, 7)
    assert "not stored" in found(*range(1, 10))
    assert "came after" in found(1, 2, 5, 3, 4, 6, 7, 8)
