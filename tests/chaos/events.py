"""The feed under kills: ``python -m tests.chaos.events --events 200000 --output bench/reliability/events_sqlite.json``.

Clients enqueue, claim and settle in sets while the servers die by ``kill -9`` and are started again; readers follow the
feed over server-sent events and connect again behind the last event they saw. In the end each of them must have seen
every event that is stored, once, in order, and the replayed feed must be what the jobs are.

Others that follow the feed (webhooks' receivers) take part as an `Observer`.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from roost.domain.states import State
from roost.sdk._sync.client import Client
from roost.sdk.patience import Patience
from roost.wire.attempts import Outcome
from roost.wire.events import FeedEvent, FeedReset
from roost.wire.jobs import ErrorInfo, NewJob
from tests.chaos.kills import drained
from tests.chaos.programs import Server, until
from tests.chaos.report import Report, told
from tests.chaos.webhook_receivers import observing, receivers
from tests.support.feed import Replay
from tests.support.postgres import PostgresServer

LIFE_SECONDS = (0.5, 3.0)
"""How long a server lives, at least and at most."""
SET = 100
LAST = "the-last-queue"
"""Paused when all is done: its event is the feed's end."""
END_SECONDS = 180.0


class Observer(Protocol):
    """Somebody else who hears of every event."""

    def finished(self, last: str) -> bool:
        """Whether it has heard of all events up to the one with id ``last``."""
        ...

    def violations(self, stored: list[FeedEvent]) -> list[str]:
        """What is wrong with what it heard, given all that happened."""
        ...


Observers = Callable[[Client], Sequence[Observer]]
"""Sets observers up through a client, before anything happens."""


def patient(url: str) -> Client:
    """A client that outlives its server."""
    return Client.connect(url, timeout=10.0, patience=Patience(seconds=END_SECONDS, cap=0.5))


class Live(threading.Thread):
    """Enqueues jobs and works them off, in sets; some fail and are tried again."""

    def __init__(self, name: str, url: str, jobs: int, seed: int) -> None:
        super().__init__(name=name, daemon=True)
        self._client = patient(url)
        self._rng = random.Random(f"{seed}/{name}")
        self._left = jobs
        self.stored: list[int] = []
        self.drained = threading.Event()
        """Set by whoever saw that nothing is left to do."""
        self.error: BaseException | None = None

    @property
    def enqueues(self) -> bool:
        """Whether it has more jobs to enqueue."""
        return self.is_alive() and self._left > 0

    def run(self) -> None:
        try:
            with closing(self._client):
                self._live()
        except BaseException as error:
            self.error = error

    def _live(self) -> None:
        jobs = self._client.jobs
        while True:
            if self._left > 0:
                count = min(self._left, self._rng.randint(1, SET))
                new = [NewJob(kind="work", queue=f"q{number % 3}", input=msgspec.Raw(b"{}")) for number in range(count)]
                self.stored += [answer.id for answer in jobs.enqueue_many(new)]
                self._left -= count
            limit, wait = self._rng.randint(1, 2 * SET), "0s" if self._left > 0 else "200ms"
            claimed = jobs.claim(self.name, ["q0", "q1", "q2"], limit=limit, lease="10m", wait=wait)
            if claimed.jobs:
                jobs.settle([self._outcome(lease.id, claimed.token) for lease in claimed.jobs])
            elif self.drained.is_set():
                return

    def _outcome(self, id: int, token: str) -> Outcome:
        if self._rng.random() < 0.05:
            error = ErrorInfo(type="Chance", message="once more")
            return Outcome(id=id, token=token, outcome="fail", error=error, after="0s")
        return Outcome(id=id, token=token)


class Follower(threading.Thread):
    """Follows the feed to its end; ``naps`` closes the stream now and then and comes back later."""

    def __init__(self, name: str, url: str, *, types: list[str] | None = None, naps: bool = False) -> None:
        super().__init__(name=name, daemon=True)
        self.types = types
        self._client = patient(url)
        self._rng = random.Random(name)
        self._naps = naps
        self.events: list[FeedEvent] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with closing(self._client):
                while not self._follow():
                    time.sleep(self._rng.uniform(0, 1))
        except BaseException as error:
            self.error = error

    def _follow(self) -> bool:
        """Whether the end was seen."""
        after = self.events[-1].id if self.events else "0"
        stop = len(self.events) + self._rng.randint(1000, 20_000) if self._naps else sys.maxsize
        with closing(self._client.events(after=after, type=self.types)) as events:
            for event in events:
                if isinstance(event, FeedReset):
                    raise AssertionError(f"{self.name} was reset: {event}")
                self.events.append(event)
                if is_last(event):
                    return True
                if len(self.events) >= stop:
                    return False
        return False

    def violations(self, stored: list[FeedEvent]) -> list[str]:
        """How what it saw differs from what is stored."""
        if self.error is not None:
            return [f"{self.name}: {self.error!r}"]
        wanted = [event.id for event in stored if self.types is None or event.type in self.types]
        seen = [event.id for event in self.events]
        if seen == wanted:
            return []
        missing, twice = set(wanted) - set(seen), len(seen) - len(set(seen))
        strange = set(seen) - set(wanted)
        return [
            f"{self.name}: {len(missing)} missing {sorted(missing)[:5]}, {twice} twice, {len(strange)} not stored "
            f"{sorted(strange)[:5]}, {len(seen)} seen of {len(wanted)}"
        ]


