"""``roost approvals``: what waits for a person, and the person's decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from roost.cli import inputs, output, text, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, paged, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.holds import Hold

_SHORTEST_HASH = 8


@click.group("approvals", cls=Group)
def command() -> None:
    """Look at and decide what waits for a person: approvals and questions."""


HOLD = click.argument("id", type=click.IntRange(min=0))
HASH = click.option(
    "--hash",
    "insisted",
    metavar="SHA256",
    help="Decide only if this is the subject's hash (8 characters or more of it); else the one just shown is quoted.",
)
NOTE = click.option("--note", default="", help="Why, for the record.")


def fate(hold: Hold) -> str:
    """What the deadline's passing means."""
    return "approved" if hold.on_expiry == "approve" else "denied"


def deadline(hold: Hold) -> str:
    """Until when, and what happens then."""
    if hold.deadline is None:
        return ""
    return f"{times.short(hold.deadline)}, then {fate(hold)}" if hold.state == "open" else times.short(hold.deadline)


@command.command("list")
@click.option("--all", "decided", is_flag=True, help="The decided ones too.")
@click.option("--job", type=click.IntRange(min=0), help="Only those of this job.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@listing
@pass_session
def list_command(session: Session, decided: bool, job: int | None, limit: int) -> None:
    """List what waits for a decision, the first to expire first."""
    from roost.wire.contract import LIST_HOLDS
    from roost.wire.holds import ListHolds

    def ask(cursor: str | None, size: int) -> tuple[list[Hold], str | None]:
        page = session.send(LIST_HOLDS, ListHolds(all=decided, job=job, limit=size, cursor=cursor))
        return page.holds, page.cursor

    columns: tuple[Column[Hold], ...] = (
        Column("ID", lambda hold: hold.id, right=True),
        Column("STATE", lambda hold: hold.state),
        Column("ASKS FOR", lambda hold: hold.reason),
        Column("TITLE", lambda hold: hold.title, elastic=True),
        Column("JOB", lambda hold: hold.job, right=True),
        Column("KIND", lambda hold: hold.kind, elastic=True),
        Column("ASKED", lambda hold: times.short(hold.created_at)),
        Column("UNTIL", deadline),
    )
    output.emit_pages(paged(ask, limit, False), session.format, columns, lambda hold: hold.id, "nothing waits")


@command.command("show")
@HOLD
@reading
@pass_session
def show_command(session: Session, id: int) -> None:
    """Show what is to be decided: the subject, its hash, and until when."""
    hold = _get(session, id)

    def show() -> None:
        output.say(output.strong(f"approval {hold.id}: {text.line(hold.title)}"))
        show_hold(hold)
        if hold.state == "open":
            short = hold.subject_hash[:12]
            output.say()
            if hold.reason == "question":
                output.say(f"roost approvals answer {hold.id} JSON --hash {short}")
            else:
                output.say(f"roost approvals approve {hold.id} --hash {short}")
            output.say(f"roost approvals deny {hold.id} --hash {short}")

    output.emit_one(hold, session.format, show, lambda: hold.id)


def show_hold(hold: Hold, by: int = 0) -> None:
    """A hold for people: who asks what, what was decided, and the subject itself."""
    decision = [hold.decided_by or "", times.full(hold.decided_at)]
    facts = [
        ("title", hold.title if by else ""),
        ("state", hold.state + ("" if hold.current else " (before the job was reopened: it does not count any more)")),
        ("job", f"{hold.job}  {hold.kind}  in {hold.queue}" if not by else ""),
        ("asks for", hold.reason),
        ("asked", times.full(hold.created_at)),
        ("until", f"{times.full(hold.deadline)}, then {fate(hold)}" if hold.deadline else ""),
        ("decided", " at ".join(filter(None, decision))),
        ("note", hold.note),
        ("answer", None if hold.answer is None else bytes(hold.answer).decode()),
        ("hash", hold.subject_hash),
    ]
    output.fields(facts, by)
    output.say(" " * by + output.faint("subject"))
    for part in subject_lines(hold):
        output.say(" " * (by + 2) + part)


def subject_lines(hold: Hold) -> list[str]:
    """The subject, readable: a text as its lines, anything else as JSON."""
    import msgspec

    value = msgspec.json.decode(hold.subject)
    if isinstance(value, str):
        return text.block(value)
    if isinstance(value, dict) and value and all(isinstance(part, str) for part in value.values()):
        lines: list[str] = []
        for key, part in value.items():
            first, *rest = text.block(part)
            lines += [f"{text.line(key)}: {first}"] if not rest else [f"{text.line(key)}:"]
            lines += [f"  {one}" for one in [first, *rest]] if rest else []
        return lines
    return output.json_text(hold.subject, indent=2).split("\n")


@command.command("approve")
@HOLD
@HASH
@NOTE
@writing
@pass_session
def approve_command(session: Session, id: int, insisted: str | None, note: str) -> None:
    """Let the job go on: shows the subject and quotes its hash."""
    from roost.wire.contract import APPROVE_HOLD
    from roost.wire.holds import DecideHold

    quoted = _seen(session, id, insisted)
    _decided(
        session, session.send(APPROVE_HOLD, DecideHold(id=id, subject_hash=quoted, actor=session.who(), note=note))
    )


def open_hold(session: Session, job: int) -> Hold:
    """What a job waits for a person to decide; raises `Conflict` where it is nothing, or a question."""
    from roost.errors import Conflict
    from roost.wire.contract import GET_JOB, LIST_HOLDS
    from roost.wire.holds import ListHolds
    from roost.wire.jobs import JobRef

    found = session.send(LIST_HOLDS, ListHolds(job=job, limit=1)).holds
    if not found:
        state = session.send(GET_JOB, JobRef(id=job)).state
        raise Conflict(f"the job is {state}", path="id", help="only held jobs wait for an approval")
    hold = found[0]
    if hold.reason == "question":
        raise Conflict("the job asks a question", path="id", help=f"roost approvals answer {hold.id} JSON")
    return hold


def approve(session: Session, hold: Hold, note: str) -> None:
    """Approve what was just read: shows the subject and quotes its hash."""
    from roost.wire.contract import APPROVE_HOLD
    from roost.wire.holds import DecideHold

    _tell(session, hold)
    request = DecideHold(id=hold.id, subject_hash=hold.subject_hash, actor=session.who(), note=note)
    session.send(APPROVE_HOLD, request)


@command.command("deny")
@HOLD
@HASH
@NOTE
@writing
@pass_session
def deny_command(session: Session, id: int, insisted: str | None, note: str) -> None:
    """Refuse: the job fails."""
    from roost.wire.contract import DENY_HOLD
    from roost.wire.holds import DecideHold

    quoted = _seen(session, id, insisted)
    _decided(session, session.send(DENY_HOLD, DecideHold(id=id, subject_hash=quoted, actor=session.who(), note=note)))


@command.command("answer")
@HOLD
@click.argument("answer", type=inputs.JSON, metavar="JSON|@FILE|-")
@HASH
@NOTE
@writing
@pass_session
def answer_command(session: Session, id: int, answer: bytes, insisted: str | None, note: str) -> None:
    """Answer a question, or approve with a revision, by any JSON value."""
    import msgspec

    from roost.wire.contract import ANSWER_HOLD
    from roost.wire.holds import AnswerHold

    quoted = _seen(session, id, insisted)
    request = AnswerHold(id=id, subject_hash=quoted, actor=session.who(), note=note, answer=msgspec.Raw(answer))
    _decided(session, session.send(ANSWER_HOLD, request))


@command.command("extend")
@HOLD
@click.argument("by", metavar="DURATION")
@writing
@pass_session
def extend_command(session: Session, id: int, by: str) -> None:
    """Move the deadline to DURATION from now."""
    from roost.wire.contract import EXTEND_HOLD
    from roost.wire.holds import ExtendHold

    hold = session.send(EXTEND_HOLD, ExtendHold(id=id, by=by, actor=session.who()))
    output.emit_one(hold, session.format, lambda: output.say(f"{hold.id}  until {deadline(hold)}"), lambda: hold.id)


def _get(session: Session, id: int) -> Any:
    from roost.wire.contract import GET_HOLD
    from roost.wire.holds import HoldRef

    return session.send(GET_HOLD, HoldRef(id=id))


def _seen(session: Session, id: int, insisted: str | None) -> str:
    """The hash to quote: of the subject that was just shown, or the one insisted on."""
    if insisted is not None and len(insisted) < _SHORTEST_HASH:
        raise click.UsageError(f"--hash needs at least {_SHORTEST_HASH} characters of the subject's hash")
    hold = _get(session, id)
    current = str(hold.subject_hash)
    if insisted is not None:
        # Another hash than the current one is sent as it is: the refusal, and its reason, are the server's.
        return current if current.startswith(insisted.lower()) else insisted
    _tell(session, hold)
    return current


def _tell(session: Session, hold: Hold) -> None:
    if session.format == "table":
        output.note(f"approval {hold.id}: {text.line(hold.title)}")
        for part in subject_lines(hold):
            output.note(f"  {part}")


def _decided(session: Session, hold: Hold) -> None:
    def show() -> None:
        by = f" by {hold.decided_by}" if hold.decided_by else ""
        output.say(text.line(f"{hold.state} approval {hold.id}{by}; job {hold.job} {hold.kind}"))

    output.emit_one(hold, session.format, show, lambda: hold.id)
