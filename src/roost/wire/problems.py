"""The one shape of an error, on every path."""

from __future__ import annotations

from roost.errors import BY_CODE, RoostError
from roost.wire.codec import Wire


class Problem(Wire, kw_only=True):
    """What was refused: a stable code, a message, the field's path and what to do."""

    code: str
    message: str
    path: str = ""
    help: str = ""
    retry_after: float | None = None
    """Seconds to wait before the same call."""

    @classmethod
    def of(cls, error: RoostError) -> Problem:
        """The problem an error is told as."""
        return cls(
            code=error.code, message=error.message, path=error.path, help=error.help, retry_after=error.retry_after
        )

    def error(self) -> RoostError:
        """The error this problem tells of, as its own class where the code is known."""
        kind = BY_CODE.get(self.code, RoostError)
        return kind(self.message, path=self.path, help=self.help, retry_after=self.retry_after)


class ErrorBody(Wire, kw_only=True):
    """The body of every answer that is not 2xx."""

    error: Problem
