"""Holds: questions to people."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from roost.wire.codec import Wire
from roost.wire.jobs import Duration, JobId, Json, MaybeJson

HoldId = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class HoldRef(Wire, kw_only=True):
    id: HoldId = 0


class Hold(Wire, kw_only=True):
    """A hold; ``subject_hash`` is the SHA-256 of ``subject`` that a decision must quote."""

    id: HoldId
    job: JobId
    kind: str
    queue: str
    reason: str
    title: str
    subject: Json
    subject_hash: str
    state: Literal["open", "approved", "denied", "answered", "expired", "withdrawn"]
    created_at: str
    deadline: str | None = None
    on_expiry: str = "deny"
    decided_at: str | None = None
    decided_by: str | None = None
    note: str | None = None
    answer: MaybeJson = None
    current: bool = True
    """False for a decision made before the job was reopened: it does not count any more."""


class ListHolds(Wire, kw_only=True):
    """Open holds first to expire first; with ``all`` the decided ones too."""

    all: bool = False
    job: JobId | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: str | None = None


class HoldPage(Wire, kw_only=True):
    holds: list[Hold]
    cursor: str | None = None


class DecideHold(Wire, kw_only=True):
    """Approve or deny; the hash says what was seen."""

    id: HoldId = 0
    subject_hash: str
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""
    note: Annotated[str, msgspec.Meta(max_length=4000)] = ""


class AnswerHold(DecideHold, kw_only=True):
    """Answer a question, or approve with a revision, by any JSON value."""

    answer: Json


class ExtendHold(Wire, kw_only=True):
    """Move the deadline to ``by`` from now."""

    id: HoldId = 0
    by: Duration
    actor: Annotated[str, msgspec.Meta(max_length=200)] = ""
