"""What a job waits for."""

from __future__ import annotations

from roost.domain.states import State
from roost.domain.why import BlockerKind
from roost.wire.codec import Wire
from roost.wire.jobs import JobId


class Blocker(Wire, kw_only=True):
    """One thing that keeps a job from going on, until when it does so by itself, and what a person can do."""

    kind: BlockerKind
    text: str
    until: str | None = None
    job: JobId | None = None
    hold: int | None = None
    key: str | None = None
    """The limit's."""
    action: str | None = None
    """A command."""


class Why(Wire, kw_only=True):
    """What a job waits for, in one sentence and in full, first what is met first."""

    id: JobId
    state: State
    reason: str | None = None
    answer: str
    blockers: list[Blocker] = []
