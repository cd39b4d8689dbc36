"""The queues' rules, kept at hand: an enqueue asks for them without asking the store."""

from __future__ import annotations

from roost.domain.admission import INPUT_LIMIT, PLAIN
from roost.domain.records import QueueRules
from roost.service.kinds import Kinds

STALE_SECONDS = 10.0
"""How old the rules may be; hints between nodes make them fresh at once, this is for the hints that get lost."""


class Rules:
    """A copy of the rules of every queue that has any, and of the schemas of kinds."""

    def __init__(self, payload_limit: int = INPUT_LIMIT) -> None:
        self._rules: dict[str, QueueRules] = {}
        self.kinds = Kinds()
        self.payload_limit = payload_limit
        """Bytes an input or a result may have."""
        self._read_at = float("-inf")

    def of(self, queue: str) -> QueueRules:
        """The rules of ``queue``; `PLAIN` itself where it has none."""
        return self._rules.get(queue, PLAIN)

    def replace(self, rules: dict[str, QueueRules], schemas: dict[str, str], at: float) -> None:
        """Take over what the store said at ``at`` (monotonic seconds)."""
        self.kinds.replace(schemas)
        self._rules = {queue: each for queue, each in rules.items() if each != PLAIN}
        self._read_at = at

    def expire(self) -> None:
        """They changed: `stale` until they are read again."""
        self._read_at = float("-inf")

    def stale(self, at: float) -> bool:
        """Whether they must be read again; says so once per period."""
        if at - self._read_at < STALE_SECONDS:
            return False
        self._read_at = at
        return True
