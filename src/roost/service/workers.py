"""Workers and the server itself: who is there, and how they are."""

from __future__ import annotations

from roost.domain.names import check_name
from roost.engine.workers import DrainWorker, RegisterWorker
from roost.service.core import CallInfo, Core
from roost.service.seen import LATELY_MS
from roost.wire.attempts import Register, Worker, WorkerRef, Workers
from roost.wire.codec import encode, timestamp
from roost.wire.jobs import Empty
from roost.wire.server import Health, Info

REGISTERED_MS = 86_400_000
"""How far back registrations are looked at: an idle worker may have registered long ago."""


async def register(core: Core, request: Register, call: CallInfo) -> Empty:
    """A worker says who it is."""
    check_name(request.id, "id")
    for field, names in (("queues", request.queues), ("kinds", request.kinds)):
        for index, name in enumerate(names):
            check_name(name, f"{field}[{index}]")
    core.seen.hear(request.id, core.now())
    core.seen.takes(request.id, request.queues)
    action = RegisterWorker(request.id, encode(request).decode())
    await core.act_for_itself(action)
    core.seen.draining.discard(request.id)
    return Empty()


async def drain(core: Core, request: WorkerRef, call: CallInfo) -> Empty:
    """Ask a worker to end its jobs and then itself; raises `NotFound`."""
    action = DrainWorker(request.id, request.actor or call.actor)
    answer = await core.act(action, Empty, name="workers.drain", request=request, call=call)
    core.seen.draining.add(request.id)
    return answer


async def every(core: Core, request: Empty, call: CallInfo) -> Workers:
    """Workers heard of lately, by this node or through the store."""
    now = core.now()
    workers: list[Worker] = []
    for worker in await core.read(core.reader.workers, now - REGISTERED_MS):
        heard = core.seen.last(worker.id)
        if heard is not None:
            worker.seen_at = max(worker.seen_at, timestamp(heard))
        if worker.seen_at >= timestamp(now - LATELY_MS):
            workers.append(worker)
    return Workers(workers=workers)


async def live(core: Core, request: Empty, call: CallInfo) -> Health:
    """The process answers."""
    return Health(status="ok")


async def ready(core: Core, request: Empty, call: CallInfo) -> Health:
    """The store answers; raises `Unavailable`."""
    core.health.check()
    await core.read(core.reader.ping)
    return Health(status="ok")


async def info(core: Core, request: Empty, call: CallInfo) -> Info:
    """Versions, the store and the guarantee in force."""
    store = core.store.info
    return Info(
        version=core.version,
        engine=store.engine,
        engine_version=store.version,
        durability=store.durability,
        node=core.ids.node(),
        started_at=timestamp(core.started_at),
        now=timestamp(core.now()),
        url=core.url,
    )
