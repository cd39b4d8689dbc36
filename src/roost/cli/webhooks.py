"""``roost webhooks``: endpoints that are told of events, and what was sent to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from roost.cli import inputs, output, text, times
from roost.cli.lazy import Group
from roost.cli.output import Column
from roost.cli.session import Session, listing, paged, pass_session, reading, writing

if TYPE_CHECKING:
    from roost.wire.webhooks import DeliveryAttempt, DeliverySummary, Webhook

NAME = click.argument("name")
ID = click.argument("id", type=click.IntRange(min=0))


@click.group("webhooks", cls=Group)
def command() -> None:
    """Look at and steer the endpoints that are told of events."""


COLUMNS: tuple[Column[Webhook], ...] = (
    Column("WEBHOOK", lambda webhook: webhook.name, elastic=True),
    Column("STATE", lambda webhook: _state(webhook)),
    Column("URL", lambda webhook: webhook.url, elastic=True),
    Column("EVENTS", lambda webhook: ", ".join(webhook.events or ()) or "all", elastic=True),
    Column("PENDING", lambda webhook: webhook.pending, right=True),
    Column("SUCCEEDED", lambda webhook: webhook.succeeded, right=True),
    Column("FAILED", lambda webhook: webhook.failed, right=True),
)


@command.command("list")
@listing
@pass_session
def list_command(session: Session) -> None:
    """List all endpoints."""
    from roost.wire.contract import LIST_WEBHOOKS
    from roost.wire.jobs import Empty

    found = session.send(LIST_WEBHOOKS, Empty()).webhooks
    output.emit_pages([found], session.format, COLUMNS, lambda webhook: webhook.name, "no webhooks yet")


@command.command("show")
@NAME
@reading
@pass_session
def show_command(session: Session, name: str) -> None:
    """Show an endpoint."""
    from roost.wire.contract import GET_WEBHOOK
    from roost.wire.webhooks import WebhookRef

    _show(session, session.send(GET_WEBHOOK, WebhookRef(name=name)))


@command.command("put")
@NAME
@click.argument("target", metavar="URL")
@click.option("--event", "events", metavar="PATTERN", multiple=True, help="Types of events, such as failed; else all.")
@click.option("--queue", "queues", metavar="PATTERN", multiple=True, help="Jobs of these queues alone: 'mail.*'.")
@click.option("--kind", "kinds", metavar="PATTERN", multiple=True, help="Jobs of these kinds alone.")
@click.option("--tag", metavar="KEY=PATTERN", multiple=True, help="Jobs with all these tags alone.")
@click.option("--result", is_flag=True, help="Send the results of jobs that succeed, too.")
@click.option("--ed25519", is_flag=True, help="Sign with a key too; receivers check with its public half.")
@click.option("--disable-after", metavar="DURATION", default="5d", show_default=True, help="Give it up after so long.")
@writing
@pass_session
def put_command(
    session: Session,
    name: str,
    target: str,
    events: tuple[str, ...],
    queues: tuple[str, ...],
    kinds: tuple[str, ...],
    tag: tuple[str, ...],
    result: bool,
    ed25519: bool,
    disable_after: str,
) -> None:
    """Create an endpoint, or edit it as a whole; a new one's secret is shown once."""
    from roost.wire.contract import PUT_WEBHOOK
    from roost.wire.webhooks import PutWebhook

    request = PutWebhook(
        name=name,
        url=target,
        events=[*events] or None,
        queues=[*queues] or None,
        kinds=[*kinds] or None,
        tags=inputs.tags(tag),
        ed25519=ed25519,
        include=["result"] if result else [],
        disable_after=disable_after,
        actor=session.who(),
    )
    _show(session, session.send(PUT_WEBHOOK, request))


@command.command("rotate")
@NAME
@click.option("--overlap", metavar="DURATION", default="24h", show_default=True, help="Old ones sign so long.")
@writing
@pass_session
def rotate_command(session: Session, name: str, overlap: str) -> None:
    """Give an endpoint a new secret, shown once, and a new key where it has one."""
    from roost.wire.contract import ROTATE_WEBHOOK
    from roost.wire.webhooks import RotateWebhook

    _show(session, session.send(ROTATE_WEBHOOK, RotateWebhook(name=name, overlap=overlap, actor=session.who())))


