"""Attempts: claim, settle, heartbeat, steps; what workers call all day."""

from __future__ import annotations

from collections import Counter

import msgspec

from roost.domain import holds, order
from roost.domain.admission import INPUT_LIMIT, SAVED_LIMIT
from roost.domain.duration import parse_duration
from roost.domain.names import check_name
from roost.domain.records import STARTED_KINDS, HoldRow, WaitRow
from roost.domain.settle import Ending
from roost.engine.batch import BeatRow, ClaimAnswer, ClaimWork, Operation, SettleRow, StartRow, StepRow
from roost.errors import InvalidRequest, RoostError
from roost.service.admitting import checked, checked_or_none
from roost.service.core import CallInfo, Core, operation_of
from roost.wire.attempts import (
    Beat,
    Beaten,
    ClaimJobs,
    Heartbeat,
    HeartbeatReply,
    NewHold,
    Outcome,
    RawClaimed,
    RecordedStep,
    RecordStep,
    Settled,
    SettledJobs,
    SettleJobs,
    Step,
    Steps,
)
from roost.wire.codec import decode, encode
from roost.wire.jobs import ErrorInfo, JobRef
from roost.wire.problems import Problem

LONGEST_CLAIM_WAIT_MS = 60_000
SHORTEST_LEASE_MS = 1_000
LONGEST_LEASE_MS = 3_600_000
ROW_OVERHEAD = 128

_SUCCEEDED = Ending(kind="succeed")


async def claim(core: Core, request: ClaimJobs, call: CallInfo) -> RawClaimed:
    """Take jobs, or wait for some; no jobs when the time is over. Cancelled, it gives back what it got."""
    work, wait_ms = _claim_work(core, request, call)
    core.seen.hear(work.worker, core.now())
    core.seen.takes(work.worker, work.queues)
    if not wait_ms:
        return _claimed(core, work, await core.committer.taken(core.committer.claim(work)))
    return await _wait_for_jobs(core, work, wait_ms)


async def _wait_for_jobs(core: Core, work: ClaimWork, wait_ms: int) -> RawClaimed:
    hub, committer, clock = core.hub, core.committer, core.clock
    until = clock.monotonic() + wait_ms / 1000
    waiter = hub.register(work)
    unused: dict[str, int] = {}
    try:
        answer = await committer.taken(committer.claim(work))
        while isinstance(answer, ClaimAnswer) and not answer.count:
            if not await hub.wait(waiter, until - clock.monotonic()):
                break
            unused = hub.use(waiter)
            future = waiter.joined or committer.claim(work)
            waiter.joined = None
            answer = await committer.taken(future)
            if len(work.queues) == 1 or (isinstance(answer, ClaimAnswer) and answer.count < work.limit):
                # It took what it was promised, or nothing more is there. One that came back full from several queues
                # may have left the promised job where it was.
                unused = {}
        core.seen.hear(work.worker, core.now())
        return _claimed(core, work, answer)
    finally:
        if waiter.joined is not None:
            committer.disown(waiter.joined)
        hub.leave(waiter, unused)


def _claim_work(core: Core, request: ClaimJobs, call: CallInfo) -> tuple[ClaimWork, int]:
    wait_ms = parse_duration(request.wait, path="wait")
    if wait_ms > LONGEST_CLAIM_WAIT_MS:
        raise InvalidRequest("wait is over 60s", path="wait", help="wait for 60s at most, and claim again")
    queues = list(dict.fromkeys(check_name(name, f"queues[{i}]") for i, name in enumerate(request.queues)))
    work = ClaimWork(
        queues,
        request.limit,
        core.ids.token(),
        check_name(request.worker, "worker"),
        read_lease(request.lease),
        operation_of("jobs.claim", request, call),
    )
    if request.weights is not None:
        order.check_weights(queues, request.weights, "weights")
        spread = order.spread(queues, request.weights, request.limit, core.rng)
        work.queues = [queue for queue, _ in spread]
        work.shares = [share for _, share in spread]
    return work, wait_ms


def _claimed(core: Core, work: ClaimWork, answer: ClaimAnswer | Problem) -> RawClaimed:
    if isinstance(answer, Problem):
        raise answer.error()
    drain = work.worker in core.seen.draining
    return RawClaimed(token=answer.token, lease_ms=answer.lease_ms, jobs=msgspec.Raw(answer.jobs), drain=drain)


