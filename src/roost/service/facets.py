"""Answers to completions, kept for a minute."""

from __future__ import annotations

from roost.wire.search import Facets

FACETS_SECONDS = 60.0
FACETS_KEPT = 256


class FacetCache:
    """Answers to completions, for a minute: a person who types asks the same again and again."""

    def __init__(self) -> None:
        self._answers: dict[tuple[object, ...], tuple[float, Facets]] = {}

    def get(self, key: tuple[object, ...], at: float) -> Facets | None:
        """What was answered less than a minute before ``at``."""
        found = self._answers.get(key)
        return found[1] if found is not None and at - found[0] < FACETS_SECONDS else None

    def put(self, key: tuple[object, ...], at: float, facets: Facets) -> None:
        """Keep an answer; the oldest is forgotten."""
        self._answers.pop(key, None)
        self._answers[key] = (at, facets)
        if len(self._answers) > FACETS_KEPT:
            del self._answers[next(iter(self._answers))]
