"""Fixtures for tests of programs that use Roost.

async def test_welcome(roost_app, roost_worker, roost_clock, assert_enqueued):
    roost_app(app)                                  # this program's jobs are in memory for the test
    handle = await welcome.options(delay="1h").enqueue(7)
    assert_enqueued(welcome, user_id=7)
    roost_clock.advance("1h")
    await roost_worker.drain()
    assert await handle.result() == "welcome, 7"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from roost.crashes import CrashEverywhere
    from roost.sdk.app import App
    from roost.testing import Harness, VirtualClock
    from roost.wire.jobs import Job


@pytest.fixture
def roost_clock() -> VirtualClock:
    """The test's clock: `advance` and `travel` let time pass, nothing else does."""
    from roost.testing import VirtualClock

    return VirtualClock()


@pytest.fixture
def roost_worker(roost_clock: VirtualClock) -> Iterator[Harness]:
    """The store in memory and its worker: `drain` runs what is ready or due, in the test's own event loop."""
    from roost.testing import Harness

    with Harness(roost_clock) as harness:
        yield harness


@pytest.fixture
def roost_app(roost_worker: Harness) -> Iterator[Callable[[App], App]]:
    """Binds an application to the store in memory until the test ends: ``roost_app(app)``, as often as needed."""
    with ExitStack() as stack:

        def bind(app: App) -> App:
            return stack.enter_context(roost_worker.bound(app))

        yield bind


@pytest.fixture
def assert_enqueued(roost_worker: Harness) -> Callable[..., Job]:
    """``assert_enqueued(welcome, user_id=7)``: the job of that kind with these values in its input."""
    return roost_worker.assert_enqueued


@pytest.fixture
def refute_enqueued(roost_worker: Harness) -> Callable[..., Any]:
    """``refute_enqueued(welcome, user_id=7)``: no job of that kind has these values in its input."""
    return roost_worker.refute_enqueued


@pytest.fixture
def crash_everywhere() -> CrashEverywhere:
    """``await crash_everywhere(brief, "ana")``: its result, the same whatever worker dies at whatever step.

    ``crash_everywhere.with_meanwhile(approve)(brief, "ana")`` where somebody has to approve or send a signal.
    """
    from roost.crashes import CrashEverywhere

    return CrashEverywhere()