def is_last(event: FeedEvent) -> bool:
    """Whether this is the event the campaign ends with."""
    return event.type == "queue_paused" and event.data is not None and LAST in bytes(event.data).decode()


def run(
    store: str,
    folder: Path,
    events: int,
    seed: int,
    report: Report,
    *,
    nodes: int = 1,
    observers: Observers | None = None,
) -> None:
    """About ``events`` events under kills; the report gets what was found."""
    rng = random.Random(f"{seed}/nemesis")
    with ExitStack() as stack:
        servers = [stack.enter_context(Server(store, folder, f"server-{number}")) for number in range(nodes)]
        urls = [server.url for server in servers]
        asked = stack.enter_context(closing(patient(urls[0])))
        watching = observers(asked) if observers is not None else []
        lives = [Live(f"live-{number}", urls[number % nodes], events // 13, seed) for number in range(4)]
        followers = [
            Follower("all", urls[0]),
            Follower("all-naps", urls[-1], naps=True),
            Follower("ends", urls[-1], types=["succeeded", "queue_paused"]),
        ]
        for thread in (*followers, *lives):
            thread.start()
        kills = 0
        while any(life.enqueues for life in lives):
            time.sleep(rng.uniform(*LIFE_SECONDS))
            victim = servers[kills % nodes]
            victim.kill()
            victim.start()
            kills += 1
        until("all jobs are done", lambda: drained(asked), END_SECONDS)
        for life in lives:
            life.drained.set()
            life.join(END_SECONDS)
        asked.queues.pause(LAST)
        for follower in followers:
            follower.join(END_SECONDS)
            if follower.is_alive():
                report.violations.append(f"{follower.name} did not see the end; {len(follower.events)} events so far")
        stored = every(asked)
        patience = max(END_SECONDS, events / 300)
        for watcher in watching:
            until("an observer has heard of everything", partial(watcher.finished, stored[-1].id), patience)
        check(asked, stored, lives, followers, watching, report)
    report.counts |= {"events": len(stored), "server_kills": kills, "followers": len(followers)}


def every(client: Client) -> list[FeedEvent]:
    """The whole feed, page by page."""
    found: list[FeedEvent] = []
    after: str | None = None
    while True:
        page = client.events.list(after=after, limit=1000)
        found += page.events
        after = page.cursor
        if not page.more:
            return found


def check(
    client: Client,
    stored: list[FeedEvent],
    lives: list[Live],
    followers: list[Follower],
    watching: Sequence[Observer],
    report: Report,
) -> None:
    """Put every violation and the counts into the report."""
    replay = Replay()
    for event in stored:
        try:
            replay.add(event)
        except AssertionError as error:
            report.violations.append(f"the stored feed: {error}")
    for life in lives:
        if life.error is not None:
            report.violations.append(f"{life.name}: {life.error!r}")
    acknowledged = [id for life in lives for id in life.stored]
    report.violations += [f"job {id} is acknowledged and not told" for id in acknowledged if id not in replay.states]
    left = {state: count for state in State if (count := list(replay.states.values()).count(state))}
    if set(left) != {State.SUCCEEDED}:
        report.violations.append(f"the feed leaves jobs in {left}")
    states = {job.id: job.state for job in jobs_of(client)}
    if states != replay.states:
        wrong = [id for id in states.keys() | replay.states.keys() if states.get(id) != replay.states.get(id)]
        report.violations.append(f"{len(wrong)} jobs are not where the feed says, as {wrong[:5]}")
    for follower in followers:
        report.violations += follower.violations(stored)
    for watcher in watching:
        report.violations += watcher.violations(stored)
    report.counts |= {"jobs": len(states), "acknowledged_jobs": len(acknowledged)}


def jobs_of(client: Client) -> list[Any]:
    """Every job there is."""
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = client.jobs.list(limit=500, cursor=cursor)
        found += page.jobs
        if (cursor := page.cursor) is None:
            return found


def campaign(engine: str, events: int, seed: int, output: Path | None) -> int:
    """The campaign on one engine (two nodes on PostgreSQL); the exit code."""
    report = Report(f"events on {engine}", seed, events=events, engine=engine)
    with tempfile.TemporaryDirectory(prefix="roost-events-") as folder, receivers() as hooked:
        watching = partial(observing, hooked)
        if engine == "sqlite":
            run(f"sqlite:///{folder}/roost.db", Path(folder), events, seed, report, observers=watching)
        else:
            with PostgresServer(durable=True) as server:
                run(server.create_database(), Path(folder), events, seed, report, nodes=2, observers=watching)
        report.counts |= {f"webhooks_{receiver.name}": len(receiver.accepted) for receiver in hooked}
    return report.finish(output)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path)
    words = parser.parse_args()
    return campaign(words.engine, words.events, words.seed, words.output)


if __name__ == "__main__":
    sys.exit(told(main))
