"""A queue as it is shown: its counts and its rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roost.cli import output, retrying, text, times
from roost.cli.session import Session

if TYPE_CHECKING:
    from roost.domain.records import LimitRule, QueueRules
    from roost.wire.queues import Queue

COUNTS = ("waiting", "ready", "running", "held", "succeeded", "failed", "cancelled", "expired")
KEPT = ("succeeded", "cancelled", "expired")
"""States whose jobs are kept for a time of their own."""


def oldest_ready(queue: Queue) -> str:
    """How long its oldest ready job waits."""
    return "" if queue.oldest_ready_seconds is None else times.span(queue.oldest_ready_seconds)


def show(session: Session, queue: Queue) -> None:
    """Print a queue with its rules."""

    def tell() -> None:
        paused = f"paused by {queue.paused_by or 'somebody'} {times.full(queue.paused_at)}"
        output.say(output.strong(f"queue {text.line(queue.name)}"))
        output.fields(
            [
                ("state", paused if queue.paused else "open"),
                *((name, getattr(queue, name)) for name in COUNTS),
                ("oldest ready", oldest_ready(queue)),
                *_rules(queue),
            ]
        )

    output.emit_one(queue, session.format, tell, lambda: queue.name)


def _rules(queue: Queue) -> list[tuple[str, object]]:
    rules = queue.rules
    if rules is None:
        return []
    retry, hold = rules.retry, rules.hold
    return [
        ("retry", retry and retrying.retry_text(retry)),
        ("time limit", rules.timeout),
        (
            "hold",
            hold and f"{hold.title}, {f'{hold.on_expiry} after {hold.expires}' if hold.expires else 'no deadline'}",
        ),
        ("kept for", rules.retention),
        ("failed kept", rules.retention_failed),
        *((f"{state} kept", getattr(rules.retention_states, state, None)) for state in KEPT),
        ("results kept", rules.result_ttl),
        ("deadline", rules.deadline),
        ("priority", rules.priority),
        ("payload limit", rules.payload_limit),
        *_order_and_limits(rules),
    ]


def _order_and_limits(rules: QueueRules) -> list[tuple[str, object]]:
    """What a queue's rules say of its order and limits, field by field."""
    own = [f"{rules.concurrency} at once" if rules.concurrency else "", _rate(rules.rate, rules.burst)]
    fairness = rules.fairness
    weights = ", ".join(f"{key} {weight}" for key, weight in (fairness.weights or {}).items()) if fairness else ""
    return [
        ("limit", ", ".join(word for word in own if word) or None),
        *((f"limit of {rule.key}", _words(rule)) for rule in rules.limits or ()),
        ("ageing", rules.ageing and f"{rules.ageing} for one priority"),
        ("fair by", fairness and fairness.key + (f" (weights: {weights})" if weights else "")),
    ]


def _words(rule: LimitRule) -> str:
    words = [
        f"{rule.concurrency} at once" if rule.concurrency else "",
        _rate(rule.rate, rule.burst),
        f"cost {rule.cost}" if rule.cost != 1 else "",
    ]
    return ", ".join(word for word in words if word) or "as the jobs say"


def _rate(rate: str | None, burst: int | None) -> str:
    if rate is None:
        return ""
    return f"{rate} start" if burst is None else f"{rate} start, {burst} at once"