def read_lease(text: str) -> int:
    """A lease in milliseconds; raises `InvalidRequest`."""
    lease_ms = parse_duration(text, path="lease")
    if not SHORTEST_LEASE_MS <= lease_ms <= LONGEST_LEASE_MS:
        raise InvalidRequest("a lease is from 1s to 1h", path="lease", help="15s is a good lease, renewed every 5s")
    return lease_ms


async def settle(core: Core, request: SettleJobs, call: CallInfo) -> SettledJobs:
    """End attempts; each outcome is accepted or refused by itself."""
    rows: list[SettleRow] = []
    refused: dict[int, Problem] = {}
    size, now = 0, core.now()
    for index, outcome in enumerate(request.outcomes):
        try:
            ending = _ending(outcome, now, f"outcomes[{index}]", core.settings.payload_limit)
        except RoostError as error:
            refused[index] = Problem.of(error)
            continue
        size += ROW_OVERHEAD + len(ending.result or ending.error or "") + sum(map(len, ending.chunks))
        rows.append(SettleRow(outcome.id, outcome.token, ending))
    answers = iter(await core.committer.settle(rows, size)) if rows else iter(())
    results: list[Settled] = []
    for index, outcome in enumerate(request.outcomes):
        problem = refused.get(index)
        if problem is not None:
            results.append(Settled(id=outcome.id, error=problem))
        else:
            answer = next(answers)
            results.append(Settled(id=answer.id, state=answer.state, error=answer.problem))
    return SettledJobs(results=results)


def _ending(outcome: Outcome, now: int, path: str, limit: int) -> Ending:
    kind = outcome.outcome
    after_ms = None if outcome.after is None else parse_duration(outcome.after, path=f"{path}.after")
    if kind == "succeed":
        if outcome.result is None and not outcome.exit and outcome.summary is None and not outcome.chunks:
            return _SUCCEEDED
        return Ending(
            kind="succeed",
            result=checked_or_none(outcome.result, limit, f"{path}.result", "payload_limit"),
            exit=outcome.exit,
            summary=outcome.summary,
            chunks=_chunks(outcome.chunks, limit, path),
        )
    if kind in ("snooze", "sleep") and after_ms is None:
        raise InvalidRequest(f"{kind} needs a time to come back", path=f"{path}.after", help='for example "30s"')
    hold = None
    if kind == "hold":
        if outcome.hold is None:
            raise InvalidRequest("a hold needs its question", path=f"{path}.hold", help="give a title and a subject")
        hold = hold_row(outcome.hold, now, f"{path}.hold")
    wait = None
    if kind == "wait":
        wait, after_ms = _wait_row(outcome, f"{path}.wait")
    error = None
    if kind == "fail":
        error = error_text(outcome.error or ErrorInfo(type="Unknown"))
    return Ending(
        kind=kind,
        result=checked_or_none(outcome.result, limit, f"{path}.result", "payload_limit"),
        summary=outcome.summary,
        chunks=_chunks(outcome.chunks, limit, path),
        error=error,
        fatal=outcome.fatal,
        timed_out=outcome.timed_out,
        died=outcome.died,
        after_ms=after_ms,
        hold=hold,
        wait=wait,
    )


def _wait_row(outcome: Outcome, path: str) -> tuple[WaitRow, int | None]:
    """What a handler waits for, and how long at most; raises `InvalidRequest`, `InvalidDuration`."""
    wait = outcome.wait
    if wait is None or (wait.jobs is None) == (wait.signal is None):
        raise InvalidRequest("a wait is for jobs or for a signal", path=path, help="give one of jobs and signal")
    if wait.jobs is not None and outcome.id in wait.jobs:
        raise InvalidRequest("a job cannot wait for its own end", path=f"{path}.jobs", help="leave it out")
    timeout_ms = None if wait.timeout is None else parse_duration(wait.timeout, path=f"{path}.timeout")
    return WaitRow(jobs=wait.jobs or [], signal=wait.signal, step=wait.step or ""), timeout_ms


def _chunks(values: list[msgspec.Raw], limit: int, path: str) -> list[str]:
    return [checked(value, limit, f"{path}.chunks[{index}]", "payload_limit") for index, value in enumerate(values)]


