"""Batches that relays bring from outboxes."""

from __future__ import annotations

from roost.domain.names import check_name
from roost.domain.records import JobRow
from roost.engine.calls import Call, DeliverBatch
from roost.errors import InvalidRequest, RoostError
from roost.service.admitting import admit
from roost.service.core import CallInfo, Core
from roost.wire.jobs import EnqueuedJobs
from roost.wire.lenient import decode_reply
from roost.wire.outboxes import DeliverOutbox
from roost.wire.problems import Problem


async def deliver(core: Core, request: DeliverOutbox, call: CallInfo) -> EnqueuedJobs:
    """Store a batch once; each job is answered for itself, as what it was answered first. Raises `Conflict`."""
    check_name(request.outbox, "outbox")
    if request.number == 0:
        raise InvalidRequest("batches are numbered from 1", path="number", help="give the first batch number 1")
    rows: list[JobRow | None] = []
    refused: list[Problem | None] = []
    for job in request.jobs:
        # A refusal is decided here and stored as an answer: sent again, the batch must not be judged by other rules
        # or at another time than when it was stored.
        try:
            rows.append(admit(job, core.rules, core.now, ""))
            refused.append(None)
        except RoostError as error:
            rows.append(None)
            refused.append(Problem.of(error))
    action = DeliverBatch(request.outbox, request.number, request.contents, rows, refused)
    acted = await core.committer.act(Call(core.now(), action))
    if acted.problem is not None:
        raise acted.problem.error()
    return decode_reply(acted.reply, EnqueuedJobs)
