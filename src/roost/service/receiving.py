"""Webhooks in: what others send becomes jobs, through the same admission as every job, once for each of their ids."""

from __future__ import annotations

import base64
import re

import msgspec

from roost.domain.names import check_name, is_name
from roost.domain.signatures import Scheme, Signed, check_secret, verify
from roost.engine import hooks
from roost.engine.hooks import SourceFacts
from roost.errors import InvalidJson, InvalidRequest, NotFound, TooLarge, UnsupportedMediaType
from roost.service import jobs
from roost.service.core import CallInfo, Core
from roost.service.webhooks import made_secret
from roost.wire import strict
from roost.wire.codec import encode
from roost.wire.jobs import Empty, Enqueued, NewJob, Unique
from roost.wire.webhooks import PutSource, ReceiveWebhook, Source, SourceRef, Sources

WITHIN = "24h"
"""A sender's id makes one job for so long: far beyond what a signature's time is valid for."""
UNNAMED = "event"
"""The type of an event whose sender tells none."""

_JSON = re.compile(r"(?:application/json|[\w.+-]+/[\w.+-]+\+json)\s*(?:;.*)?", re.IGNORECASE)
_PLACES = re.compile(r"{(?:source|event)}")
_FOREIGN = re.compile(r"[^A-Za-z0-9._:/-]")


async def sources(core: Core, request: Empty, call: CallInfo) -> Sources:
    """All sources."""
    return Sources(sources=await core.read(core.reader.sources))


async def get(core: Core, request: SourceRef, call: CallInfo) -> Source:
    """A source; raises `NotFound`."""
    return await core.read(core.reader.source, request.name)


async def put(core: Core, request: PutSource, call: CallInfo) -> Source:
    """Create or edit a source; a secret that Roost makes is in the answer, and never told again."""
    check_name(request.name, "name")
    check_name(request.queue, "queue")
    _check_kind(request)
    if request.scheme == "none" and request.secrets:
        raise InvalidRequest("a source that checks nothing has no secrets", path="secrets", help="leave them out")
    for index, secret in enumerate(request.secrets or ()):
        check_secret(request.scheme, secret, f"secrets[{index}]")
    action = hooks.PutSource(
        name=request.name,
        queue=request.queue,
        kind=request.kind,
        scheme=request.scheme,
        secrets=request.secrets,
        generated=made_secret(core) if request.scheme == "standard" else None,
        actor=request.actor or call.actor,
    )
    return await core.act(action, Source, name="sources.put", request=request, call=call)


async def delete(core: Core, request: SourceRef, call: CallInfo) -> Empty:
    """Take no more webhooks of a source; its jobs stay. Raises `NotFound`."""
    action = hooks.DeleteSource(name=request.name, actor=request.actor or call.actor)
    return await core.act(action, Empty, name="sources.delete", request=request, call=call)


async def receive(core: Core, request: ReceiveWebhook, call: CallInfo) -> Enqueued:
    """A job of a webhook: the same job for the same id of the same source.

    The input is the body as it came where that is JSON; else ``{"content_type", "encoding", "body"}`` with the body as
    text or in base64. Raises `InvalidSignature` (nothing is stored), `NotFound` where no source leads to the queue,
    `TooLarge`, and what else an enqueue is refused for.
    """
    headers = {name.lower(): value for name, value in request.headers.items()}
    source = await _source(core, request)
    signed = verify(source.scheme, source.secrets, headers, request.body, core.now())
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("compressed bodies are refused", help="send the body as it is")
    event = _event(source.scheme, headers, request.body)
    job = NewJob(
        kind=_kind(source, event),
        queue=source.queue,
        input=_input(headers.get("content-type", ""), request.body),
        tags=_tags(source.name, event, signed),
        unique=_unique(source.name, signed),
    )
    try:
        return await jobs.enqueue(core, job, call)
    except TooLarge as error:
        error.path = "body"
        raise


async def _source(core: Core, request: ReceiveWebhook) -> SourceFacts:
    check_name(request.queue, "queue")
    if request.source is not None:
        check_name(request.source, "source")
        source = await core.read(core.reader.source_facts, request.source)
        if source.queue == request.queue:
            return source
        found = []
    else:
        found = await core.read(core.reader.sources_of, request.queue)
    if not found:
        raise NotFound(
            f"no such source leads to the queue {request.queue!r}",
            path="source",
            help="roost sources put NAME --queue QUEUE makes one",
        )
    if len(found) > 1:
        raise InvalidRequest(
            f"several sources lead to the queue {request.queue!r}", path="source", help="say which: ?source=NAME"
        )
    return found[0]


def _check_kind(request: PutSource) -> None:
    if not is_name(_PLACES.sub("x", request.kind)):
        raise InvalidRequest(
            "not a name with {source} and {event} in it", path="kind", help="such as github.{event}, or invoice.paid"
        )


def _kind(source: SourceFacts, event: str | None) -> str:
    named = _FOREIGN.sub("-", event or "").lstrip("._:/-") or UNNAMED
    return source.kind.replace("{source}", source.name).replace("{event}", named)[:128]


class _Typed(msgspec.Struct):
    type: str | None = None


def _event(scheme: Scheme, headers: dict[str, str], body: bytes) -> str | None:
    """What the sender says has happened."""
    event = headers.get("x-github-event")
    if event is None and scheme != "github":
        try:
            event = msgspec.json.decode(body, type=_Typed).type
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    return event[:100] if event and event.isprintable() else None


def _input(content_type: str, body: bytes) -> msgspec.Raw:
    """The body itself where it is JSON, else the body in JSON; nothing is cut off."""
    if not content_type or _JSON.fullmatch(content_type):
        try:
            strict.check(body, "body")
            return msgspec.Raw(body)
        except InvalidJson:
            pass
    wrapped = {"content_type": _printable(content_type)}
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        wrapped |= {"encoding": "base64", "body": base64.b64encode(body).decode()}
    else:
        wrapped |= {"encoding": "text", "body": text}
    return msgspec.Raw(encode(wrapped))


def _tags(source: str, event: str | None, signed: Signed) -> dict[str, str]:
    found = {"webhook.source": source, "webhook.event": event, "webhook.id": signed.id}
    return {name: _printable(value)[:256] for name, value in found.items() if value}


def _unique(source: str, signed: Signed) -> Unique | None:
    if signed.id is None:
        return None
    key = f"webhook:{source}:{signed.id}"
    if len(key) > 256 or not key.isprintable():
        raise InvalidRequest("the webhook's id is too long or malformed", path="headers", help="use a shorter id")
    return Unique(key=key, scope="global", within=WITHIN)


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)
