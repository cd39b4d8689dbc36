"""The shop's jobs."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Annotated, Any

import roost

app = roost.App()
logger = logging.getLogger("shop")

PRICES = {"tea": 4, "cake": 6}


@dataclasses.dataclass
class Receipt:
    customer: str
    total: int


class Ledger:
    """The shop's books; a database's session in a real one."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def book(self, line: str) -> int:
        self.lines.append(line)
        return len(self.lines)


def ledger() -> Iterator[Ledger]:
    """Opened for each job, and closed however it ends."""
    books = Ledger()
    try:
        yield books
    finally:
        logger.info("%d lines booked", len(books.lines))


@app.around
async def timed(job: roost.RunningJob, call: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    began = time.perf_counter()
    try:
        return await call()
    finally:
        logger.info("%s %d took %.3f s", job.kind, job.id, time.perf_counter() - began)


def price(items: list[str]) -> int:
    return sum(PRICES[item] for item in items)


@app.job(
    name="order",
    queue="orders",
    retries=3,
    unique=roost.Unique("key", within="1d"),
    limits=[roost.Concurrency("customer:{customer}", 1)],
)
async def order(
    customer: str,
    items: list[str],
    key: str,
    ctx: roost.Context = roost.injected(),
    books: Annotated[Ledger, roost.Depends(ledger)] = roost.injected(),
) -> Receipt:
    total = await ctx.step("price", price, items)
    ctx.progress(1, 3, "waits for the payment")
    if not await ctx.wait("payment", type=bool, timeout="1h"):
        raise roost.Fatal("not paid")
    ctx.progress(2, 3, "paid")
    await ctx.step("book", books.book, f"{customer}: {total}")
    return Receipt(customer, total)
