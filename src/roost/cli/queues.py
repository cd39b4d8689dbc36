"""``roost queues``: counts, pause, and the rules of jobs to come."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import click

from roost.cli import inputs, output, queue_rules, retrying, text
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.queue_display import COUNTS, KEPT, oldest_ready, show
from roost.cli.session import Session, listing, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.domain.records import HoldRule, QueueRules
    from roost.domain.retry import RetryRule
    from roost.wire.queues import Cleared, Queue


@click.group("queues", cls=Group)
def command() -> None:
    """Look at, pause and edit queues."""


command.add_command(queue_rules.limits_command)
command.add_command(queue_rules.order_command)
NAME = click.argument("name")
YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
CLEARABLE = tuple(name for name in COUNTS if name != "running")


COLUMNS: tuple[Column[Queue], ...] = (
    Column("QUEUE", lambda queue: queue.name, elastic=True),
    Column("STATE", lambda queue: "paused" if queue.paused else "open"),
    *(Column(name.upper(), attrgetter(name), right=True) for name in COUNTS),
    Column("OLDEST READY", oldest_ready, right=True),
)


@command.command("list")
@listing
@pass_session
def list_command(session: Session) -> None:
    """List all queues with their counts and the age of their oldest ready job."""
    from roost.wire.contract import LIST_QUEUES
    from roost.wire.jobs import Empty

    queues = session.send(LIST_QUEUES, Empty()).queues
    output.emit_pages([queues], session.format, COLUMNS, lambda queue: queue.name, "no queues yet")


@command.command("show")
@NAME
@reading
@pass_session
def show_command(session: Session, name: str) -> None:
    """Show a queue: whether it is paused, its counts and its rules."""
    show(session, _get(session, name))


@command.command("pause")
@NAME
@writing
@pass_session
def pause_command(session: Session, name: str) -> None:
    """Start no more of its jobs; running ones go on."""
    from roost.wire.contract import PAUSE_QUEUE
    from roost.wire.queues import PauseQueue

    _changed(session, session.send(PAUSE_QUEUE, PauseQueue(name=name, actor=session.who())))


@command.command("resume")
@NAME
@writing
@pass_session
def resume_command(session: Session, name: str) -> None:
    """Start its jobs again."""
    from roost.wire.contract import RESUME_QUEUE
    from roost.wire.queues import PauseQueue

    _changed(session, session.send(RESUME_QUEUE, PauseQueue(name=name, actor=session.who())))


@command.command("drain")
@NAME
@click.option("--wait", "wait", metavar="DURATION", default="30s", show_default=True, help="How long, at most.")
@writing
@pass_session
def drain_command(session: Session, name: str, wait: str) -> int:
    """Pause a queue and wait until its last running job has ended; it stays paused."""
    from roost.cli import exit_codes
    from roost.cli.waiting import slices
    from roost.wire.contract import DRAIN_QUEUE
    from roost.wire.queues import DrainQueue

    actor = session.who()
    for part in slices(wait):
        drained = session.send(DRAIN_QUEUE, DrainQueue(name=name, wait=part, actor=actor))
        if drained.drained:
            break

    def show() -> None:
        output.say(f"{text.line(name)}  {'drained' if drained.drained else f'{drained.running} still run'}")

    output.emit_one(drained, session.format, show, lambda: name)
    return exit_codes.OK if drained.drained else exit_codes.TIMEOUT


@command.command("clear")
@NAME
@click.option("--state", "states", type=click.Choice(CLEARABLE), multiple=True, help="In this state; may be repeated.")
@YES
@writing
@pass_session
def clear_command(session: Session, name: str, states: tuple[str, ...], yes: bool) -> None:
    """Delete a queue's jobs that have not started (or those in the given states); running ones stay."""
    from roost.cli import bulk
    from roost.wire.contract import CLEAR_QUEUE
    from roost.wire.queues import ClearQueue

    words: list[Any] = [*states] or ["waiting", "ready", "held"]
    before = _get(session, name)
    count = sum(getattr(before, state) for state in words)
    bulk.confirm(f"delete {count:,} jobs of {name}", count, yes)
    actor = session.who()
    _deleted(session, name, lambda: session.send(CLEAR_QUEUE, ClearQueue(name=name, states=words, actor=actor)))


@command.command("destroy")
@NAME
@click.option("--force", is_flag=True, help="Cancel what runs.")
@click.option("--wait", metavar="DURATION", default="30s", show_default=True, help="How long ends are waited for.")
@YES
@writing
@pass_session
def destroy_command(session: Session, name: str, force: bool, wait: str, yes: bool) -> None:
    """Delete all jobs of a queue, ended ones too, and forget its rules; refused while jobs run."""
    from roost.cli import bulk
    from roost.wire.contract import DESTROY_QUEUE
    from roost.wire.queues import DestroyQueue

    before = _get(session, name)
    bulk.confirm(f"destroy the queue {name}", 2, yes)
    request = DestroyQueue(name=before.name, force=force, wait=wait, actor=session.who())
    _deleted(session, name, lambda: session.send(DESTROY_QUEUE, request))


