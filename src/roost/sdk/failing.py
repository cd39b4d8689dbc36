"""What is said of a job that did not succeed, to whoever wanted its result."""

from __future__ import annotations

from typing import Protocol

from roost.domain.states import State
from roost.wire.jobs import ErrorInfo


class Ended(Protocol):
    """A job that has ended."""

    @property
    def id(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def state(self) -> State: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def error(self) -> ErrorInfo | None: ...


def failure(job: Ended) -> str:
    """Where it is, why, and its last error."""
    message = f"job {job.id} ({job.kind}) {job.state}"
    if job.reason:
        message += f" ({job.reason})"
    if job.error is not None:
        message += f": {job.error.type}: {job.error.message}"
    return message