@command.command("enable")
@NAME
@click.option("--skip", is_flag=True, help="Leave out what happened meanwhile.")
@writing
@pass_session
def enable_command(session: Session, name: str, skip: bool) -> None:
    """Send to an endpoint again: what happened meanwhile first."""
    from roost.wire.contract import ENABLE_WEBHOOK
    from roost.wire.webhooks import EnableWebhook

    _show(session, session.send(ENABLE_WEBHOOK, EnableWebhook(name=name, skip=skip, actor=session.who())))


@command.command("disable")
@NAME
@writing
@pass_session
def disable_command(session: Session, name: str) -> None:
    """Send nothing more to an endpoint."""
    from roost.wire.contract import DISABLE_WEBHOOK
    from roost.wire.webhooks import WebhookRef

    _show(session, session.send(DISABLE_WEBHOOK, WebhookRef(name=name, actor=session.who())))


@command.command("delete")
@NAME
@writing
@pass_session
def delete_command(session: Session, name: str) -> None:
    """Forget an endpoint and its deliveries."""
    from roost.wire.contract import DELETE_WEBHOOK
    from roost.wire.webhooks import WebhookRef

    session.send(DELETE_WEBHOOK, WebhookRef(name=name, actor=session.who()))
    output.emit_one(
        {"name": name}, session.format, lambda: output.say(f"deleted webhook {text.line(name)}"), lambda: name
    )


@command.command("test")
@NAME
@writing
@pass_session
def test_command(session: Session, name: str) -> None:
    """Send an endpoint a ping."""
    from roost.wire.contract import TEST_WEBHOOK
    from roost.wire.webhooks import WebhookRef

    _sent(session, session.send(TEST_WEBHOOK, WebhookRef(name=name, actor=session.who())))


@command.command("deliveries")
@NAME
@click.option("--state", type=click.Choice(("pending", "succeeded", "failed")), help="In this state alone.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most this many.")
@listing
@pass_session
def deliveries_command(session: Session, name: str, state: str | None, limit: int) -> None:
    """List what was sent to an endpoint, newest first."""
    from roost.wire.codec import convert
    from roost.wire.contract import LIST_DELIVERIES
    from roost.wire.webhooks import ListDeliveries

    def ask(cursor: str | None, size: int) -> tuple[list[DeliverySummary], str | None]:
        fields = {"name": name, "state": state, "limit": size, "cursor": cursor}
        page = session.send(LIST_DELIVERIES, convert(fields, ListDeliveries))
        return page.deliveries, page.cursor

    columns: tuple[Column[DeliverySummary], ...] = (
        Column("ID", lambda one: one.id, right=True),
        Column("EVENT", lambda one: one.type),
        Column("JOB", lambda one: one.job, right=True),
        Column("STATE", lambda one: one.state),
        Column("TRIES", lambda one: one.attempts, right=True),
        Column("STATUS", lambda one: one.status, right=True),
        Column("ERROR", lambda one: one.error, elastic=True),
        Column("MADE", lambda one: times.short(one.created_at)),
        Column("NEXT", lambda one: times.short(one.next_at)),
    )
    output.emit_pages(paged(ask, limit, False), session.format, columns, lambda one: one.id, "nothing was sent yet")