def _deleted(session: Session, name: str, call: Callable[[], Cleared]) -> None:
    import msgspec

    cleared = call()
    while cleared.more:
        again = call()
        cleared = msgspec.structs.replace(again, deleted=again.deleted + cleared.deleted)
    said = f"{text.line(name)}  {cleared.deleted:,} jobs deleted"
    output.emit_one(cleared, session.format, lambda: output.say(said), lambda: name)


@command.command("edit", epilog="A value of 'none' takes a rule away: roost queues edit mail --timeout none")
@NAME
@retrying.options
@click.option("--no-retry-rule", is_flag=True, help="Take the retry rule away: the default's again.")
@click.option("--timeout", metavar="DURATION", help="The longest one attempt may take.")
@click.option("--retention", metavar="DURATION", help="How long ended jobs are kept.")
@click.option("--retention-failed", metavar="DURATION", help="How long failed jobs are kept.")
@click.option("--retention-succeeded", metavar="DURATION", help="How long succeeded jobs are kept.")
@click.option("--retention-cancelled", metavar="DURATION", help="How long cancelled jobs are kept.")
@click.option("--retention-expired", metavar="DURATION", help="How long expired jobs are kept.")
@click.option("--result-ttl", metavar="DURATION", help="How long results are kept, where their jobs stay longer.")
@click.option("--deadline", metavar="DURATION", help="Jobs not ended within this time are cancelled.")
@click.option("--priority", metavar="0-9", help="Of jobs that name none; or low, normal, high.")
@click.option("--payload-limit", metavar="BYTES", help="The largest input, where that is less than the server's.")
@click.option("--hold", metavar="TITLE", help="Hold its jobs before they start until somebody approves.")
@click.option("--hold-expires", metavar="DURATION", help="How long an approval is waited for.")
@click.option("--hold-on-expiry", type=click.Choice(("deny", "approve")), help="What the time's end means.")
@writing
@pass_session
def edit_command(session: Session, /, name: str, **options: Any) -> None:
    """Change a queue's rules; they hold for jobs enqueued from now on. What is not given stays."""
    from roost.domain.records import QueueRules
    from roost.errors import NotFound
    from roost.wire.contract import EDIT_QUEUE
    from roost.wire.queues import EditQueue

    if all(value is None or value is False for value in options.values()):
        raise click.UsageError("nothing to change: give a rule, such as --retries 3")
    try:
        before = _get(session, name).rules or QueueRules()
    except NotFound:
        before = QueueRules()
    request = EditQueue(name=name, rules=_merged(before, options), actor=session.who())
    show(session, session.send(EDIT_QUEUE, request))


def _merged(rules: QueueRules, options: dict[str, Any]) -> QueueRules:
    import msgspec

    from roost.domain.records import StateRetention

    texts = {field: options[field] for field in ("timeout", "retention", "retention_failed", "result_ttl", "deadline")}
    changes: dict[str, Any] = {
        field: None if text == "none" else text for field, text in texts.items() if text is not None
    }
    if (priority := options["priority"]) is not None:
        changes["priority"] = None if priority == "none" else inputs.PRIORITY.convert(priority, None, None)
    if (limit := options["payload_limit"]) is not None:
        changes["payload_limit"] = None if limit == "none" else click.INT.convert(limit, None, None)
    kept: dict[str, Any] = msgspec.structs.asdict(rules.retention_states or StateRetention())
    for state in KEPT:
        text = options[f"retention_{state}"]
        if text is not None:
            kept[state] = None if text == "none" else text
    changes["retention_states"] = StateRetention(**kept) if any(kept.values()) else None
    return msgspec.structs.replace(rules, retry=_retry(rules, options), hold=_hold(rules, options), **changes)


def _retry(rules: QueueRules, options: dict[str, Any]) -> RetryRule | None:
    rule = retrying.rule_of(options, rules.retry)
    return None if options["no_retry_rule"] else rule


def _hold(rules: QueueRules, options: dict[str, Any]) -> HoldRule | None:
    import msgspec

    from roost.domain.records import HoldRule

    names = {"title": "hold", "expires": "hold_expires", "on_expiry": "hold_on_expiry"}
    changes = inputs.given(**{field: options[option] for field, option in names.items()})
    if not changes:
        return rules.hold
    if changes.get("title") == "none":
        return None
    if rules.hold is None and "title" not in changes:
        raise click.UsageError("--hold-expires and --hold-on-expiry need --hold TITLE")
    if changes.get("expires") == "none":
        changes["expires"] = None
    return msgspec.structs.replace(rules.hold or HoldRule(), **changes)


def _get(session: Session, name: str) -> Queue:
    from roost.wire.contract import GET_QUEUE
    from roost.wire.queues import QueueRef

    return session.send(GET_QUEUE, QueueRef(name=name))


def _changed(session: Session, queue: Queue) -> None:
    word = "paused" if queue.paused else "open"
    output.emit_one(
        queue, session.format, lambda: output.say(f"{queue.name}  {output.paint(word)}"), lambda: queue.name
    )
