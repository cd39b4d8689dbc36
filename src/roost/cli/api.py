"""``roost api``: any operation of the API by its method and path, over HTTP or in this process."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from roost.cli import inputs, output
from roost.cli.lazy import no_such
from roost.cli.session import Session, pass_session, writing

if TYPE_CHECKING:
    from roost.wire.codec import Wire
    from roost.wire.contract import Operation


@click.command("api", epilog="Example: roost api GET '/jobs?state=failed&limit=5'")
@click.argument("method", type=click.Choice(("GET", "POST", "PUT", "DELETE"), case_sensitive=False))
@click.argument("path")
@click.argument("body", type=inputs.JSON, metavar="[JSON|@FILE|-]", required=False)
@writing
@pass_session
@click.pass_context
def command(ctx: click.Context, session: Session, method: str, path: str, body: bytes | None) -> None:
    """Call METHOD PATH of the API, with the JSON as its body, and print the answer as JSON."""
    operation, request = _request(ctx, method, path, body)
    reply = session.send(operation, request)
    output.say(output.json_text(reply, indent=0 if session.format == "jsonl" else 2))


def _request(ctx: click.Context, method: str, path: str, body: bytes | None) -> tuple[Operation[Wire, Wire], Wire]:
    from urllib.parse import parse_qs, unquote, urlsplit

    from roost.wire.codec import convert, decode
    from roost.wire.contract import OPERATIONS, PREFIX

    parts = urlsplit(path)
    wanted = "/" + parts.path.removeprefix(PREFIX).strip("/")
    # Literal segments win over named ones: /jobs/batch is no job's id.
    for operation in sorted(OPERATIONS, key=lambda one: len(one.path_fields)):
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(operation.path))
        found = re.fullmatch(pattern, wanted)
        if found is None or operation.method != method:
            continue
        fields: dict[str, Any] = {name: unquote(value) for name, value in found.groupdict().items()}
        if body is not None:
            request = decode(body, operation.request)
            for name, value in fields.items():
                # What the path carries has a default in every request: its type says how to read the text.
                setattr(request, name, convert(value, type(getattr(request, name))))
            return operation, request
        for name, values in parse_qs(parts.query, keep_blank_values=True).items():
            fields[name] = values if _is_list(operation, name) else values[-1]
        return operation, convert(fields, operation.request)
    no_such("operation", f"{method} {wanted}", [f"{one.method} {one.path}" for one in OPERATIONS], ctx)


def _is_list(operation: Operation[Wire, Wire], field: str) -> bool:
    import typing

    hint = typing.get_type_hints(operation.request).get(field)
    return any(typing.get_origin(part) is list for part in (hint, *typing.get_args(hint)))
