"""The Python guide's program, run as it stands there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roost.crashes import CrashEverywhere
from roost.testing import Harness
from tests.docs.documents import code, guide, module, rows


@pytest.fixture
def made(tmp_path: Path) -> Any:
    return module("guide_python", guide("python"), tmp_path)


async def test_graphs_batches_and_chains(made: Any) -> None:
    with Harness() as harness, harness.bound(made.app):
        joined, batch, chain = await made.flow()
        await harness.drain()
        assert await joined.result() == 11
        finished = await batch.wait(timeout=20)
        await harness.drain()
        [report] = finished.callbacks
        assert bytes((await harness.client.jobs.get(report)).result or b"") == b'"3 of 3"'
        ended = await chain.wait(timeout=20)
        assert (ended.succeeded, ended.skipped) == (2, 1)
        for cell, _ in rows(guide("python"), "a `BatchHandle`"):
            name = code(cell).removeprefix("await ").removeprefix("batch.").partition("(")[0]
            assert hasattr(batch, name), name


async def test_the_album_survives_a_death_anywhere(made: Any, crash_everywhere: CrashEverywhere) -> None:
    async def release(harness: Harness) -> None:
        [album] = harness.jobs(made.album)
        await harness.client.signals.send("release", True, job=album.id)

    thumbnails = await crash_everywhere.with_meanwhile(release)(made.album, 2)
    assert thumbnails == ["thumbnail 0", "thumbnail 0", "thumbnail 1"]


async def test_middleware_and_dependencies(made: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Harness() as harness, harness.bound(made.app):
        handles = [await made.book.enqueue(line) for line in ("one", "two")]
        await harness.drain(concurrency=1)
        assert [await handle.result() for handle in handles] == [1, 2]
        made.app.overrides[made.session] = lambda: None
        failing = await made.book.options(retry=None).enqueue("three")
        await harness.drain()
        assert f"{made.book.kind} {failing.id} failed in attempt 1 with {{'line': 'three'}}" in capsys.readouterr().out


async def test_limits_and_processes(made: Any) -> None:
    limits = made.send.new_job("hi", tenant="acme").limits
    assert [limit.key for limit in limits] == ["smtp", "tenant:acme"]
    assert made.render.handler.memory == 256_000_000


async def test_a_release_goes_to_one_album(made: Any) -> None:
    with Harness() as harness, harness.bound(made.app):
        one, other = await made.album.enqueue(1), await made.album.enqueue(1)
        await harness.drain()
        await made.release(one)
        await harness.drain()
        assert len(await one.result(timeout=20)) == 2
        assert (await other.job()).reason == "event"
