"""The pipeline from its first page to its last, shown stage by stage as a user sees it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import msgspec

from examples.pipeline.jobs import HEAVY, PAGES, PER_TENANT, POISON, SCANS, TENANTS, app, index, page, publish, scan
from roost.sdk.calls import JobCall
from roost.sdk.flow import OpenBatch
from roost.sdk.handle import Handle
from roost.wire.jobs import Job, JobSummary

T = TypeVar("T")

SECONDS = 30.0


class PipelineFailed(Exception):
    """Something that the pipeline promises did not happen."""


def check(fact: bool, what: str) -> None:
    """Say that ``what`` holds; raises `PipelineFailed` where it does not."""
    if not fact:
        raise PipelineFailed(f"not true: {what}")
    print(f"  ok  {what}")


def calls() -> Iterator[JobCall[int]]:
    """Every page of the site, the heavy one before all others."""
    for number in range(PAGES):
        tenant = TENANTS[number % len(TENANTS)]
        if number == HEAVY:
            yield page.options(priority=9).call(number, tenant=tenant, weight=PER_TENANT)
        else:
            yield (scan if number in SCANS else page).call(number, tenant=tenant)


async def run(show: Callable[..., None]) -> None:
    """All stages on the app's store; ``show`` runs the command line, as ``show("why", "7")``."""

    async def shown(*words: object) -> None:
        await asyncio.to_thread(show, *(str(word) for word in words))

    print(f"== {PAGES} pages in one batch, a callback at its end, an index after all of them")
    async with app.batch("site", on_complete=publish.call("site")) as batch:
        pages = await batch.add_many(calls())
    whole = await index.options(after=pages, after_failure="run").enqueue("site")
    await shown("batches", "show", batch.id)
    await shown("why", whole.id)

    async with working():
        print("== The heavy page has taken all that acme may use: acme's other pages wait, nobody else's")
        acme = [handle for number, handle in enumerate(pages) if number % len(TENANTS) == 0]
        others = [handle for handle in pages if handle not in acme]
        await until(lambda: pending(batch, others), "the other tenants' pages are through")
        waiting = acme[0]
        check((await waiting.job()).reason == "throttled", "acme's first page waits for its limit")
        await shown("why", waiting.id)
        await shown("jobs", "inspect", pages[HEAVY].id)

        print("== Somebody cancels the heavy page, in the middle of it all")
        await pages[HEAVY].cancel("it never ends")
        finished = await batch.wait(timeout=SECONDS)
        check((await pages[HEAVY].status()) == "cancelled", "the heavy page is cancelled, acme's others went on")

        print("== The poison page has killed three processes: it is held, and the batch did not wait for it")
        poison = pages[POISON]
        await shown("jobs", "inspect", poison.id)
        check(
            (finished.succeeded, finished.cancelled, finished.quarantined) == (PAGES - 2, 1, 1),
            f"{PAGES - 2} pages succeeded, 1 was cancelled, 1 is in quarantine",
        )
        [callback] = finished.callbacks
        published = await app.client.jobs.wait(callback)
        check(published.summary == f"site: {PAGES - 2} of {PAGES} pages", "the callback ran once and counted them")
        await shown("batches", "show", batch.id)

        print("== The index waits for every page, so for the person who decides about the poison page")
        await shown("why", whole.id)
        [hold] = (await app.client.holds.list(job=poison.id)).holds
        await app.client.holds.deny(hold.id, hold.subject_hash, actor="ana", note="the file is broken")
        result = await whole.result(timeout=SECONDS)
        words = sum(100 + number % 50 for number in range(PAGES) if number not in (HEAVY, POISON))
        check(result == {"pages": PAGES - 2, "words": words}, f"the index has {result}")
        await shown("jobs", "inspect", whole.id)
        most = most_at_once([await handle.job() for handle in pages if handle is not pages[HEAVY]])
        check(max(most.values()) <= PER_TENANT, f"no tenant had more than {PER_TENANT} pages at work at once: {most}")


async def pending(batch: OpenBatch, handles: list[Handle[int]]) -> bool:
    """Whether all of these have ended, or are held."""
    wanted = {handle.id for handle in handles}
    busy = ("waiting", "ready", "running")
    left = [job for job in await members(batch) if job.id in wanted and job.state in busy]
    return not left


async def members(batch: OpenBatch) -> list[JobSummary]:
    found: list[JobSummary] = []
    cursor: str | None = None
    while True:
        listed = await app.client.jobs.list(batch=batch.id, limit=500, cursor=cursor)
        found += listed.jobs
        cursor = listed.cursor
        if cursor is None:
            return found


def most_at_once(jobs: list[Job]) -> dict[str, int]:
    """For each tenant the most pages that were at work at one moment, recomputed from their attempts."""
    moments: list[tuple[str, int, str]] = []
    for job in jobs:
        tenant = str(msgspec.json.decode(job.input)["tenant"])
        for attempt in job.attempts:
            moments.append((attempt.started_at or "", 1, tenant))
            moments.append((attempt.ended_at or "", -1, tenant))
    now = dict.fromkeys(TENANTS, 0)
    most = dict.fromkeys(TENANTS, 0)
    for _, change, tenant in sorted(moments):
        now[tenant] += change
        most[tenant] = max(most[tenant], now[tenant])
    return most


@contextlib.asynccontextmanager
async def working() -> AsyncIterator[None]:
    """A worker in this process; its leases are short, so that a cancel is heard of within a second."""
    worker = await app.worker(queues=["pages"], concurrency=24, lease="3s", grace=5.0)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await task


async def until(look: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            while not await look():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise PipelineFailed(f"not within {SECONDS:g} s: {what}") from None
