"""What is measured: every figure once, with its unit, which way is better and the target of each engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EngineName = Literal["sqlite", "postgresql"]


@dataclass(frozen=True)
class Figure:
    """One number of the report."""

    label: str
    unit: str
    sqlite: float | None = None
    postgresql: float | None = None
    lower_is_better: bool = False

    def target(self, engine: EngineName) -> float | None:
        """What is to be reached on this engine; None for a figure that is only shown."""
        return self.sqlite if engine == "sqlite" else self.postgresql

    def ratio(self, value: float, reference: float) -> float | None:
        """How many times better than ``reference``; 1 and more is reached. None where one of them is nothing."""
        if self.lower_is_better:
            return reference / value if value else None
        return value / reference if reference else None


def _rate(label: str, sqlite: float | None = None, postgresql: float | None = None, unit: str = "jobs/s") -> Figure:
    return Figure(label, unit, sqlite, postgresql)


def _cost(label: str, unit: str, sqlite: float | None = None, postgresql: float | None = None) -> Figure:
    return Figure(label, unit, sqlite, postgresql, lower_is_better=True)


FIGURES: dict[str, Figure] = {
    "idle.cpu": _cost("idle server with a connected worker: CPU", "%", 1, 1),
    "idle.written": _cost("idle server with a connected worker: written", "KiB/s", 0, None),
    "latency.p50": _cost("enqueue to handler start, idle server: p50", "ms", 2, 3.5),
    "latency.p99": _cost("enqueue to handler start, idle server: p99", "ms", 6, None),
    "unary.rate": _rate("one enqueue per request, 32 connections", 12_000, 5_000),
    "unary.p50": _cost("one enqueue per request, 32 connections: p50", "ms"),
    "unary.p99": _cost("one enqueue per request, 32 connections: p99", "ms", 10, None),
    "single.rate": _rate("one enqueue at a time, through the server", 2_000, 1_000),
    "bulk.rate": _rate("bulk enqueue, 1,000 per request, 4 connections", 150_000, 70_000),
    "settle.rate": _rate("claim 256 and settle, prefilled queue", 70_000, 25_000),
    "life.rate": _rate("full life: enqueue, claim, settle at the same time", 40_000, 15_000),
    "drain.rate": _rate("drain by one Python worker process", 40_000, 20_000),
    "drain2.rate": _rate("drain by two Python worker processes"),
    "memory.rss": _cost("server memory after the jobs above", "MB", 200, 200),
    "memory.per_job": _cost("server memory: growth per 1,000 jobs", "kB"),
    "cli.list": _cost("start of `roost jobs list` against the server", "ms", 200, 200),
    "cli.version": _cost("start of `roost --version`", "ms", 200, 200),
    "import.roost": _cost("`import roost`, beyond Python's own start", "ms"),
    "embedded.sync": _rate("one enqueue at a time, embedded, sync", 5_000, 2_200),
    "embedded.async": _rate("one enqueue at a time, embedded, async", 5_000, 2_200),
    "embedded.p50": _cost("enqueue to handler start, embedded: p50", "ms", 2, 3.5),
    "embedded.p99": _cost("enqueue to handler start, embedded: p99", "ms", 6, None),
    "engine.enqueue_1": _rate("engine alone: enqueue, transactions of 1"),
    "engine.enqueue_64": _rate("engine alone: enqueue, transactions of 64"),
    "engine.enqueue_1000": _rate("engine alone: enqueue, transactions of 1,000"),
    "engine.work_64": _rate("engine alone: claim and settle, batches of 64"),
    "engine.work_1000": _rate("engine alone: claim and settle, batches of 1,000"),
    "backlog.empty_ms": _cost("claim of 64 from an otherwise empty store: p50", "ms"),
    "backlog.full_ms": _cost("claim of 64 with the backlog: p50", "ms"),
    "backlog.empty_p99": _cost("claim of 64 from an otherwise empty store: p99", "ms"),
    "backlog.full_p99": _cost("claim of 64 with the backlog: p99", "ms"),
    "backlog.empty_list": _cost("first page of the job list, an otherwise empty store", "ms"),
    "backlog.full_list": _cost("first page of the job list with the backlog", "ms"),
    "backlog.slowdown": _cost("claim with the backlog against without", "x", 1.5, 1.5),
    "schedules.fired": _rate("schedules: fires in the window", None, None, "fires/s"),
    "schedules.late_p99": _cost("schedules: lateness of a fire, p99", "ms", 1000, 1000),
    "schedules.cpu": _cost("schedules: CPU of the server", "%", 10, 10),
}
