"""The loop that carries bulk operations out."""

from __future__ import annotations

from typing import Any

import pytest

from roost.domain.query import Query
from roost.errors import Unavailable
from roost.service import bulk
from roost.wire import contract
from roost.wire.bulk import BulkRef, CreateBulk
from tests.service.calls import enqueue
from tests.service.conftest import MakeRuntime
from tests.service.virtual_clock import VirtualClock
from tests.service.watched_store import WatchedStore

pytestmark = pytest.mark.feature("bulk")


async def test_one_whose_search_takes_too_long_keeps_no_other_waiting(
    memory_store: WatchedStore, clock: VirtualClock, make_runtime: MakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = await make_runtime(memory_store, clock=clock, loops=False)
    searches: Any = memory_store.reader.searches
    usual, late = searches.candidates, True

    def candidates(query: Query, *more: Any) -> Any:
        if late and query.terms[0].values[0].text == "slow":
            raise Unavailable("the search took too long")
        return usual(query, *more)

    monkeypatch.setattr(searches, "candidates", candidates)
    worker = bulk.Worker(runtime._core)
    ids = []
    for kind in ("slow", "quick"):
        await enqueue(runtime, kind)
        request = CreateBulk(action="cancel", query=f"kind:{kind}")
        started = (await runtime.handle(contract.CREATE_BULK, request)).bulk
        assert started is not None
        ids.append(started.id)

    async def states() -> list[str]:
        return [(await runtime.handle(contract.GET_BULK, BulkRef(id=id))).state for id in ids]

    assert await worker() is not None, "it looks again by itself"
    assert await states() == ["running", "done"]
    with pytest.raises(Unavailable):
        await worker()  # nothing else to do: the loop's own pause
    late = False
    await worker()
    assert await states() == ["done", "done"]
