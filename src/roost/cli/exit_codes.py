"""Exit codes: few, documented, never renumbered."""

from __future__ import annotations

OK = 0
FAILED = 1
USAGE = 2
NOT_FOUND = 3
CONFLICT = 4
UNAVAILABLE = 5
TIMEOUT = 6
PARTIAL = 13
INTERRUPTED = 130

MEANINGS: dict[int, str] = {
    OK: "done; an empty list is success too",
    FAILED: "refused or failed: invalid input, a job that ended badly, a failed check, several unlike errors",
    USAGE: "the command line cannot be read",
    NOT_FOUND: "there is no such job, queue, schedule, approval or file",
    CONFLICT: "not in this state: decided, expired, changed, taken or running already",
    UNAVAILABLE: "the server or the store cannot be reached, is overloaded, or is owned by another process",
    TIMEOUT: "not within the time given; what was waited for goes on",
    PARTIAL: "a bulk operation ended, and failed on some of its jobs",
    INTERRUPTED: "interrupted by Ctrl-C; nothing that was waited for is cancelled",
}


def of(error: Exception) -> int:
    """The exit code of an error."""
    from roost.errors import Conflict, JobFailed, NotFound, RoostError

    if isinstance(error, JobFailed) or not isinstance(error, RoostError):
        return FAILED
    if isinstance(error, NotFound):
        return NOT_FOUND
    if isinstance(error, Conflict):
        return CONFLICT
    return {408: TIMEOUT, 429: UNAVAILABLE, 503: UNAVAILABLE}.get(error.status, FAILED)
