"""Outboxes: jobs that a program stored in its own database, brought here by a relay, each exactly once."""

from __future__ import annotations

from typing import Annotated

import msgspec

from roost.domain.names import Name
from roost.wire.codec import Wire
from roost.wire.jobs import NewJob


class DeliverOutbox(Wire, kw_only=True):
    """Batch ``number`` of an outbox, whose batches are numbered upwards and sent one after the other.

    The last batch may be sent again at any time, and gets the answer it got; ``contents`` (a hash of the rows' names)
    shows that it is the same one. A number that was passed is a conflict. Each job is stored or refused for itself; no
    jobs: the number is used up, so that a batch refused as a whole can never be stored later.
    """

    outbox: Name = ""
    number: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    """Counted from 1."""
    contents: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
    jobs: Annotated[list[NewJob], msgspec.Meta(max_length=1000)]
