"""Database rows of webhooks as the wire types they are told as; one column order for both engines."""

from __future__ import annotations

import msgspec

from roost.domain.deliveries import OldKey, WebhookRule
from roost.domain.duration import format_duration
from roost.domain.signatures import public_key
from roost.engine.hooks import Cursor, SourceFacts
from roost.engine.rows import Row, time
from roost.errors import NotFound
from roost.wire.codec import timestamp
from roost.wire.webhooks import Delivery, DeliveryAttempt, DeliverySummary, Source, Webhook

_rule = msgspec.json.Decoder(WebhookRule)
_secrets = msgspec.json.Decoder(list[str])
_old_keys = msgspec.json.Decoder(list[OldKey])


def webhook(row: Row) -> Webhook:
    """From the columns of ``webhook_row``."""
    rule = _rule.decode(row[2])
    return Webhook(
        name=row[0],
        url=row[1],
        events=rule.events,
        queues=rule.queues,
        kinds=rule.kinds,
        tags=rule.tags,
        include=rule.include,
        disable_after=format_duration(rule.disable_after_ms),
        enabled=row[4] is None,
        old_secret_until=time(max((key.until for key in _old_keys.decode(row[3])), default=None)),
        disabled_at=time(row[4]),
        disabled_reason=row[5],
        failures=row[6],
        failing_since=time(row[7]),
        succeeded=row[8],
        failed=row[9],
        created_at=timestamp(row[10]),
        changed_at=timestamp(row[11]),
        pending=row[12],
        public_key=None if row[13] is None else public_key(row[13]),
    )


def cursor(row: Row) -> Cursor:
    """From the columns of ``webhook_cursors``."""
    return Cursor(name=row[0], rule=_rule.decode(row[1]), position=row[2], next_at=row[3], crowded=bool(row[4]))


def delivery_summary(row: Row) -> DeliverySummary:
    """From the columns of ``delivery_rows``."""
    id, webhook, message, type, job, state, attempts, status, error, created_at, next_at, finished_at = row[:12]
    return DeliverySummary(
        id=id,
        webhook=webhook,
        message=message,
        type=type,
        job=job,
        state=state,
        attempts=attempts,
        status=status,
        error=error,
        created_at=timestamp(created_at),
        next_at=time(next_at),
        finished_at=time(finished_at),
    )


def delivery(row: Row, tries: list[Row]) -> Delivery:
    """From the columns of ``delivery_row`` and ``delivery_attempt_rows``."""
    summary = delivery_summary(row)
    fields = {name: getattr(summary, name) for name in summary.__struct_fields__}
    return Delivery(
        **fields,
        body=row[12],
        tries=[
            DeliveryAttempt(
                number=number, at=timestamp(at), duration_ms=duration_ms, status=status, error=error, response=response
            )
            for number, at, duration_ms, status, error, response in tries
        ],
    )


def summary_of(whole: Delivery) -> DeliverySummary:
    """A delivery as it stands in a list."""
    return DeliverySummary(**{name: getattr(whole, name) for name in DeliverySummary.__struct_fields__})


def source(row: Row) -> Source:
    """From the columns of ``source_row``."""
    return Source(
        name=row[0],
        queue=row[1],
        kind=row[2],
        scheme=row[3],
        secrets=len(_secrets.decode(row[4])),
        created_at=timestamp(row[5]),
        changed_at=timestamp(row[6]),
    )


def source_facts(row: Row) -> SourceFacts:
    """The same, with what signatures are checked by."""
    return SourceFacts(name=row[0], queue=row[1], kind=row[2], scheme=row[3], secrets=_secrets.decode(row[4]))


def missing_webhook(name: str) -> NotFound:
    """There is no such endpoint."""
    return NotFound(f"there is no webhook {name!r}", path="name", help="roost webhooks list shows what there is")


def missing_delivery(id: int) -> NotFound:
    """There is no such delivery."""
    return NotFound(f"there is no delivery {id}", path="id", help="roost webhooks deliveries NAME shows what there is")


def missing_source(name: str) -> NotFound:
    """There is no such source."""
    return NotFound(f"there is no source {name!r}", path="name", help="roost sources list shows what there is")
