"""The pipeline's jobs: a page, a scanned page, what follows when all are through, and the index of them all."""

from __future__ import annotations

import asyncio
import ctypes

import roost

app = roost.App()

TENANTS = ("acme", "bolt", "core", "dune", "echo")
PER_TENANT = 4
PAGES = 500
SCANS = range(7, PAGES, 100)
"""These pages are scanned: a library written in C reads them, so each runs in a process of its own."""
POISON = 207
"""The library does not survive this one."""
HEAVY = 120
"""Takes all that its tenant may use, and never ends by itself."""

by_tenant = roost.Concurrency("tenant:{tenant}", PER_TENANT, cost="weight")


@app.job(name="page", queue="pages", limits=[by_tenant])
async def page(number: int, *, tenant: str, weight: int = 1, ctx: roost.Context = roost.injected()) -> int:
    """How many words the page has."""
    if number == HEAVY:
        ctx.progress(message="a page without an end")
        await ctx.wait_cancelled()
        raise roost.Cancel("asked to stop")
    await asyncio.sleep(0.005)
    return 100 + number % 50


@app.job(name="scan", queue="pages", isolate="process", memory="512MB", limits=[by_tenant], retries=5, retry_base="1ms")
def scan(number: int, *, tenant: str, weight: int = 1) -> int:
    """As `page`, by a library that may crash."""
    if number == POISON:
        ctypes.string_at(0)
    return 100 + number % 50


@app.job(name="publish", queue="pages")
async def publish(site: str, ctx: roost.Context = roost.injected()) -> str:
    """Called back once, when no page is worked at any more."""
    batch = await ctx.batch()
    told = f"{site}: {batch.succeeded} of {batch.total} pages"
    ctx.summary(told)
    return told


@app.job(name="index", queue="pages")
async def index(site: str, ctx: roost.Context = roost.injected()) -> dict[str, int]:
    """Needs the end of every page, whatever it is, and takes the results of those that succeeded."""
    words = [found for found in await ctx.dependencies() if found is not None]
    return {"pages": len(words), "words": sum(words)}