@command.command("delivery")
@ID
@reading
@pass_session
def delivery_command(session: Session, id: int) -> None:
    """Show a delivery: its body and every try."""
    from roost.wire.contract import GET_DELIVERY
    from roost.wire.webhooks import DeliveryRef

    delivery = session.send(GET_DELIVERY, DeliveryRef(id=id))

    def show() -> None:
        output.say(
            output.strong(f"delivery {delivery.id} to {text.line(delivery.webhook)}: ") + text.line(delivery.type)
        )
        output.fields(
            [
                ("state", delivery.state),
                ("webhook-id", delivery.message),
                ("job", delivery.job),
                ("made", times.full(delivery.created_at)),
                ("next try", times.full(delivery.next_at)),
                ("ended", times.full(delivery.finished_at)),
            ]
        )
        output.section("body")
        output.indented(delivery.body.split("\n"))
        if delivery.tries:
            output.section("tries")
            columns: tuple[Column[DeliveryAttempt], ...] = (
                Column("TRY", lambda one: one.number, right=True),
                Column("AT", lambda one: times.short(one.at)),
                Column("TOOK", lambda one: f"{one.duration_ms} ms", right=True),
                Column("STATUS", lambda one: one.status, right=True),
                Column("ERROR", lambda one: one.error, elastic=True),
                Column("ANSWER", lambda one: one.response[:80], elastic=True),
            )
            output.emit_pages([delivery.tries], "table", columns, lambda one: one.number, "")

    output.emit_one(delivery, session.format, show, lambda: delivery.id)


@command.command("replay")
@click.argument("name_or_id")
@click.option("--since", metavar="TIME", help="With a NAME: what was made since then (RFC 3339) and failed.")
@click.option("--all", "everything", is_flag=True, help="With --since: also what was accepted.")
@writing
@pass_session
def replay_command(session: Session, name_or_id: str, since: str | None, everything: bool) -> None:
    """Send again: the delivery with this ID, or of the endpoint with this NAME all that failed since a time."""
    from roost.wire.codec import convert
    from roost.wire.contract import REPLAY_DELIVERY, REPLAY_WEBHOOK
    from roost.wire.webhooks import DeliveryRef, ReplayDeliveries

    if since is None:
        if not name_or_id.isdecimal() or everything:
            raise click.UsageError("give the ID of a delivery, or a NAME and --since TIME")
        _sent(session, session.send(REPLAY_DELIVERY, DeliveryRef(id=int(name_or_id), actor=session.who())))
        return
    fields = {"name": name_or_id, "since": since, "all": everything, "actor": session.who()}
    request = convert(fields, ReplayDeliveries)
    reply = session.send(REPLAY_WEBHOOK, request)
    more = "; more are left: once more" if reply.more else ""
    output.emit_one(
        reply, session.format, lambda: output.say(f"{reply.count} will be sent again{more}"), lambda: reply.count
    )


def _sent(session: Session, delivery: DeliverySummary) -> None:
    output.emit_one(
        delivery,
        session.format,
        lambda: output.say(f"delivery {delivery.id} to {text.line(delivery.webhook)} will be sent"),
        lambda: delivery.id,
    )


def _state(webhook: Webhook) -> str:
    if not webhook.enabled:
        return f"disabled ({webhook.disabled_reason})"
    return "failing" if webhook.failing_since else "ok"


def _show(session: Session, webhook: Webhook) -> None:
    def show() -> None:
        output.say(output.strong(f"webhook {text.line(webhook.name)}: ") + text.line(webhook.url))
        output.fields(
            [
                ("secret", webhook.secret),
                ("public key", webhook.public_key),
                ("state", _state(webhook)),
                ("since", times.full(webhook.disabled_at or webhook.failing_since)),
                ("failures", webhook.failures or ""),
                ("events", ", ".join(webhook.events or ())),
                ("queues", ", ".join(webhook.queues or ())),
                ("kinds", ", ".join(webhook.kinds or ())),
                ("tags", ", ".join(f"{key}={pattern}" for key, pattern in (webhook.tags or {}).items())),
                ("include", ", ".join(webhook.include)),
                ("given up after", webhook.disable_after),
                ("pending", webhook.pending),
                ("succeeded", webhook.succeeded),
                ("failed", webhook.failed),
                ("old keys until", times.full(webhook.old_secret_until)),
                ("changed", times.full(webhook.changed_at)),
            ]
        )
        if webhook.secret:
            output.note("this secret is not shown again")

    output.emit_one(webhook, session.format, show, lambda: webhook.name)