def hold_row(question: NewHold, now: int, path: str) -> HoldRow:
    """The hold a handler asks for; raises `InvalidJson`, `InvalidDuration`, `TooLarge` with the field's path."""
    subject = checked(question.subject, INPUT_LIMIT, f"{path}.subject")
    return HoldRow(
        reason=question.reason,
        title=question.title,
        subject=subject,
        subject_hash=holds.subject_hash(subject),
        deadline=None if question.expires is None else now + parse_duration(question.expires, path=f"{path}.expires"),
        on_expiry=question.on_expiry,
    )


def error_text(error: ErrorInfo) -> str:
    """The error as JSON; what no store can keep (NUL, half surrogate pairs) is replaced: an error is never refused."""
    kind, message, traceback, *bases = map(_storable, (error.type, error.message, error.traceback, *error.bases))
    return encode(ErrorInfo(type=kind, message=message, traceback=traceback, bases=bases)).decode()


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd").encode(errors="replace").decode()


async def heartbeat(core: Core, request: Heartbeat, call: CallInfo) -> HeartbeatReply:
    """Renew leases; each is renewed or refused by itself. What cannot be stored is refused, its lease renewed."""
    lease_ms = read_lease(request.lease)
    now = core.now()
    core.seen.hear(check_name(request.worker, "worker"), now)
    rows: list[BeatRow] = []
    refused: dict[int, Problem] = {}
    operation: Operation | None = None
    size = 0
    for index, beat in enumerate(request.beats):
        try:
            row = _beat_row(beat, lease_ms, now, f"beats[{index}]", core.settings.payload_limit)
            if row.logs or row.chunks:
                operation = operation or operation_of("jobs.heartbeat", request, call)
                row.operation = operation
        except RoostError as error:
            refused[index] = Problem.of(error)
            row = BeatRow(beat.id, beat.token, lease_ms)
        size += ROW_OVERHEAD + len(row.saved or "") + sum([len(message) for _, _, message in row.logs])
        size += sum(map(len, row.chunks))
        rows.append(row)
    answers = await core.committer.beat(rows, size) if rows else []
    return HeartbeatReply(
        drain=request.worker in core.seen.draining,
        beats=[
            Beaten(id=answer.id, cancel=answer.cancel, error=answer.problem or refused.get(index))
            for index, answer in enumerate(answers)
        ],
    )


def _beat_row(beat: Beat, lease_ms: int, now: int, path: str, limit: int) -> BeatRow:
    return BeatRow(
        beat.id,
        beat.token,
        lease_ms,
        None if beat.progress is None else encode(beat.progress).decode(),
        checked_or_none(beat.saved, SAVED_LIMIT, f"{path}.saved"),
        [(now if line.at is None else line.at, line.level, _storable(line.message)) for line in beat.logs],
        _chunks(beat.chunks, limit, path),
        [StartRow(step.name, step.kind, step.input_hash, step.started_at or now) for step in beat.steps],
    )


async def record_step(core: Core, request: RecordStep, call: CallInfo) -> RecordedStep:
    """Record a step once; raises `LeaseLost`, `StepChanged`, `TooLarge`, `InvalidJson`."""
    output = checked(request.output, SAVED_LIMIT, "output")
    saved = checked_or_none(request.saved, SAVED_LIMIT, "saved")
    row = StepRow(
        request.id,
        request.token,
        request.name,
        request.kind,
        request.input_hash,
        output,
        checked_or_none(request.usage, INPUT_LIMIT, "usage"),
        request.started_at,
        None if request.progress is None else encode(request.progress).decode(),
        saved,
    )
    answer = await core.committer.step(row, ROW_OVERHEAD + len(output) + len(saved or ""))
    if answer.problem is not None:
        raise answer.problem.error()
    return RecordedStep(step=decode(answer.step, Step), recorded=answer.recorded)


async def steps(core: Core, request: JobRef, call: CallInfo) -> Steps:
    """A job's steps, and how many of them were run; raises `NotFound`."""
    recorded, unrecorded = await core.read(core.reader.all_steps, request.id)
    kinds = Counter([step.kind for step in recorded] + [step.kind for step in unrecorded])
    live = {kind: kinds[kind] for kind in STARTED_KINDS if kinds[kind]}
    return Steps(steps=recorded, unrecorded=unrecorded, live=live)
