"""The jobs the outbox's tests enqueue, in an application of each test's own."""

from __future__ import annotations

from dataclasses import dataclass

import roost


@dataclass(frozen=True)
class Program:
    """An application and its jobs."""

    app: roost.App
    greet: roost.JobFunction[..., str, str]
    other: roost.JobFunction[..., int, int]


def program(url: str) -> Program:
    """A program whose jobs are at ``url``."""
    app = roost.App(url)

    @app.job(name="greet", queue="mail")
    def greet(user: int, *, tenant: str = "none") -> str:
        return f"hello {user} of {tenant}"

    @app.job(name="other")
    def other(number: int = 0) -> int:
        return number

    return Program(app, greet, other)
