"""A relay in a process of its own, to be killed: says ``ready``, and a line for each batch it has begun to send."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import roost
from roost.outboxes.relay import Relay
from roost.wire.jobs import Enqueued, NewJob


class Telling:
    """Delivers, and says so first."""

    def __init__(self, client: roost.Client) -> None:
        self._client = client

    def deliver(self, outbox: str, number: int, contents: str, jobs: Sequence[NewJob]) -> Sequence[Enqueued]:
        print(f"batch {number} of {len(jobs)}", flush=True)
        return self._client.outboxes.deliver(outbox, number, contents, jobs)


if __name__ == "__main__":
    database, store, name = sys.argv[1:]
    with roost.Client.connect(store) as client:
        print("ready", flush=True)
        Relay(database, store, deliver=Telling(client), name=name).run_sync()
