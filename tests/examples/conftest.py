"""The sample inbox of the daily brief, and servers that live as long as a test."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from examples.daily_brief import sample
from examples.daily_brief.inbox import Inbox, read
from examples.daily_brief.settings import Mailbox

NOW = datetime(2026, 3, 29, 6, 30, 5, tzinfo=UTC)

Serve = Callable[[socketserver.BaseServer], None]


@pytest.fixture
def sampled(tmp_path: Path) -> dict[str, Inbox]:
    source = Mailbox(sample.write(tmp_path / "mail", NOW))
    return {user: read(source, user, now=NOW, hours=24) for user in sample.users()}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves a bound server in a thread until the test ends."""
    with contextlib.ExitStack() as stack:
        yield lambda server: stack.enter_context(_serving(server))


@contextlib.contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
