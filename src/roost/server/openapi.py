"""The OpenAPI 3.1 document of the API, from its table and its wire types."""

from __future__ import annotations

from typing import Any

import msgspec

from roost.errors import BY_CODE
from roost.server.examples import EXAMPLES
from roost.wire.codec import Wire
from roost.wire.contract import OPERATION_PATTERN, OPERATIONS, PREFIX, Operation
from roost.wire.events import FeedReset, LogsEnd
from roost.wire.problems import ErrorBody
from roost.wire.receiving import RECEIVED
from roost.wire.streams import STREAMS

Document = dict[str, Any]

_REF = "#/components/schemas/"
_TAGS = {
    "jobs": "Enqueue jobs, run them, and see what became of them",
    "batches": "Jobs that belong together, chains, and what follows their end",
    "signals": "News for jobs that wait for them",
    "queues": "Queues with their counts and rules",
    "kinds": "What the inputs of jobs of a kind must look like",
    "limits": "How much may run or start, by key",
    "schedules": "Jobs that recur",
    "events": "What happened, as pages and as a stream",
    "errors": "Failures in groups of the same cause",
    "views": "Queries that are saved under names",
    "indexes": "Paths of inputs that searches find at once",
    "bulk": "Operations on all jobs that match",
    "holds": "Questions to people, and their decisions",
    "workers": "Who runs jobs",
    "webhooks": "Endpoints that are told of events, and webhooks of others that become jobs",
    "deliveries": "What was sent to endpoints, and what they answered",
    "sources": "Whose webhooks become jobs",
    "outboxes": "Batches of jobs from other databases, each stored once",
    "health": "Whether the server and its store answer",
    "server": "What runs here, and what it promises",
}
_ALWAYS = {
    400: "The request cannot be read",
    413: "The body is too large",
    421: "The Host or Origin header is not this server's",
    422: "A field is missing, unknown, of the wrong type or out of bounds",
    429: "Too much is waiting; Retry-After says when to try again",
    500: "The server failed; the message has an id to look for in its log",
    503: "The store cannot be reached or the server is shutting down; Retry-After says when to try again",
}
_OPERATION_ID = {
    "name": "Operation-Id",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": OPERATION_PATTERN},
    "description": "Makes the call safe to repeat: with the same id it gets the same answer.",
}


def document(version: str) -> Document:
    """The whole document; ``version`` is Roost's."""
    known = (*OPERATIONS, *STREAMS, *RECEIVED)
    types = {kind for operation in known for kind in (operation.request, operation.reply)}
    types |= {ErrorBody, FeedReset, LogsEnd}
    ordered = sorted(types, key=lambda kind: kind.__name__)
    _, schemas = msgspec.json.schema_components(ordered, ref_template=_REF + "{name}")
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas)
    for stream in STREAMS:
        paths[stream.path] = {"get": _streaming(stream, schemas)}
    # Two templates of one path are one path to OpenAPI: the queue takes the endpoint's place there.
    paths["/webhooks/{name}"]["post"] = _receiving(schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Roost",
            "version": version,
            "summary": "Durable jobs with one API, from a script to a cluster",
            "description": "Every refusal has the same body: a code, a message, the path of the field and what to do. "
            "Codes: " + ", ".join(sorted(BY_CODE)) + ".",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": PREFIX}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(operation: Operation[Wire, Wire], schemas: dict[str, Any]) -> Document:
    schema = schemas[operation.request.__name__]
    in_path = operation.path_fields
    has_body = operation.method in ("POST", "PUT")
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _plain(schema["properties"][name])} for name in in_path
    ]
    if not has_body:
        parameters += [
            {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": _plain(kind)}
            for name, kind in schema["properties"].items()
            if name not in in_path
        ]
    if operation.mutates:
        parameters.append(_OPERATION_ID)
    responses: Document = {
        str(operation.status): {
            "description": operation.summary,
            "content": {"application/json": {"schema": {"$ref": _REF + operation.reply.__name__}}},
        }
    }
    found: Document = {
        "operationId": operation.name,
        "tags": [operation.name.partition(".")[0]],
        "summary": operation.summary,
        "parameters": parameters,
        "responses": responses,
    }
    if description := schema.get("description"):
        found["description"] = description
    refusals = dict(_ALWAYS)
    if in_path or operation.mutates:
        refusals |= {404: "There is no such thing", 409: "It cannot be done in the state the thing is in"}
    if has_body:
        refusals |= {408: "The request came too slowly", 415: "The body is not JSON"}
        found["requestBody"] = _body(operation, schema)
    for status in sorted(refusals):
        responses[str(status)] = {
            "description": refusals[status],
            "content": {"application/json": {"schema": {"$ref": _REF + "ErrorBody"}}},
        }
    return found


def _streaming(operation: Operation[Wire, Wire], schemas: dict[str, Any]) -> Document:
    """An answer that goes on, as server-sent events."""
    entry = _operation(operation, schemas)
    entry["parameters"].append(
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "schema": {"type": "string"},
            "description": "The last message that was read: the stream goes on behind it, whatever after says.",
        }
    )
    entry["responses"]["200"]["content"] = {
        "text/event-stream": {"schema": {"$ref": _REF + operation.reply.__name__}},
    }
    return entry


def _receiving(schemas: dict[str, Any]) -> Document:
    """The call others make with webhooks of their own."""
    (operation,), name = RECEIVED, schemas["WebhookRef"]["properties"]["name"]
    entry = _operation(operation, schemas)
    entry["parameters"] = [
        {"name": "name", "in": "path", "required": True, "schema": _plain(name), "description": "The queue"},
        {
            "name": "source",
            "in": "query",
            "required": False,
            "schema": _plain(name),
            "description": "Whose webhook it is; may be left out where the queue has one source",
        },
        _OPERATION_ID,
    ]
    entry["description"] = (
        "The body is the sender's, as it comes; a signature in the headers is checked over its bytes."
    )
    entry["requestBody"] = {"required": False, "content": {"*/*": {"schema": {}}}}
    entry["responses"]["401"] = {
        "description": "The signature is missing, does not fit, or is of another time; nothing was stored",
        "content": {"application/json": {"schema": {"$ref": _REF + "ErrorBody"}}},
    }
    return entry


def _body(operation: Operation[Wire, Wire], schema: Document) -> Document:
    required = [name for name in schema.get("required", ()) if name not in operation.path_fields]
    shape: Document = {"$ref": _REF + operation.request.__name__}
    if operation.path_fields:
        # what the path carries is no part of the body
        fields = {name: kind for name, kind in schema["properties"].items() if name not in operation.path_fields}
        shape = {**schema, "properties": fields, "required": required}
    media: Document = {"schema": shape}
    if operation.name in EXAMPLES:
        media["example"] = EXAMPLES[operation.name]
    return {"required": bool(required), "content": {"application/json": media}}


def _plain(kind: Document) -> Document:
    """A parameter's schema: absent instead of null, and no default for what is required."""
    kept = {key: value for key, value in kind.items() if key != "default" or value is not None}
    choices = [choice for choice in kept.pop("anyOf", []) if choice != {"type": "null"}]
    return {**kept, **choices[0]} if len(choices) == 1 else ({**kept, "anyOf": choices} if choices else kept)
