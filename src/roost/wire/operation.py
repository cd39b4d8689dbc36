"""One call of the API, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from roost.wire.codec import Wire

Q = TypeVar("Q", bound=Wire)
A = TypeVar("A", bound=Wire)

PREFIX = "/api/v1"
OPERATION_HEADER = "operation-id"
OPERATION_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$"

Lane = Literal["read", "enqueue", "claim", "settle", "write"]
"""What is shed first under overload: read, enqueue, claim, write; settle (and heartbeat, step) never."""


@dataclass(frozen=True, eq=False, slots=True)
class Operation(Generic[Q, A]):
    """One call of the API."""

    name: str
    """``noun.verb``: the tag and the method of the client and of the service."""
    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    request: type[Q]
    reply: type[A]
    lane: Lane
    summary: str
    status: int = 200

    @property
    def path_fields(self) -> tuple[str, ...]:
        """The request's fields that the path carries."""
        return tuple(re.findall(r"{(\w+)}", self.path))

    @property
    def mutates(self) -> bool:
        """Whether it changes anything, and so takes an operation id."""
        return self.lane != "read"
