"""Webhooks: endpoints and their deliveries, each delivery made once however many nodes read the same events."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from roost.domain.deliveries import GONE, Health, OldKey, Try, WebhookRule, judge, rotated
from roost.engine import hookrows
from roost.engine.batch import Effects
from roost.engine.calls import Acted, Action
from roost.engine.driver import Transaction
from roost.engine.hookrows import missing_delivery, missing_source, missing_webhook
from roost.engine.hooks import (
    AdvanceWebhook,
    DeleteSource,
    DeleteWebhook,
    DisableWebhook,
    EnableWebhook,
    HookAction,
    NewDelivery,
    PingWebhook,
    PruneDeliveries,
    PutSource,
    PutWebhook,
    ReplayDeliveries,
    ReplayDelivery,
    RotateWebhook,
    Taken,
    Work,
    WorkDeliveries,
)
from roost.engine.work.moves import record
from roost.engine.work.texts import pack, unpack
from roost.errors import Conflict, InvalidRequest
from roost.wire.codec import encode
from roost.wire.webhooks import Delivery, Replayed, Source, Webhook


class WebhookFacts(msgspec.Struct):
    """An endpoint as deliveries are judged by it."""

    url: str
    rule: str
    secret: str
    signing_key: str | None
    old_keys: str
    disabled_at: int | None
    failures: int
    failing_since: int | None


_facts = msgspec.json.Decoder(WebhookFacts)
_rule = msgspec.json.Decoder(WebhookRule)
_old_keys = msgspec.json.Decoder(list[OldKey])


def act(transaction: Transaction, action: HookAction, now: int, rng: Callable[[], float]) -> Acted:
    """Carry out one of the actions of `roost.engine.hooks`."""
    match action:
        case PutWebhook():
            return _put(transaction, action, now)
        case DeleteWebhook():
            return _delete(transaction, action, now)
        case EnableWebhook():
            return _enable(transaction, action, now)
        case DisableWebhook():
            return _disable(transaction, action, now)
        case RotateWebhook():
            return _rotate(transaction, action, now)
        case PingWebhook():
            return _ping(transaction, action, now)
        case AdvanceWebhook():
            return _advance(transaction, action, now)
        case WorkDeliveries():
            return _work(transaction, action, now, rng)
        case ReplayDelivery():
            return _replay(transaction, action, now)
        case ReplayDeliveries():
            return _replay_since(transaction, action, now)
        case PruneDeliveries():
            return _prune(transaction, action)
        case PutSource():
            return _put_source(transaction, action, now)
        case DeleteSource():
            return _delete_source(transaction, action, now)
    raise TypeError(f"{action!r} is no action of webhooks")


# --- endpoints --------------------------------------------------------------------------------------------------------


def _put(transaction: Transaction, action: PutWebhook, now: int) -> Acted:
    is_new = not transaction.one("webhook_exists", name=action.name)
    transaction.send(
        "webhook_put",
        name=action.name,
        url=action.url,
        rule=msgspec.json.encode(action.rule).decode(),
        secret=action.secret,
        signing_key=action.signing_key,
        position=action.position,
        now=now,
    )
    _record(transaction, "webhook_put", action.name, action.actor, now)
    return _told(transaction, action.name, secret=action.secret if is_new else None)


def _delete(transaction: Transaction, action: DeleteWebhook, now: int) -> Acted:
    # Locked first, as by everything that touches its deliveries.
    _locked(transaction, action.name)
    transaction.send("webhook_delete_attempts", name=action.name)
    transaction.send("webhook_delete_deliveries", name=action.name)
    transaction.send("webhook_delete", name=action.name)
    _record(transaction, "webhook_deleted", action.name, action.actor, now)
    return Acted("{}", Effects(), 1)


def _enable(transaction: Transaction, action: EnableWebhook, now: int) -> Acted:
    if not transaction.run("webhook_enable", name=action.name, position=action.position, now=now):
        raise missing_webhook(action.name)
    _record(transaction, "webhook_enabled", action.name, action.actor, now)
    return _told(transaction, action.name)


def _disable(transaction: Transaction, action: DisableWebhook, now: int) -> Acted:
    _locked(transaction, action.name)
    _set_disabled(transaction, action.name, "requested", action.actor, now)
    return _told(transaction, action.name)


def _set_disabled(transaction: Transaction, name: str, reason: str, actor: str, now: int) -> None:
    if transaction.run("webhook_disable", name=name, reason=reason, now=now):
        _record(transaction, "webhook_disabled", name, actor, now, reason=reason)


def _rotate(transaction: Transaction, action: RotateWebhook, now: int) -> Acted:
    facts = _locked(transaction, action.name)
    old = rotated(_old_keys.decode(facts.old_keys), _current(facts), action.overlap_ms, now)
    transaction.send(
        "webhook_rotate",
        name=action.name,
        secret=action.secret,
        signing_key=None if facts.signing_key is None else action.signing_key,
        old_keys=pack(old),
        now=now,
    )
    _record(transaction, "webhook_rotated", action.name, action.actor, now)
    return _told(transaction, action.name, secret=action.secret)


def _current(facts: WebhookFacts) -> list[str]:
    return [facts.secret] if facts.signing_key is None else [facts.secret, facts.signing_key]


def _told(transaction: Transaction, name: str, secret: str | None = None) -> Acted:
    return _once(hookrows.webhook(transaction.row("webhook_row", name=name)), secret)


def _once(told: Webhook | Source, secret: str | None) -> Acted:
    """An answer with a secret, which is not kept: of the answer that is, the secret is only a hash."""
    told.secret = secret
    reply = encode(told).decode()
    if secret is None:
        return Acted(reply, Effects(), 1)
    told.secret = _hash(secret)
    return Acted(reply, Effects(), 1, kept=encode(told).decode())


def _hash(secret: str) -> str:
    return "sha256:" + hashlib.sha256(secret.encode()).hexdigest()


def recalled(transaction: Transaction, action: Action, kept: str) -> str:
    """The answer to a repeated call: with the secret it told, where that one is still in use."""
    told: Webhook | Source
    match action:
        case PutWebhook() | RotateWebhook():
            told = msgspec.json.decode(kept, type=Webhook)
            text = transaction.one("webhook_facts", name=action.name)
            facts = None if text is None else _facts.decode(text)
            used = [] if facts is None else [facts.secret, *(key.secret for key in _old_keys.decode(facts.old_keys))]
        case PutSource():
            told = msgspec.json.decode(kept, type=Source)
            found = transaction.rows("source_row", name=action.name)
            used = hookrows.source_facts(found[0]).secrets if found else []
        case _:
            return kept
    told.secret = next((secret for secret in used if _hash(secret) == told.secret), None)
    return encode(told).decode()


def _locked(transaction: Transaction, name: str) -> WebhookFacts:
    found = transaction.one("webhook_facts", name=name)
    if found is None:
        raise missing_webhook(name)
    return _facts.decode(found)


def _record(transaction: Transaction, type: str, name: str, actor: str, now: int, **data: object) -> None:
    record(transaction, [(None, type, actor, {"webhook": name, **data})], now)


# --- deliveries -------------------------------------------------------------------------------------------------------


def _ping(transaction: Transaction, action: PingWebhook, now: int) -> Acted:
    if _locked(transaction, action.name).disabled_at is not None:
        raise Conflict(f"the webhook {action.name!r} is disabled", path="name", help="enable it first")
    _insert(transaction, action.name, [action.delivery], now)
    _record(transaction, "webhook_tested", action.name, action.actor, now)
    found = transaction.rows("delivery_rows", name=action.name, before=2**62, state=None, limit=1)
    summary = hookrows.delivery_summary(found[0])
    return Acted(encode(summary).decode(), Effects(), 1)


def _advance(transaction: Transaction, action: AdvanceWebhook, now: int) -> Acted:
    if not transaction.run("webhook_advance", name=action.name, position=action.position, expected=action.expected):
        return Acted("{}", Effects(), 0)
    if action.lost:
        _record(transaction, "webhook_events_lost", action.name, "", now, after=action.expected)
    _insert(transaction, action.name, action.deliveries, now)
    return Acted("{}", Effects(), 1)


def _insert(transaction: Transaction, name: str, deliveries: list[NewDelivery], now: int) -> None:
    if deliveries:
        transaction.send("delivery_put", name=name, rows=pack(deliveries), now=now)


def _work(transaction: Transaction, action: WorkDeliveries, now: int, rng: Callable[[], float]) -> Acted:
    found = transaction.one("webhook_facts", name=action.name)
    if found is None:
        return Acted(encode(Work()).decode(), Effects())
    facts = _facts.decode(found)
    if action.tries:
        reason = _settle(transaction, action.name, facts, action.tries, now, rng)
        if reason is not None and facts.disabled_at is None:
            _set_disabled(transaction, action.name, reason, "", now)
            facts.disabled_at = now
    if facts.disabled_at is not None:
        return Acted(encode(Work()).decode(), Effects())
    due: list[Taken] = []
    if action.take:
        rows = unpack(transaction.one("delivery_due", name=action.name, now=now, limit=action.take))
        due = [Taken(*row) for row in rows]
    if due:
        ids = pack([each.id for each in due])
        transaction.send("delivery_lock", ids=ids, token=action.token, until=now + action.lock_ms)
    old = [key.secret for key in _old_keys.decode(facts.old_keys) if key.until > now]
    work = Work(url=facts.url, secrets=[*_current(facts), *old], deliveries=due)
    return Acted(encode(work).decode(), Effects(), len(due))


def _settle(
    transaction: Transaction, name: str, facts: WebhookFacts, tries: list[Try], now: int, rng: Callable[[], float]
) -> str | None:
    """Record what came of sending; why the endpoint is to be disabled, where it is."""
    ids = pack([each.delivery for each in tries])
    known = {row[0]: row[1:] for row in unpack(transaction.one("delivery_facts", ids=ids))}
    health = Health(facts.failures, facts.failing_since)
    attempts, counts = [], {"pending": 0, "succeeded": 0, "failed": 0}
    gone = False
    for each in tries:
        if each.delivery not in known:
            continue
        state, number, failures, token, next_at = known[each.delivery]
        number += 1
        attempts.append((each.delivery, number, each.at, each.duration_ms, each.status, each.error, each.response))
        health = health.after(each)
        gone = gone or each.status == GONE
        if state == "pending" and (each.accepted or token == each.token):
            verdict = judge(each, failures, now, rng())
            state, next_at = verdict.state, verdict.next_at
            failures, token = failures + (not each.accepted), None
            counts[state] += 1
        # Else another node took it over meanwhile, or it is done: this try is on record, and decides nothing.
        known[each.delivery] = (state, number, failures, token, next_at)
    settled = [(id, state, next_at, *rest) for id, (state, *rest, next_at) in known.items()]
    transaction.send("delivery_settle", rows=pack(settled), now=now)
    transaction.send("delivery_attempts_put", rows=pack(attempts))
    transaction.send(
        "webhook_health",
        name=name,
        failures=health.failures,
        failing_since=health.failing_since,
        succeeded=counts["succeeded"],
        failed=counts["failed"],
    )
    if gone:
        return "gone"
    return "failing" if health.given_up(_rule.decode(facts.rule), now) else None


def _replay(transaction: Transaction, action: ReplayDelivery, now: int) -> Acted:
    found = transaction.rows("delivery_row", id=action.id)
    if not found:
        raise missing_delivery(action.id)
    before = hookrows.delivery(found[0], [])
    _locked(transaction, before.webhook)
    if before.state == "pending" and before.attempts == 0:
        raise Conflict("the delivery is yet to be sent", path="id", help="wait for its first try")
    transaction.send("delivery_replay", ids=pack([action.id]), now=now)
    data = {"deliveries": 1}
    _record(transaction, "webhook_replayed", before.webhook, action.actor, now, **data)
    after: Delivery = hookrows.delivery(transaction.row("delivery_row", id=action.id), [])
    return Acted(encode(hookrows.summary_of(after)).decode(), Effects(), 1)


def _replay_since(transaction: Transaction, action: ReplayDeliveries, now: int) -> Acted:
    _locked(transaction, action.name)
    ids = unpack(
        transaction.one(
            "delivery_replayable", name=action.name, since=action.since, all=int(action.all), limit=action.limit
        )
    )
    if ids:
        transaction.send("delivery_replay", ids=pack(ids), now=now)
        _record(transaction, "webhook_replayed", action.name, action.actor, now, deliveries=len(ids))
    reply = Replayed(count=len(ids), more=len(ids) >= action.limit)
    return Acted(encode(reply).decode(), Effects(), len(ids))


def _prune(transaction: Transaction, action: PruneDeliveries) -> Acted:
    ids = unpack(transaction.one("delivery_prune_candidates", before=action.before, limit=action.limit))
    if ids:
        transaction.send("delivery_prune_attempts", ids=pack(ids))
        transaction.send("delivery_prune", ids=pack(ids))
    return Acted("{}", Effects(), len(ids), len(ids) >= action.limit)


# --- sources ----------------------------------------------------------------------------------------------------------


def _put_source(transaction: Transaction, action: PutSource, now: int) -> Acted:
    found = transaction.rows("source_row", name=action.name)
    secrets, made = action.secrets, None
    if action.scheme == "none":
        secrets = []
    elif secrets is None:
        before = hookrows.source_facts(found[0]) if found else None
        if before is not None and before.scheme == action.scheme:
            secrets = before.secrets
        elif action.generated is not None:
            secrets, made = [action.generated], action.generated
        else:
            raise InvalidRequest(
                f"a source of {action.scheme} has a secret", path="secrets", help="give the one the sender signs with"
            )
    transaction.send(
        "source_put",
        name=action.name,
        queue=action.queue,
        kind=action.kind,
        scheme=action.scheme,
        secrets=pack(secrets),
        now=now,
    )
    record(transaction, [(None, "source_put", action.actor, {"source": action.name})], now)
    return _once(hookrows.source(transaction.row("source_row", name=action.name)), made)


def _delete_source(transaction: Transaction, action: DeleteSource, now: int) -> Acted:
    if not transaction.run("source_delete", name=action.name):
        raise missing_source(action.name)
    record(transaction, [(None, "source_deleted", action.actor, {"source": action.name})], now)
    return Acted("{}", Effects(), 1)
