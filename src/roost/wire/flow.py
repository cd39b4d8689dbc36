"""What jobs have to do with each other, as it is told: dependencies, blockers, signals."""

from __future__ import annotations

from typing import Annotated

import msgspec

from roost.domain.states import State
from roost.wire.codec import Wire
from roost.wire.jobs import NULL, JobId, Json, MaybeJson

SignalName = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class ListDependencies(Wire, kw_only=True):
    """What a job waits for, or waited for, by id; ``results`` tells their results too."""

    id: JobId = 0
    results: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 100
    cursor: str | None = None


class Dependency(Wire, kw_only=True):
    """A job that another one waits for; ``state`` is None where it was deleted."""

    id: JobId
    kind: str | None = None
    queue: str | None = None
    state: State | None = None
    reason: str | None = None
    finished_at: str | None = None
    pending: bool = False
    """It is still waited for."""
    result: MaybeJson = None


class DependencyPage(Wire, kw_only=True):
    """``cursor`` is None on the last page."""

    dependencies: list[Dependency]
    cursor: str | None = None


class ListChildren(Wire, kw_only=True):
    """A job's children, newest first."""

    id: JobId = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: str | None = None


class NewSignal(Wire, kw_only=True):
    """News for jobs that wait for ``name``: all of them, or only ``job``.

    A job that was created before it was sent uses it once, also where it only begins to wait later; a signal is kept
    for a week.
    """

    name: SignalName = ""
    data: Json = msgspec.field(default_factory=lambda: NULL)
    job: JobId | None = None


class SentSignal(Wire, kw_only=True):
    """``woken``: how many jobs waited for it and are ready now; where it is 1,000, more follow at once."""

    id: int
    woken: int = 0
