"""Something that stands for a stored job."""

from __future__ import annotations


class JobReference:
    """A job by its id: what ``after=``, ``parent=`` and `Context.wait_for` take."""

    __slots__ = ("id",)

    def __init__(self, id: int) -> None:
        self.id = id
