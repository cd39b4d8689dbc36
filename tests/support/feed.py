"""The feed replayed: each job's path from state to state must be one the table of transitions allows, told once."""

from __future__ import annotations

from roost.domain.feed import EventType, Happening, Position, parse_position
from roost.domain.states import TRANSITIONS, State
from roost.engine.reading import Reader
from roost.wire.events import FeedEvent
from roost.wire.jobs import ListJobs

STEPS = {(before, after) for (before, _), after in TRANSITIONS.items()}


class Replay:
    """What the feed has told so far."""

    def __init__(self) -> None:
        self.states: dict[int, State] = {}
        self.paths: dict[int, list[State]] = {}
        self.gone: set[int] = set()
        self.position = Position(0)
        self.events = 0

    def add(self, event: Happening | FeedEvent) -> None:
        """One more event, which must follow the last one."""
        position = event.position if isinstance(event, Happening) else parse_position(event.id)
        assert position > self.position, f"{position} after {self.position}"
        self.position = position
        self.events += 1
        assert event.type in set(EventType), f"{event.type} is not listed in roost.domain.feed"
        job = event.job
        if job is None:
            return
        assert job not in self.gone, f"{event} after the job was gone"
        if event.type in ("job_deleted", "job_pruned"):
            self.gone.add(job)
            return
        if event.type == "created":
            assert job not in self.states, f"job {job} is created twice"
            assert event.state is not None
            self.paths[job] = []
        else:
            assert job in self.states, f"{event} before the job was created"
            if event.state is None:
                return
            step = (self.states[job], event.state)
            assert step in STEPS, f"job {job} goes from {step[0]} to {step[1]} at {position}: {self.paths[job]}"
        self.states[job] = event.state
        self.paths[job].append(event.state)

    def read(self, reader: Reader, limit: int = 1000) -> None:
        """All that the store has to tell by now."""
        while True:
            found = reader.feed(self.position, limit)
            for event in found.events:
                self.add(event)
            self.position = found.position
            if not found.more:
                assert not found.gap
                return

    def check(self, reader: Reader) -> None:
        """The feed's last word on each job is where the job is; every job is told of."""
        cursor: str | None = None
        stored: dict[int, State] = {}
        while True:
            page = reader.jobs(ListJobs(limit=500, cursor=cursor))
            stored |= {job.id: job.state for job in page.jobs}
            if (cursor := page.cursor) is None:
                break
        told = {id: state for id, state in self.states.items() if id not in self.gone}
        wrong = {
            id: (told.get(id), stored.get(id)) for id in told.keys() | stored.keys() if told.get(id) != stored.get(id)
        }
        assert not wrong, f"the feed tells otherwise than the store: {wrong}"
