"""The programs and queries of the guides on search and bulk operations, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roost.domain.query import parse
from roost.domain.query_fields import FIELDS
from roost.testing import Harness
from roost.wire.jobs import NewJob
from tests.docs.documents import guide, module


@pytest.mark.feature("query")
async def test_the_search_guide_finds_what_is_rare(tmp_path: Path) -> None:
    made = module("guide_search", guide("search"), tmp_path)
    with Harness() as harness, harness.bound(made.app):
        ids = [made_.id for made_ in await made.app.client.jobs.enqueue_many([NewJob(kind="k") for _ in range(120)])]
        (rare,) = [(await made.app.client.jobs.enqueue(NewJob(kind="rare"))).id]
        assert await made.rare("kind:rare") == [rare]
        assert await made.rare("kind:k") == ids[::-1]


@pytest.mark.feature("query")
def test_every_query_of_the_guides_can_be_read() -> None:
    tried = 0
    for name in ("search", "bulk"):
        text = guide(name)
        for found in re.findall(r"roost jobs (?:list|cancel|retry|delete) (?:-- )?'([^']+)'", text):
            assert parse(found, 0).terms
            tried += 1
    table = guide("search").split("generated: query_fields")[1]
    for name in FIELDS:
        assert f"`{name}" in table
    assert tried >= 4


@pytest.mark.feature("bulk")
async def test_the_bulk_guide(tmp_path: Path) -> None:
    made = module("guide_bulk", guide("bulk"), tmp_path)
    with Harness() as harness, harness.bound(made.app):
        for _ in range(3):
            await made.app.client.jobs.enqueue(NewJob(kind="k", queue="mail"))
        assert await made.retry_failed_mails() == 0
