"""What must hold of a history: pure functions that give the violations they find, in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found after a power cut."""

    acknowledged: int
    """Commits that were acknowledged before the cut."""
    integrity: str
    """SQLite's own verdict on the file; why it did not open, where it did not."""
    found: list[int]
    """The commits after which the store's content was exactly this; commits that changed nothing share a content."""
    repeats: list[tuple[str, object, object]]
    """(call, its answer before the cut, its answer after) of calls that were repeated."""


def power_cut(recovery: Recovery) -> list[str]:
    """The file is sound, holds a prefix of the commits that lacks no acknowledged one, and calls can be repeated."""
    if recovery.integrity != "ok":
        return [f"damaged: {recovery.integrity}"]
    if not recovery.found:
        return ["no prefix: the content is that after no commit"]
    violations = []
    if max(recovery.found) < recovery.acknowledged:
        violations.append(f"lost: {recovery.acknowledged - max(recovery.found)} acknowledged commits")
    elif min(recovery.found) > recovery.acknowledged + 1:
        violations.append("no prefix: there is more than the commit under way")
    violations += [
        f"repeated {call}: answered {before!r} before and {after!r} after"
        for call, before, after in recovery.repeats
        if before != after
    ]
    return violations
