"""The one place that makes identifiers and random numbers."""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Callable
from typing import Protocol

Rng = Callable[[], float]
"""A random number in [0, 1)."""

system_rng: Rng = random.SystemRandom().random


class Ids(Protocol):
    """Where identifiers come from; tests count."""

    def token(self) -> str:
        """A lease token: 128 random bits as 32 hex digits."""
        ...

    def operation(self) -> str:
        """An operation id for a call that is made by Roost itself."""
        ...

    def node(self) -> str:
        """The name of this process among those that share the store; the same at every call."""
        ...


class SystemIds:
    """Identifiers from the operating system's randomness."""

    def __init__(self) -> None:
        self._node = f"{socket.gethostname()}-{secrets.token_hex(4)}"

    def token(self) -> str:
        return secrets.token_hex(16)

    def operation(self) -> str:
        return secrets.token_hex(16)

    def node(self) -> str:
        return self._node
