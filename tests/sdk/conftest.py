"""Fixtures of the SDK's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.sdk.harness import Bench


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    """A store in memory with the means to run jobs on it."""
    bench = Bench()
    yield bench
    await bench.close()
