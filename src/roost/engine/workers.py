"""What a store is told of workers, as data: who is there, and who is to go."""

from __future__ import annotations

import msgspec


class SeeWorkers(msgspec.Struct, tag=True):
    """Workers and when a node heard of them last, in milliseconds."""

    heard: list[tuple[str, int]]


class DrainWorker(msgspec.Struct, tag=True):
    """Ask a worker to claim no more, end its jobs, and then itself."""

    id: str
    actor: str = ""


class RegisterWorker(msgspec.Struct, tag=True):
    id: str
    data: str
    """`roost.wire.attempts.Register` as JSON text."""


WorkerAction = RegisterWorker | SeeWorkers | DrainWorker
